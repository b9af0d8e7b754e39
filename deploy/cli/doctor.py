"""``latticescape doctor``: check the installation and a cluster."""

import sys
from dataclasses import asdict

import click

from latticescape.deploy.cli.options import as_json, cluster_option, example
from latticescape.deploy.cli.outputs import show
from latticescape.deploy.doctor import examine


@click.command(
    epilog=example("latticescape doctor --compile", "latticescape doctor --cluster tcp://host:8786")
)
@cluster_option
@click.option(
    "--compile", "compiling", is_flag=True, help="Compile the Ising kernels and time them."
)
@as_json
def doctor(cluster: str, compiling: bool, json_: bool) -> None:
    """Check the installation and a cluster. Exit code 2 if anything is wrong."""
    findings = examine(cluster, compiling=compiling)
    healthy = all(finding.good for finding in findings)
    lines = [f"{'ok  ' if f.good else 'BAD '} {f.name:<22} {f.detail}" for f in findings]
    show({"healthy": healthy, "findings": [*map(asdict, findings)]}, json_, *lines)
    sys.exit(0 if healthy else 2)
