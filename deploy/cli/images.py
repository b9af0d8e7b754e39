"""``latticescape measure`` and ``latticescape segment``: images to counts and to maps of phases."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from operator import methodcaller
from pathlib import Path
from typing import Any

import click
from dask.callbacks import Callback
from dask.system import CPU_COUNT
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from latticescape.analysis.checks import check_species_names
from latticescape.deploy.cli import interface as ui
from latticescape.deploy.derived import write_new
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.atomic_write import check_parent
from latticescape.sweeps.store.location import StorePath


class ImageProgress(Callback):  # type: ignore[misc]
    """Progress bars on standard error for the tasks that Dask finishes in this process.

    The number of passes of a computation is not known in advance, so each pass has its own bar.

    Parameters
    ----------
    unit
        The items that are counted.
    shown
        Whether to show the bars in a terminal or notebook.
    """

    def __init__(self, unit: str, *, shown: bool) -> None:
        super().__init__(start_state=self._begin, posttask=self._count)
        console = Console(file=sys.stderr)
        self.passes = 0
        self.task: TaskID | None = None
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
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
        """Yield every path, and count it when it is done."""
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


LATTICES = ("square", "triangular", "honeycomb")
METHODS = ("nfindr", "ica", "nmf", "bayes")

# Spectra of up to this size stay in memory; larger ones are recomputed in every pass.
KEPT_BYTES = 2**29

frame_option = click.option(
    "--frame", type=ui.Number(min=0), help="Which image of a stack, from 0."
)
part_option = click.option("--part", help="Which data set of a file that holds several.")


def _split_size(
    context: click.Context, __: click.Parameter, size: tuple[float, str] | None
) -> float | None:
    context.params["pixel_units"] = size[1] if size else None
    return size[0] if size else None


pixel_option = click.option(
    "--pixel-size",
    type=(float, str),
    callback=_split_size,
    metavar="SIZE UNITS",
    help="Width of a pixel, such as 0.02 nm, in place of the file's.",
)


def _method(_: click.Context, __: click.Parameter, method: str) -> str | float:
    try:
        return float(method)
    except ValueError:
        return method


def _check_table(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        if path.is_dir():
            hint = str(path / "atoms.csv")
            raise RequestError(f"{path} is a folder", allowed="a file", hint=hint)
        check_parent(path)
    return path


@click.command(
    epilog=ui.example(
        "latticescape measure re05.tif --species Mo,Re --out observed.zarr --atoms atoms.csv",
        "latticescape measure 'images/*.dm4' --lattice square --species A,B --picture measure.html",
    )
)
@click.argument("images", type=ui.PATH, nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--lattice",
    type=click.Choice(LATTICES),
    default="triangular",
    show_default=True,
    help="Kind of lattice.",
)
@click.option(
    "--species",
    required=True,
    help="Names from the darkest to the brightest species, such as Mo,Re.",
)
@click.option(
    "--contrast",
    type=click.Choice(("bright", "dark", "auto")),
    default="bright",
    show_default=True,
    help="Whether atoms are brighter or darker than their surroundings.",
)
@click.option(
    "--method",
    default="mixture",
    show_default=True,
    callback=_method,
    help="How to distinguish species: mixture, otsu, or a threshold of relative brightness.",
)
@click.option(
    "--spacing", type=float, help="Distance of nearest atoms, px, if the image does not show it."
)
@ui.new_store_option("the counts")
@click.option(
    "--atoms",
    type=ui.PATH,
    callback=_check_table,
    help="A new CSV file for positions, species and sites.",
)
@ui.picture_option
@frame_option
@part_option
@pixel_option
@ui.quiet_option
@ui.as_json
def measure(
    images: tuple[Path, ...],
    species: str,
    out: StorePath | None,
    atoms: Path | None,
    picture: tuple[Path, ...],
    quiet: bool,
    json_: bool,
    frame: int | None,
    part: str | None,
    pixel_size: float | None,
    pixel_units: str | None,
    **options: Any,
) -> None:
    """Find the atoms in images, name their species, and count their local configurations.

    Each IMAGE is a file or a pattern. The picture shows the species, their uncertainty, and the two
    main components of the neighbourhoods; with several images there is one picture for each, with
    the image's name before the suffix. Configurations are counted for two species; one or more than
    two give a table of atoms only. Warnings name what makes the counts doubtful. Exit code 1 if
    some images could not be measured or counted.
    """
    from latticescape.analysis.counts.tables import atom_table
    from latticescape.analysis.images.measurement import measure as measure_image
    from latticescape.analysis.images.reading import image_paths, read_image

    names = species.split(",")
    check_species_names(names)
    if out is not None and len(names) != 2:
        hint = "--atoms atoms.csv instead of --out"
        raise RequestError("counts need two species", came=species, allowed="two names", hint=hint)

    def measured(path: Path) -> tuple[Any, Any] | RequestError:
        try:
            image = read_image(
                path, frame=frame, part=part, pixel_size=pixel_size, pixel_units=pixel_units
            )
            return image, measure_image(image, species=names, **options)
        except RequestError as error:
            return error.within(str(path)) if str(path) not in error.problem else error

    paths = image_paths(images)
    # Compiled code and Fourier transforms run in parallel in threads.
    workers = max(1, min(CPU_COUNT, len(paths)))
    with ImageProgress("images", shown=not quiet) as bar, ThreadPoolExecutor(workers) as pool:
        done = dict(zip(bar.each(paths), pool.map(measured, paths), strict=True))
    errors = [outcome for outcome in done.values() if isinstance(outcome, RequestError)]
    pairs = [outcome for outcome in done.values() if not isinstance(outcome, RequestError)]
    image_of = {str(image.name): image for image, _ in pairs}
    atoms_of = {str(image.name): table for image, table in pairs}
    for failure in errors if atoms_of else errors[:-1]:
        click.echo(f"Error: {failure}", err=True)
    if not atoms_of:
        raise errors[-1]
    for name, table in atoms_of.items():
        for text in table.attrs["warnings"]:
            click.echo(f"Warning: {name}: {text}", err=True)
        _draw_measured(image_of[name], table, picture, single=len(paths) == 1)
    if atoms is not None:
        atoms.parent.mkdir(parents=True, exist_ok=True)
        atom_table(atoms_of).to_csv(atoms, index=False)
    counted = {name: table for name, table in atoms_of.items() if not table.attrs["uncounted"]}
    ui.show(_counted_facts(atoms_of, counted, out), json_)
    sys.exit(1 if errors or (len(names) == 2 and len(counted) < len(atoms_of)) else 0)


def _draw_measured(image: Any, atoms: Any, picture: tuple[Path, ...], *, single: bool) -> None:
    """Draw one image with its atoms, if they have species."""
    if (atoms["species"] >= 0).any():
        files = [
            path if single else path.with_name(f"{path.stem}_{image.name}{path.suffix}")
            for path in picture
        ]
        ui.draw(methodcaller("measured_maps", image, atoms), files)


def _counted_facts(
    atoms_of: dict[str, Any], counted: dict[str, Any], out: StorePath | None
) -> dict[str, Any]:
    """Count and store the images that can be counted; what to print for all."""
    from latticescape.analysis.counts.counting import count_measured
    from latticescape.analysis.images.quality import NUMBERS

    n, composition = {}, {}
    if counted:
        observed = count_measured(counted)
        n = dict(zip(counted, observed["n"].values.tolist(), strict=True))
        composition = dict(zip(counted, observed["composition"].values.tolist(), strict=True))
        if out is not None:
            write_new(observed, out, "measurement", ["image"])
    tables = atoms_of.values()
    return {
        "images": list(atoms_of),
        "atoms": [int(table["on_lattice"].sum()) for table in tables],
        "vacancies": [table.sizes["vacancy"] for table in tables],
        "n": [n.get(name, 0) for name in atoms_of],
        "composition": [composition.get(name) for name in atoms_of],
        "lattice_constant_px": [float(t.attrs["lattice_constant"]) for t in tables],
        **{name: [float(t.attrs[name]) for t in tables] for name in NUMBERS},
        "warnings": [list(table.attrs["warnings"]) for table in tables],
    }


@click.command(
    name="segment",
    epilog=ui.example(
        "latticescape segment llto.tif --out phases.zarr --picture phases.html",
        "latticescape segment scan.dm4 --window 64 --step 16 --endmembers 3 --out phases.zarr",
    ),
)
@click.argument("image", type=ui.PATH)
@click.option(
    "--window", type=ui.POSITIVE, help="Side of a window, px [default: seven lattice periods]."
)
@click.option("--step", type=ui.POSITIVE, help="Step between windows, px [default: window / 4].")
@click.option(
    "--endmembers", type=ui.POSITIVE, default=2, show_default=True, help="Number of phases."
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="nfindr",
    show_default=True,
    help="Method of unmixing.",
)
@click.option(
    "--seed", type=ui.SEED, default=0, show_default=True, help="Seed of all random numbers."
)
@ui.new_store_option("the maps")
@ui.picture_option
@frame_option
@part_option
@pixel_option
@ui.quiet_option
@ui.as_json
def segment(
    image: Path,
    window: int | None,
    step: int | None,
    endmembers: int,
    method: Any,
    seed: int,
    out: StorePath | None,
    picture: tuple[Path, ...],
    quiet: bool,
    json_: bool,
    **which: Any,
) -> None:
    """Map the phases of an image: Fourier spectra of sliding windows, unmixed.

    The spectra of windows all over the IMAGE are modelled as mixtures of a few endmembers; the maps
    show the abundance of each.
    """
    from latticescape.analysis.images.atoms.pixels import fill_left_out
    from latticescape.analysis.images.reading import read_image
    from latticescape.analysis.images.spectra.windows import sliding_fft
    from latticescape.analysis.images.unmixing.mixture import count_endmembers, unmix

    grey = read_image(image, **which)
    with ImageProgress("blocks of windows", shown=not quiet):
        spectra = sliding_fft(fill_left_out(grey), window=window, step=step)
        if spectra.nbytes <= KEPT_BYTES:
            spectra = spectra.persist()
        unmixed = unmix(spectra, endmembers, method=method, seed=seed).compute()
        distinct = None
        with suppress(RequestError):  # too few windows to tell structure from noise
            most = endmembers + 1
            distinct = int(count_endmembers(spectra, most=most, seed=seed).attrs["endmembers"])
    explained = float(unmixed["variance_explained"])
    warnings = []
    if distinct is None or distinct < endmembers:
        seen = "cannot be distinguished from noise" if distinct is None else f"show {distinct}"
        warnings.append(
            f"the windows {seen}, and {endmembers} phases were asked for; the map explains "
            f"{explained:.1%} of their variance"
        )
    if skipped := float(unmixed["abundance"][0].isnull().mean()):
        warnings.append(f"{skipped:.0%} of the windows were left out: missing or flat pixels")
    for text in warnings:
        click.echo(f"Warning: {text}", err=True)
    ui.draw(lambda plots: plots.endmember_maps(grey, unmixed), picture)
    if out is not None:
        write_new(unmixed, out, "segmentation", unmixed["abundance"].dims)
    facts: dict[str, object] = {
        "image": str(image),
        "window": int(spectra.attrs["window"]),
        "step": int(spectra.attrs["step"]),
        "windows": [unmixed.sizes["window_row"], unmixed.sizes["window_col"]],
        "method": method,
        "abundance": unmixed["abundance"].mean(["window_row", "window_col"]).values.tolist(),
        "variance_explained": explained,
        "distinguishable": distinct,
        "warnings": warnings,
    }
    ui.show(facts, json_)
