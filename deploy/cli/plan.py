"""``latticescape plan``: the size of a sweep, and how long it takes."""

from pathlib import Path

import click

from latticescape.deploy.cli.options import PATH, POSITIVE, as_json, block_option, example
from latticescape.deploy.cli.outputs import show
from latticescape.sweeps.execution.calibrate import calibrate as measure_rate
from latticescape.sweeps.spec.plan import plan as plan_sweep
from latticescape.sweeps.spec.sweep import Sweep


@click.command(
    epilog=example(
        "latticescape plan ising.toml", "latticescape plan ising.toml --workers 64 --json"
    )
)
@click.argument("spec", type=PATH)
@click.option(
    "--workers", type=POSITIVE, default=1, show_default=True, help="Cores to reckon with."
)
@block_option
@click.option("--calibrate/--no-calibrate", default=True, help="Measure the speed here, some 3 s.")
@as_json
def plan(spec: Path, workers: int, block_points: int | None, calibrate: bool, json_: bool) -> None:
    """What a sweep costs: points, blocks, bytes, hours. Runs nothing, stores nothing."""
    sweep = Sweep.from_file(spec)
    found = plan_sweep(sweep, block_points=block_points)
    rate = measure_rate(sweep) if calibrate else None
    facts = {
        "digest": sweep.digest,
        "points": found.points,
        "blocks": len(found.blocks),
        "block_shape": list(found.block_shape),
        "bytes": found.bytes,
        "updates": found.updates,
        "kernel": f"{sweep.kernel.name} {sweep.kernel.version}",
        "updates_per_second": rate,
        "workers": workers,
        "hours": None if rate is None else found.hours(rate, workers),
    }
    show(facts, json_)
