"""The verbs ``doctor`` and ``cluster``: check the installation, manage cluster profiles."""

import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from latticescape.deploy.cli.interface import PATH, POSITIVE, as_json, cluster_option, example, show
from latticescape.deploy.clusters.certificates import Certificates
from latticescape.deploy.clusters.connect import profile_of
from latticescape.deploy.clusters.profiles import (
    TEMPORARY,
    Jobs,
    Kubernetes,
    find_profile,
    profile_folders,
    profile_paths,
    read_profile,
)
from latticescape.physics.errors import RequestError
from latticescape.sweeps.schema import allowed_text, example_line


@click.command(
    epilog=example(
        "latticescape doctor --compile",
        "latticescape doctor --cluster tcp://host:8786 --store runs/ising.zarr",
    )
)
@cluster_option
@click.option("--store", help="Where a store is to be: a folder or URL that all workers must see.")
@click.option(
    "--compile", "compiling", is_flag=True, help="Compile the Ising kernels and time them."
)
@as_json
def doctor(cluster: str, store: str | None, compiling: bool, json_: bool) -> None:
    """Check the installation, a cluster and a disk. Exit code 2 if anything is wrong."""
    from latticescape.deploy.doctor import examine

    findings = examine(cluster, compiling=compiling, store=store)
    healthy = all(finding.good for finding in findings)
    lines = [f"{'ok  ' if f.good else 'BAD '} {f.name:<22} {f.detail}" for f in findings]
    show({"healthy": healthy, "findings": [*map(asdict, findings)]}, json_, *lines)
    sys.exit(0 if healthy else 2)


@click.group()
def cluster() -> None:
    """List and show cluster profiles, show what they submit, make certificates."""


@cluster.command(name="list", epilog=example("latticescape cluster list"))
@as_json
def list_(json_: bool) -> None:
    """List the named profiles, shipped and your own, with their files."""
    profiles = []
    for name, path in sorted(profile_paths().items()):
        try:
            kind = read_profile(path).kind
        except RequestError as error:
            kind = f"cannot be used: {error.problem}"
        profiles.append({"name": name, "kind": kind, "path": str(path)})
    if json_:
        show({"profiles": profiles, "folders": [*map(str, profile_folders())]}, json_)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "kind", "path"):
        table.add_column(heading, overflow="fold")
    for profile in profiles:
        table.add_row(*profile.values())
    Console().print(table)
    click.echo(f"Put your own into {profile_folders()[0]}")


@cluster.command(
    name="show",
    epilog=example(
        "latticescape cluster show slurm",
        "latticescape cluster show slurm > lab.toml",
    ),
)
@click.argument("profile")
def show_profile(profile: str) -> None:
    """Print a profile, with the keys that it does not use as comments."""
    path = find_profile(profile)
    fields = type(read_profile(path)).model_fields
    text = path.read_text(encoding="utf-8").rstrip()
    used = tomllib.loads(text)
    click.echo(f"{text}\n\n# Not used:")
    for name, field in fields.items():
        if name not in used:
            click.echo(f"# {example_line(name, field)}  # {allowed_text(field)}")


@cluster.command(
    name="job-script",
    epilog=example(
        "latticescape cluster job-script slurm",
        "latticescape cluster job-script kubernetes",
    ),
)
@click.argument("profile")
def job_script_command(profile: str) -> None:
    """Print what a profile submits: a job script, or a resource for kubectl apply."""
    chosen = profile_of(profile)
    if isinstance(chosen, Jobs):
        from latticescape.deploy.clusters.job_queues import job_script

        tls = chosen.tls
        if tls == TEMPORARY:  # made when the cluster starts, in a folder of this form
            tls = Certificates.in_folder(chosen.folder / "latticescape-tls-XXXXXXXXXXXX")
        click.echo(job_script(chosen, tls if isinstance(tls, Certificates) else None), nl=False)
    elif isinstance(chosen, Kubernetes):
        from latticescape.deploy.clusters.kubernetes import manifest_text

        click.echo(manifest_text(chosen), nl=False)
    else:
        raise RequestError(
            f"{profile}, of kind {chosen.kind}, submits nothing",
            allowed="slurm | pbs | lsf | sge | oar | htcondor | moab | kubernetes",
            hint="latticescape cluster job-script slurm",
        )


@cluster.command(
    epilog=example(
        "latticescape cluster certificates --out tls",
        "latticescape cluster certificates --out tls --host login1 --host 10.0.0.7 --days 30",
    )
)
@click.option("--out", type=PATH, required=True, help="New folder that only you can read.")
@click.option(
    "--host", multiple=True, help="Host name or address to write into the certificates; repeatable."
)
@click.option(
    "--days", type=POSITIVE, default=365, show_default=True, help="How long they are valid."
)
@as_json
def certificates(out: Path, host: tuple[str, ...], days: int, json_: bool) -> None:
    """Make an authority, and certificates for scheduler, workers and client.

    The cluster trusts every process that holds one of them; the authority's own key is discarded.
    """
    from latticescape.deploy.clusters.authority import make_certificates

    make_certificates(out, hosts=host, days=days)
    files = sorted(path.name for path in out.iterdir())
    show({"folder": str(out), "files": files}, json_, str(out))
