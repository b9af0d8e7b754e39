"""The verb ``refine``: a sweep gets more points where they tell most about what was observed."""

import json
from functools import partial
from pathlib import Path

import click

from latticescape.deploy.cli.landscape import landscape_from
from latticescape.deploy.cli.options import (
    POSITIVE,
    STORE,
    as_json,
    example,
    observed_argument,
    species_option,
)
from latticescape.deploy.cli.outputs import finite
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import open_sweep


@click.command(
    name="refine",
    epilog=example(
        "latticescape refine runs/mores2.zarr counts.csv --target w1=0.005",
        "latticescape refine runs/mores2.zarr counts.csv --target w1=0.005 --target w2=0.01 "
        "--store-out runs/fine.zarr --budget 400",
    ),
)
@click.argument("store", type=STORE)
@observed_argument
@click.option(
    "--target",
    multiple=True,
    required=True,
    metavar="NAME=ERROR",
    help="Numerical error to reach; repeatable.",
)
@click.option("--rounds", type=POSITIVE, default=8, show_default=True, help="Most extended sweeps.")
@click.option("--budget", type=POSITIVE, help="Most new points, all rounds together.")
@click.option(
    "--store-out", type=STORE, help="fine.zarr: new stores are fine-1.zarr, … [default: by STORE]."
)
@species_option
@click.option(
    "--cluster",
    default="local",
    show_default=True,
    help="A profile's name or path, tcp://host:port or tls://host:port.",
)
@click.option("--workers", type=POSITIVE, help="Worker processes on this machine.")
@click.option("--threads", type=POSITIVE, help="Threads of each worker on this machine.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@as_json
def refine(
    store: StorePath,
    observed: tuple[Path, ...],
    target: tuple[str, ...],
    rounds: int,
    budget: int | None,
    store_out: StorePath | None,
    species: str | None,
    cluster: str,
    workers: int | None,
    threads: int | None,
    quiet: bool,
    json_: bool,
) -> None:
    """Add points to a sweep until the minimum of its landscape is known to a target error.

    OBSERVED as for latticescape landscape: images, or the sources.toml of a slab. The error is the
    numerical one, of Monte Carlo noise and interpolation; what the data leave open is told beside
    it, and no simulation reduces it. Each round runs an extended sweep in a new store that takes
    over all points there are. Exit code 1 if the target was not reached.
    """
    from latticescape.deploy.cli.run import execute_on
    from latticescape.deploy.cli.tables import round_lines
    from latticescape.deploy.refinement import Round
    from latticescape.deploy.refinement import refine as refined
    from latticescape.sweeps.execution.run import IncompleteError

    aims = dict(map(_aim, target))
    landscape_of = landscape_from(open_sweep(store), store, observed, species)

    def report(found: Round) -> None:
        if not json_:
            click.echo("\n".join(round_lines(found)))

    try:
        found = refined(
            store,
            landscape_of,
            aims,
            rounds=rounds,
            budget=budget,
            out=store_out,
            execute=partial(
                execute_on, cluster, workers=workers, threads=threads, progress=not quiet
            ),
            on_round=report,
        )
    except IncompleteError as error:
        click.echo(f"Error: {error}", err=True)
        click.get_current_context().exit(1)
    if json_:
        click.echo(json.dumps(finite(found.as_dict())))
    click.get_current_context().exit(0 if found.reached else 1)


def _aim(given: str) -> tuple[str, float]:
    name, _, error = given.partition("=")
    try:
        return name, float(error)
    except ValueError:
        raise RequestError(
            "--target cannot be read", came=given, allowed="NAME=ERROR", hint="--target w1=0.005"
        ) from None
