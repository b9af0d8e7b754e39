"""``latticescape study`` and ``latticescape report``: from images to an answer."""

from pathlib import Path

import click

from latticescape.deploy.cli import interface as ui


@click.command(
    epilog=ui.example(
        "latticescape study 'images/*.tif' --species Mo,Re --out study",
        "latticescape study --counts counts.csv --species Mo,Re --temperature '1000 K' --out study",
    )
)
@click.argument("images", type=ui.PATH, nargs=-1, metavar="[IMAGE]...")
@click.option("--counts", type=ui.PATH, multiple=True, help="A table of counts, without images.")
@click.option("--species", required=True, help="Names from the darkest to the brightest.")
@click.option("--out", type=ui.PATH, required=True, help="Folder, new or of the same study.")
@click.option(
    "--models", default="random,pair,pair_nnn,three_body", show_default=True, help="Candidates."
)
@click.option("--temperature", help="Such as '1000 K': gives energies in meV and kJ/mol too.")
@click.option("--hours", type=float, help="Time for the simulations; coarsens the grids.")
@click.option(
    "--lattice", default="auto", show_default=True, help="auto, triangular, square or honeycomb."
)
@ui.cluster_option
@ui.quiet_option
@ui.as_json
def study(
    images: tuple[Path, ...],
    counts: tuple[Path, ...],
    species: str,
    out: Path,
    models: str,
    temperature: str | None,
    hours: float | None,
    lattice: str,
    cluster: str,
    quiet: bool,
    json_: bool,
) -> None:
    """Go from IMAGES, or counts, to a verdict and a report.

    Repeat the command to resume. Specs in the folder may be edited before.
    """
    from latticescape.deploy.study.study import study as run_study

    result = run_study(
        images,
        counts=counts,
        species=species.split(","),
        out=out,
        models=models.split(","),
        temperature=temperature,
        hours=hours,
        lattice=lattice,
        cluster=cluster,
        progress=not quiet,
    )
    if json_:
        ui.show(dict(result.facts), json_)
        return
    for line in (result.verdict, *(f"warning: {text}" for text in result.facts["warnings"])):
        click.echo(line)
    click.echo(f"report    {out / 'report.html'}")


@click.command(epilog=ui.example("latticescape report study"))
@click.argument("folder", type=ui.PATH, metavar="STUDY")
@ui.as_json
def report(folder: Path, json_: bool) -> None:
    """Write report.html of a finished study again."""
    from latticescape.deploy.study.report import write_report

    ui.show({"report": str(write_report(folder))}, json_)
