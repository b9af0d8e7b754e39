"""Sliding FFT and unmixing: against a plain loop over the same windows, and over workers."""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import psutil
from distributed import Client, LocalCluster

from benchmarks.timing import dealt, one_core, processes, seconds_of
from latticescape.analysis.images.spectra.windows import sliding_fft, spectra_of
from latticescape.analysis.images.unmixing.mixture import unmix

Image = npt.NDArray[np.uint16]

SIZE, WINDOW, STEP = 4096, 64, 16
LIMIT = 2 * 2**30


@dataclass(frozen=True)
class Load:
    """An image on disk, and its windows.

    Attributes
    ----------
    path
        Of the image, a zarr array cut into strips of rows: what a worker needs it reads itself,
        and nothing of the image travels with the tasks.
    window, step
        px.
    """

    path: Path
    window: int
    step: int

    @property
    def image(self) -> Any:
        """As a Dask array that reads what it needs."""
        return da.from_zarr(str(self.path))

    @property
    def spectra(self) -> Any:
        """Spectra of all windows, lazy."""
        return sliding_fft(self.image, window=self.window, step=self.step)


def two_domains(size: int) -> Image:
    """Stripes along the rows above, along the columns below, and shot noise."""
    row, col = np.indices((size, size), np.float32)
    lattice = 2 + np.cos(2 * np.pi * row / 9) + np.cos(2 * np.pi * col / 9)
    stripes = np.cos(np.pi * np.where(row < size / 2, row, col) / 9)
    counts: Image = np.random.default_rng(1).poisson(10 * (lattice + stripes + 1)).astype(np.uint16)
    return counts


def plain_loop(image: Image, window: int, step: int) -> npt.NDArray[np.float64]:
    """What one would write: window by window, in double precision."""
    hann = np.sin(np.pi * np.arange(window) / window) ** 2
    taper = np.outer(hann, hann)
    rows, cols = (range(0, length - window + 1, step) for length in image.shape)
    found = np.empty((len(rows), len(cols), window, window))
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            tile = image[row : row + window, col : col + window]
            spectrum = np.fft.fftshift(np.fft.fft2((tile - tile.mean()) * taper))
            found[i, j] = np.log1p(np.abs(spectrum))
    return found


def against_loop(image: Image, window: int, step: int, runs: int) -> float:
    """Seconds of the plain loop over ours, both on one core; median of pairs that take turns."""

    def ours() -> None:
        with dask.config.set(scheduler="sync"):
            sliding_fft(image, window=window, step=step).compute()

    ours()
    with one_core():
        return statistics.median(
            seconds_of(lambda: plain_loop(image, window, step)) / seconds_of(ours)
            for _ in range(runs)
        )


@contextmanager
def cluster(workers: int, processes: bool) -> Iterator[Client]:
    """Workers of one thread each. Processes may hold 2 GB; one that has more pauses, and so would a
    worker in this process for what else it holds."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=processes,
            memory_limit=LIMIT if processes else None,
            dashboard_address="127.0.0.1:0",
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client


def second_worker(
    one: Client, two: Client, load: Load, work: Callable[[Load], object], runs: int
) -> tuple[float, float]:
    """Seconds with one worker over seconds with two, and the most bytes that one of them held."""

    def seconds(client: Client) -> float:
        with client.as_current():
            return seconds_of(lambda: work(load))

    for client in (one, two):
        seconds(client)
    ratio = statistics.median(seconds(one) / seconds(two) for _ in range(runs))
    held = [*one.run(most_held).values(), *two.run(most_held).values()]
    return ratio, max(held)


def bare_gain(strip: Image, window: int, step: int, runs: int) -> float:
    """The same of two processes that transform strips without Dask: what this machine can give."""
    work = partial(transformed, strip, window, step)
    with processes(2) as pool:
        dealt(pool, 2, work, 4)
        return statistics.median(
            dealt(pool, 1, work, 8) / dealt(pool, 2, work, 8) for _ in range(runs)
        )


def transformed(strip: Image, window: int, step: int, _: float) -> float:
    """Spectra of a strip, and only their sum brought back."""
    return float(spectra_of(strip, window, step).sum())


def most_held() -> int:
    """The most bytes this process ever held, or where that is not told, holds now."""
    status = Path(f"/proc/{os.getpid()}/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(peak.split()[1])
    return int(psutil.Process().memory_info().rss)


def power(load: Load) -> float:
    """Every spectrum computed, and only a sum brought back."""
    return float(load.spectra.data.sum().compute())


def unmixed(load: Load) -> float:
    """Two endmembers."""
    return float(unmix(load.spectra).variance_explained)


def report(
    size: int = SIZE,
    window: int = WINDOW,
    step: int = STEP,
    runs: int = 3,
    own_processes: bool = True,
) -> str:
    """All of it, a line each."""
    lines = [f"{size} × {size} px, window {window}, step {step}"]
    image = two_domains(size)
    part = image[: window + 7 * step]
    ratio = against_loop(part, window, step, runs)
    lines.append(f"{'spectra against a plain NumPy loop, one core':<48}{ratio:9.2f} times")
    if own_processes:
        gain = bare_gain(part, window, step, runs)
        lines.append(f"{'two bare processes against one, spectra':<48}{gain:9.2f} times")
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster(1, own_processes) as one,
        cluster(2, own_processes) as two,
    ):
        load = Load(Path(folder) / "image.zarr", window, step)
        strips = da.from_array(image, chunks=(8 * window, -1))
        with dask.config.set(scheduler="sync"):
            strips.to_zarr(str(load.path))
        for title, work in (("all spectra", power), ("two endmembers", unmixed)):
            ratio, held = second_worker(one, two, load, work, runs)
            lines.append(f"{f'two workers against one, {title}':<48}{ratio:9.2f} times")
            lines.append(f"{'  the most that a worker held':<48}{held / 1e6:9.0f} MB")
    return "\n".join(lines)
