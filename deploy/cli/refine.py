"""The verb ``refine``: add points to a sweep where they reduce the error of its minimum."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from latticescape.deploy.cli import interface as ui
from latticescape.deploy.sources import landscape_function, observations_for
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import open_sweep


@click.command(
    name="refine",
    epilog=ui.example(
        "latticescape refine runs/mores2.zarr counts.csv --target w1=0.005",
        "latticescape refine runs/mores2.zarr counts.csv --target w1=0.005 --target w2=0.01 "
        "--store-out runs/fine.zarr --budget 400",
    ),
)
@click.argument("store", type=ui.STORE)
@ui.observed_argument
@ui.number_option(
    "--target",
    "NAME=ERROR",
    "w1=0.005",
    required=True,
    help="Numerical error to reach; repeatable.",
)
@click.option(
    "--rounds",
    type=ui.POSITIVE,
    default=8,
    show_default=True,
    help="Maximum number of extended sweeps.",
)
@click.option("--budget", type=ui.POSITIVE, help="Maximum number of new points in all rounds.")
@click.option(
    "--store-out",
    type=ui.STORE,
    help="fine.zarr: new stores are fine-1.zarr, … [default: by STORE].",
)
@ui.species_option
@ui.cluster_option
@ui.workers_option
@ui.threads_option
@ui.log_options
@ui.as_json
def refine(
    store: StorePath,
    observed: tuple[Path, ...],
    target: list[tuple[str, float]],
    rounds: int,
    budget: int | None,
    store_out: StorePath | None,
    species: tuple[str, ...] | None,
    cluster: str,
    quiet: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Add points to a sweep until the minimum of its landscape is known to a target error.

    OBSERVED as for latticescape landscape: images, or the sources.toml of a slab. The target is the
    numerical error, of Monte Carlo noise and interpolation; the error that the data leave, which no
    simulation reduces, is printed next to it. Each round runs an extended sweep in a new store that
    takes over all existing points. Exit code 1 if the target was not reached.
    """
    from latticescape.deploy.cli.run import execute_on
    from latticescape.deploy.refinement import Round
    from latticescape.deploy.refinement import refine as refine_sweep
    from latticescape.sweeps.execution.run import IncompleteError

    def report(completed: Round) -> None:
        if json_:
            return
        proposal = completed.proposal
        click.echo(f"{completed.store}: {completed.points} points, {completed.updates:.3g} updates")
        for name, value in proposal.estimate.items():
            errors = f"± {proposal.errors[name]:.2g} (numerical), "
            errors += f"± {proposal.data_errors[name]:.2g} (data)"
            click.echo(f"  {name} = {value:.6g} {errors}")
        for note in proposal.notes:
            click.echo(f"  {note}")
        values = (f"{len(values)} values of {name}" for name, values in proposal.axes.items())
        new = f"{proposal.points} points" if proposal.scattered else ", ".join(values)
        click.echo(f"  {proposal.status}" + (f": {new}" if new else ""))

    observations = observations_for(open_sweep(store), store, observed, species)
    try:
        refinement = refine_sweep(
            store,
            landscape_function(observations),
            dict(target),
            rounds=rounds,
            budget=budget,
            out=store_out,
            execute=partial(execute_on, cluster, progress=not quiet, **options),
            on_round=report,
        )
    except IncompleteError as error:
        click.echo(f"Error: {error}", err=True)
        click.get_current_context().exit(1)
    if json_:
        ui.show(refinement.as_dict(), json_)
    click.get_current_context().exit(0 if refinement.reached else 1)
