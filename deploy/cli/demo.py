"""``latticescape demo``: the whole workflow on real images."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console

from latticescape.deploy.cli.options import PATH, as_json, example, quiet_option
from latticescape.deploy.cli.outputs import finite


@click.command(epilog=example("latticescape demo", "latticescape demo --out /tmp/demo --json"))
@click.option(
    "--out", type=PATH, default=Path("latticescape-demo"), show_default=True, help="Folder to fill."
)
@quiet_option
@as_json
def demo(out: Path, quiet: bool, json_: bool) -> None:
    """The main job on real data, on a cluster of this machine's own.

    Sweeps the pair and the three-body model of Mo(1-x)Re(x)S2 over their interactions, measures the
    statistical distance to four microscope images, and sets it beside the published table. Images
    drawn from a known interaction go the whole way as well, from their pixels on.
    """
    from latticescape.deploy.cli.tables import estimates_table, lecture_table, rehearsal_line
    from latticescape.deploy.demo import demo as run_demo

    found = run_demo(out, progress=not quiet)
    if json_:
        click.echo(json.dumps(finite(found.as_dict())))
    else:
        console = Console()
        for model in found.comparison["model"].values:
            console.print(lecture_table(found.comparison, found.published, str(model)))
        console.print(estimates_table(found.fits, found.published_fits))
        console.print(rehearsal_line(found.rehearsal), highlight=False)
        for report in found.reports.values():
            click.echo(f"store     {report.store}")
        for path in found.pictures:
            click.echo(f"picture   {path}")
        click.echo(f"seconds   {found.seconds:.0f}")
    sys.exit(1 if found.failed else 0)
