"""``latticescape cluster``: which clusters there are, what they submit, and their certificates."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from latticescape.deploy.cli.options import PATH, POSITIVE, as_json, example
from latticescape.deploy.clusters.certificates import DAYS, Certificates, make_certificates
from latticescape.deploy.clusters.connect import profile_of
from latticescape.deploy.clusters.jobs import job_script
from latticescape.deploy.clusters.kubernetes import manifest_text
from latticescape.deploy.clusters.profiles import (
    TEMPORARY,
    Kubernetes,
    Slurm,
    Tls,
    find_profile,
    profile_folders,
    profile_paths,
    read_profile,
)
from latticescape.physics.errors import RequestError


@click.group()
def cluster() -> None:
    """Clusters by profile: which there are, what they would submit, their certificates."""


@cluster.command(name="list", epilog=example("latticescape cluster list"))
@as_json
def list_(json_: bool) -> None:
    """Every profile that has a name, shipped or your own, and where it is."""
    found = [
        {"name": name, "kind": _kind(path), "path": str(path)}
        for name, path in sorted(profile_paths().items())
    ]
    if json_:
        click.echo(json.dumps({"profiles": found, "folders": [*map(str, profile_folders())]}))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "kind", "path"):
        table.add_column(heading, overflow="fold")
    for profile in found:
        table.add_row(*profile.values())
    Console().print(table)
    click.echo(f"Your own go into {profile_folders()[0]}")


def _kind(path: Path) -> str:
    try:
        return read_profile(path).kind
    except RequestError as error:
        return f"cannot be used: {error.problem}"


@cluster.command(
    epilog=example(
        "latticescape cluster show slurm",
        "latticescape cluster show slurm > lab.toml",
    )
)
@click.argument("profile")
def show(profile: str) -> None:
    """A profile, and as comments the keys it does not use: a start for your own."""
    path = find_profile(profile)
    read = read_profile(path)
    text = path.read_text(encoding="utf-8").rstrip()
    used = tomllib.loads(text)
    click.echo(f"{text}\n\n# Not used:")
    for part in fields(read):
        if part.name not in used:
            key = part.metadata["key"]
            click.echo(f"# {part.name} = {key.example}  # {key.allowed}")


@cluster.command(
    name="job-script",
    epilog=example(
        "latticescape cluster job-script slurm",
        "latticescape cluster job-script kubernetes",
    ),
)
@click.argument("profile")
def job_script_command(profile: str) -> None:
    """What a profile would submit: a script for sbatch, or a resource for kubectl apply."""
    read = profile_of(profile)
    if isinstance(read, Slurm):
        click.echo(job_script(read, _shown(read.tls, read.folder)), nl=False)
    elif isinstance(read, Kubernetes):
        click.echo(manifest_text(read), nl=False)
    else:
        raise RequestError(
            "this profile submits nothing",
            came=f"{profile}, of kind {read.kind}",
            allowed="a profile of kind slurm or kubernetes",
            hint="latticescape cluster job-script slurm",
        )


def _shown(tls: Tls, folder: Path) -> Certificates | None:
    """A profile's certificates; temporary ones get their place when a cluster starts."""
    if tls == TEMPORARY:
        return Certificates.in_folder(folder / "latticescape-tls-XXXXXXXXXXXX")
    return tls if isinstance(tls, Certificates) else None


@cluster.command(
    epilog=example(
        "latticescape cluster certificates --out tls",
        "latticescape cluster certificates --out tls --host login1 --host 10.0.0.7 --days 30",
    )
)
@click.option("--out", type=PATH, required=True, help="New folder, readable by you alone.")
@click.option("--host", multiple=True, help="A name or address to write into them; repeatable.")
@click.option(
    "--days", type=POSITIVE, default=DAYS, show_default=True, help="How long they are good."
)
@as_json
def certificates(out: Path, host: tuple[str, ...], days: int, json_: bool) -> None:
    """Make an authority, and certificates for scheduler, workers and client.

    Whoever has one of them is let in by the cluster; the authority's own key is thrown away.
    """
    make_certificates(out, hosts=host, days=days)
    if json_:
        click.echo(json.dumps({"folder": str(out), "files": sorted(p.name for p in out.iterdir())}))
    else:
        click.echo(str(out))
