"""``latticescape measure`` and ``latticescape segment``: images to counts and to maps of phases."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import xarray as xr
from dask.callbacks import Callback
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from latticescape.deploy.cli.options import (
    PATH,
    POSITIVE,
    STORE,
    Number,
    as_json,
    example,
    picture_option,
)
from latticescape.deploy.cli.outputs import (
    check_file,
    check_new,
    check_pictures,
    draw,
    show,
    write_new,
    write_table,
)
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.location import StorePath


class ImageProgress(Callback):  # type: ignore[misc]
    """Counts tasks that Dask finishes in this process, on the standard error stream.

    How many passes a computation makes is not known before, so each has a bar of its own.

    Parameters
    ----------
    what
        What is counted.
    shown
        False keeps quiet; True shows the bars where there is somebody to see them.
    """

    def __init__(self, what: str, *, shown: bool) -> None:
        super().__init__(start_state=self._begin, posttask=self._count, finish=self._end)
        console = Console(file=sys.stderr)
        self.passes = 0
        self.task: TaskID | None = None
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(what),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not (shown and (console.is_terminal or console.is_jupyter)),
        )

    def __enter__(self) -> "ImageProgress":
        self.bar.start()
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.bar.stop()

    def each(self, paths: Sequence[Path]) -> Iterator[Path]:
        """Every path, counted when it is done."""
        task = self.bar.add_task("", total=len(paths))
        for path in paths:
            self.bar.update(task, description=path.name)
            yield path
            self.bar.advance(task)

    def _begin(self, _: Any, state: Any) -> None:
        self.passes += 1
        total = sum(len(state[part]) for part in ("ready", "waiting", "running"))
        self.task = self.bar.add_task(f"pass {self.passes}", total=total)

    def _count(self, *_: Any) -> None:
        if self.task is not None:
            self.bar.advance(self.task)

    def _end(self, *_: Any) -> None:
        if self.task is not None:
            self.bar.stop_task(self.task)


LATTICES = ("square", "triangular", "honeycomb")
METHODS = ("nfindr", "ica", "nmf", "bayes")

# Spectra that take no more than this stay in memory; others are computed anew in every pass.
KEPT_BYTES = 2**29

frame_option = click.option("--frame", type=Number(min=0), help="Which image of a stack, from 0.")
part_option = click.option("--part", help="Which data set of a file that holds several.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")


@click.command(
    epilog=example(
        "latticescape measure re05.tif --species Mo,Re --out observed.zarr --atoms atoms.csv",
        "latticescape measure 'images/*.dm4' --lattice square --species A,B --picture measure.html",
    )
)
@click.argument("images", type=PATH, nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--lattice", type=click.Choice(LATTICES), default="triangular", show_default=True, help="Kind."
)
@click.option(
    "--species", required=True, help="Names from the darkest to the brightest, such as Mo,Re."
)
@click.option("--out", type=STORE, help="Folder or URL of a new zarr store for the counts.")
@click.option("--atoms", type=PATH, help="A new CSV file for positions and species.")
@picture_option
@frame_option
@part_option
@quiet_option
@as_json
def measure(
    images: tuple[Path, ...],
    lattice: str,
    species: str,
    out: StorePath | None,
    atoms: Path | None,
    picture: tuple[Path, ...],
    frame: int | None,
    part: str | None,
    quiet: bool,
    json_: bool,
) -> None:
    """Find the atoms in images, name their species, count their local configurations.

    Each IMAGE is a file, or a pattern of several. The picture shows species, how doubtful they
    are, and the two main components of the neighbourhoods; of several images each has its own,
    with the image's name before the suffix. Exit code 1 if some images could not be measured.
    """
    from latticescape.analysis.counts.counting import count_measured
    from latticescape.analysis.counts.tables import atom_table
    from latticescape.analysis.images.reading import image_paths
    from latticescape.deploy.cli.tables import measured_facts

    check_pictures(picture)
    if out is not None:
        check_new(out)
    if atoms is not None:
        check_file(atoms)
    paths = image_paths(images)
    found, failed = _measured(paths, frame, part, lattice, species.split(","), shown=not quiet)
    atoms_of = {name: one.atoms for name, one in found.items()}
    observed = count_measured(atoms_of)
    for name, one in found.items():
        own = [path if len(paths) == 1 else _of_image(path, name) for path in picture]
        draw(partial(_maps, one), own)
    if atoms is not None:
        write_table(atom_table(atoms_of), atoms)
    if out is not None:
        write_new(observed, out)
    show(measured_facts(observed, atoms_of), json_)
    for told in failed:
        click.echo(f"Error: {told}", err=True)
    sys.exit(1 if failed else 0)


@dataclass(frozen=True)
class Measured:
    """An image, and the atoms found in it."""

    image: xr.DataArray
    atoms: xr.Dataset


def _measured(
    paths: Sequence[Path],
    frame: int | None,
    part: str | None,
    lattice: str,
    species: Sequence[str],
    *,
    shown: bool,
) -> tuple[dict[str, Measured], list[RequestError]]:
    """Images by name, and errors of those that could not be measured; not all of them may fail."""
    from latticescape.analysis.images.measurement import measure as measure_image
    from latticescape.analysis.images.reading import read_image

    found: dict[str, Measured] = {}
    failed: list[RequestError] = []
    with ImageProgress("images", shown=shown) as bar:
        for path in bar.each(paths):
            image = read_image(path, frame=frame, part=part)
            try:
                found[str(image.name)] = Measured(image, measure_image(image, lattice, species))
            except RequestError as error:
                failed.append(error.within(str(path)))
    if not found:
        raise failed[0]
    return found, failed


def _maps(one: Measured, pictures: Any) -> Any:
    return pictures.measured_maps(one.image, one.atoms)


def _of_image(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}_{name}{path.suffix}")


@click.command(
    name="segment",
    epilog=example(
        "latticescape segment llto.tif --out phases.zarr --picture phases.html",
        "latticescape segment scan.dm4 --window 64 --step 16 --endmembers 3 --out phases.zarr",
    ),
)
@click.argument("image", type=PATH)
@click.option("--window", type=POSITIVE, help="Side, px [default: seven lattice periods].")
@click.option("--step", type=POSITIVE, help="From window to window, px [default: window / 4].")
@click.option("--endmembers", type=POSITIVE, default=2, show_default=True, help="How many phases.")
@click.option(
    "--method", type=click.Choice(METHODS), default="nfindr", show_default=True, help="Of unmixing."
)
@click.option("--seed", type=Number(min=0), default=0, show_default=True, help="Of all chance.")
@click.option("--out", type=STORE, help="Folder or URL of a new zarr store for the maps.")
@picture_option
@frame_option
@part_option
@quiet_option
@as_json
def segment(
    image: Path,
    window: int | None,
    step: int | None,
    endmembers: int,
    method: Any,
    seed: int,
    out: StorePath | None,
    picture: tuple[Path, ...],
    frame: int | None,
    part: str | None,
    quiet: bool,
    json_: bool,
) -> None:
    """Where an image shows which phase: spectra of sliding windows, unmixed.

    The Fourier spectra of windows all over the IMAGE are taken as mixtures of a few endmembers;
    the maps tell how much of each there is.
    """
    from latticescape.analysis.images.reading import read_image
    from latticescape.analysis.images.spectra.windows import sliding_fft
    from latticescape.analysis.images.unmixing.mixture import unmix

    check_pictures(picture)
    if out is not None:
        check_new(out)
    grey = read_image(image, frame=frame, part=part)
    with ImageProgress("blocks of windows", shown=not quiet):
        spectra = sliding_fft(grey, window=window, step=step)
        if spectra.nbytes <= KEPT_BYTES:
            spectra = spectra.persist()
        found = unmix(spectra, endmembers, method=method, seed=seed).compute()
    draw(lambda browse: browse.endmember_maps(grey, found), picture)
    if out is not None:
        write_new(found, out)
    facts: dict[str, object] = {
        "image": str(image),
        "window": int(spectra.attrs["window"]),
        "step": int(spectra.attrs["step"]),
        "windows": [found.sizes["window_row"], found.sizes["window_col"]],
        "method": method,
        "abundance": found["abundance"].mean(["window_row", "window_col"]).values.tolist(),
        "variance_explained": float(found["variance_explained"]),
    }
    show(facts, json_)
