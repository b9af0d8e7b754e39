"""Small sweeps for tests, and how their stores are held against each other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
from distributed import Client, LocalCluster

from latticescape.physics import Ising, PairAlloy, Schedule, square, triangular
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.inline import InlineSession
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.store.location import StorePath, locate

SPEC = """
[sweep]
seed = 7
[lattice]
kind = "square"
size = 6
[model]
kind = "ising"
[grid]
T = [1.8, 2.27, 3.0]
H = { start = 0.0, stop = 1.0, num = 3 }
[schedule]
equilibration_mcs = 20
samples = 10
stride_mcs = 2
"""


def ising_sweep(*, mcs: int = 2, points: int = 3) -> Sweep:
    """A sweep over T and H of a small square lattice."""
    return Sweep(
        square(6),
        Ising(),
        {"T": np.linspace(1.8, 3.0, points), "H": [0.0, 0.5, 1.0]},
        Schedule(20, 10, mcs),
        seed=7,
    )


def alloy_sweep() -> Sweep:
    """A sweep over x and w1 of a small triangular alloy."""
    return Sweep(
        triangular(6),
        PairAlloy(),
        {"x": [0.25, 0.5], "w1": [-0.2, 0.0, 0.2]},
        Schedule(20, 10, 2),
        seed=7,
    )


@contextmanager
def in_process(threads: int | None = None) -> Iterator[Client]:
    """A scheduler and a worker in this process, which listen as those on other machines do."""
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=threads,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def embedded_in_process(workers: int | None = None, threads: int = 1, **_: object) -> InlineSession:
    """Stand in for embedded worker processes: as many threads of this process, which start at
    once."""
    return InlineSession((workers or os.cpu_count() or 1) * threads)


def undisturbed(sweep: Sweep, path: Path, *, block_points: int | None = None) -> Path:
    """A store of a sweep that this process computes alone: what others are held against."""
    execute(sweep, path, InlineSession(threads=2), block_points=block_points, progress=False)
    return path


def assert_same_bits(
    one: StorePath, other: StorePath, *, attempts: bool = True, killed: int = 0
) -> None:
    """Every variable and coordinate of two stores is equal byte for byte.

    A kill may fall between the counter of attempts and the done mark: as many points of the other
    as were at work when it was killed may have been tried once more.
    """
    a, b = (xr.open_zarr(locate(path).zarr, chunks=None).load() for path in (one, other))
    names = {str(name) for name in a.variables}
    assert names <= {str(name) for name in b.variables}
    if killed:
        more = b.attempts.values - a.attempts.values
        assert set(more.ravel().tolist()) <= {0, 1}
        assert more.sum() <= killed
    if killed or not attempts:
        names.remove("attempts")
    for name in names:
        assert a[name].dims == b[name].dims
        assert a[name].dtype == b[name].dtype
        if a[name].dtype.kind in "TO":
            assert a[name].values.tolist() == b[name].values.tolist()
        else:
            assert a[name].values.tobytes() == b[name].values.tobytes(), name
