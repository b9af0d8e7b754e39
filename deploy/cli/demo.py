"""``latticescape demo``: the whole workflow on real images."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from latticescape.deploy.cli.interface import PATH, as_json, example, quiet_option, show

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from latticescape.analysis.inference.estimation.fit import Fit


@click.command(epilog=example("latticescape demo", "latticescape demo --out /tmp/demo --json"))
@click.option(
    "--out", type=PATH, default=Path("latticescape-demo"), show_default=True, help="Folder to fill."
)
@quiet_option
@as_json
def demo(out: Path, quiet: bool, json_: bool) -> None:
    """Run the whole workflow on images of Mo(1-x)Re(x)S2, on this machine.

    Sweeps the pair and the three-body model over their interactions, computes the statistical
    distance to four microscope images, fits and compares the models, and prints the published
    values too. Synthetic images with a known interaction are measured and fitted as a check.
    """
    from latticescape.deploy.demo import demo as run_demo

    result = run_demo(out, progress=not quiet)
    if json_:
        show(result.as_dict(), json_)
    else:
        console = Console()
        for model in result.comparison["model"].values:
            console.print(lecture_table(result.comparison, result.published, str(model)))
        console.print(estimates_table(result.fits, result.published_fits))
        check = result.synthetic_check
        console.print(
            f"{len(check.images)} synthetic images with w1 = {check.true:.3f}, measured and "
            f"fitted: w1 = {check.fitted:.3f} ± {check.error:.3f}",
            highlight=False,
        )
        for report in result.reports.values():
            click.echo(f"store     {report.store}")
        for path in result.pictures:
            click.echo(f"picture   {path}")
        click.echo(f"seconds   {result.seconds:.0f}")
    sys.exit(1 if result.failed else 0)


def lecture_table(comparison: "xr.Dataset", published: "pd.DataFrame", model: str) -> Table:
    """One model's columns of the published table, with the published and the computed values."""
    from latticescape.deploy.cli.compare import figures

    at = comparison.sel(model=model)
    parameters = f"{int(at.parameters)} parameter{'' if int(at.parameters) == 1 else 's'}"
    table = Table(title=f"{model} alloy, {parameters} fitted", title_justify="left")
    table.add_column("image")
    for head in ("N", "S² ± Monte Carlo", "published", "p (χ²)", "published"):
        table.add_column(head, justify="right")
    for row in published.to_dict("records"):
        image = str(row["image"])
        s2, error, p = figures(at, image)
        published_values = (f"{row[f's2_{model}']:.4f}", f"{row[f'p_{model}']:.4f}")
        computed = f"{s2:.5f} ± {error:.5f}" if error else f"{s2:.5f}"
        table.add_row(
            image, str(row["n"]), computed, published_values[0], f"{p:.4f}", published_values[1]
        )
    table.add_section()
    published_bic = published[f"bic_{model}"].dropna().item()
    table.add_row("BIC", "", f"{float(at.bic):.1f}", f"{published_bic:.1f}")
    return table


def estimates_table(fits: Mapping[str, "Fit"], published: Mapping[str, "Fit"]) -> Table:
    """The parameters of each model as ``fit`` estimates them, next to the published convention."""
    table = Table(title="parameters", title_justify="left")
    for head in ("model", "parameter"):
        table.add_column(head)
    table.add_column("fit", justify="right")
    table.add_column("published convention, independent counts", justify="right")
    table.add_column("note")
    for model, fit in fits.items():
        for name, (value, error) in fit.parameters.items():
            independent = published[model].parameters[name]
            note = "at the edge of the grid: extend the axis" if name in fit.border else ""
            cells = [f"{v:.4f} ± {e:.4f}" for v, e in ((value, error), independent)]
            table.add_row(model, name, *cells, note)
    return table
