"""``latticescape doctor``: check the installation and a cluster."""

import json
import sys

import click

from latticescape.deploy.cli.options import as_json, cluster_option, example
from latticescape.deploy.doctor import examine


@click.command(
    epilog=example("latticescape doctor --compile", "latticescape doctor --cluster tcp://host:8786")
)
@cluster_option
@click.option("--compile", "compiling", is_flag=True, help="Compile the Ising kernels, and time.")
@as_json
def doctor(cluster: str, compiling: bool, json_: bool) -> None:
    """What is wrong with this installation or cluster, before anything is spent."""
    findings = examine(cluster, compiling=compiling)
    if json_:
        click.echo(
            json.dumps(
                {
                    "healthy": all(f.good for f in findings),
                    "findings": [
                        {"name": f.name, "good": f.good, "told": f.told} for f in findings
                    ],
                }
            )
        )
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.name:<22} {finding.told}")
    sys.exit(0 if all(finding.good for finding in findings) else 2)
