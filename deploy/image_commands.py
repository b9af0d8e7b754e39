"""``latticescape measure`` and ``latticescape phases``: from images to counts, and to phases."""

from pathlib import Path
from typing import Any

import click

from deploy.image_progress import ImageProgress
from deploy.options import PATH, POSITIVE, STORE, Number, as_json, example
from deploy.outputs import check_new, check_pictures, draw, show, write_new
from sweeps.location import StorePath

METHODS = ("nfindr", "ica", "nmf", "bayes")

# Spectra that take no more than this stay in memory; others are computed anew in every pass.
KEPT_BYTES = 2**29

frame_option = click.option("--frame", type=Number(min=0), help="Which image of a stack, from 0.")
part_option = click.option("--part", help="Which data set of a file that holds several.")
picture_option = click.option(
    "--picture", type=PATH, multiple=True, help="A .png or .html to draw; repeatable."
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")


@click.command(
    epilog=example(
        "latticescape phases llto.tif --out phases.zarr --picture phases.html",
        "latticescape phases scan.dm4 --window 64 --step 16 --endmembers 3 --out phases.zarr",
    )
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
def phases(
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
    from analysis.images import read_image
    from analysis.spectra import sliding_fft
    from analysis.unmixing import unmix

    check_pictures(picture)
    if out is not None:
        check_new(out)
    grey = read_image(image, frame=frame, part=part)
    with ImageProgress("blocks of windows", shown=not quiet):
        spectra = sliding_fft(grey, window=window, step=step)
        if spectra.nbytes <= KEPT_BYTES:
            spectra = spectra.persist()
        found = unmix(spectra, endmembers, method=method, seed=seed).compute()
    draw(lambda pictures: pictures.endmember_maps(grey, found), picture, room="pictures")
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
