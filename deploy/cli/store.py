"""``latticescape verify`` and ``consolidate``: the files of a store."""

import sys

import click

from latticescape.deploy.cli.options import STORE, as_json, example
from latticescape.deploy.cli.outputs import show
from latticescape.sweeps.store.consolidate import consolidate as consolidate_store
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.verify import verify as verify_store


@click.command(
    epilog=example("latticescape verify runs/ising.zarr", "latticescape verify s.zarr --repair")
)
@click.argument("store", type=STORE)
@click.option("--repair", is_flag=True, help="Make damaged points pending; run computes them anew.")
@as_json
def verify(store: StorePath, repair: bool, json_: bool) -> None:
    """Compare every point with its checksum. Exit code 1 if any is damaged, repaired or not."""
    found = verify_store(store, repair=repair)
    facts = {
        "store": found.store,
        "points": found.points,
        "done": found.done,
        "damaged": found.damaged,
        "blocks_damaged": len(found.damages),
        "repaired": repair,
    }
    told = [damage.told for damage in found.damages]
    show({**facts, "damages": told} if json_ else facts, json_)
    for line in told:
        click.echo(f"Error: {line}", err=True)
    if told and not repair:
        click.echo(f"Try: {found.hint}", err=True)
    sys.exit(1 if told else 0)


@click.command(epilog=example("latticescape consolidate runs/ising.zarr share/ising.zarr"))
@click.argument("store", type=STORE)
@click.argument("out", type=STORE)
@click.option("--partial", is_flag=True, help="Even if points are missing; they stay so in OUT.")
@as_json
def consolidate(store: StorePath, out: StorePath, partial: bool, json_: bool) -> None:
    """Copy a finished store into OUT, a few large files to be shared; OUT can only be read."""
    show(consolidate_store(store, out, partial=partial).as_dict(), json_)
