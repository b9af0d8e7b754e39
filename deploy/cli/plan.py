"""``latticescape plan``: the size of a sweep, and how long it takes."""

from pathlib import Path

import click

from latticescape.deploy.cli import interface as ui
from latticescape.sweeps.spec.plan import measure_rate
from latticescape.sweeps.spec.plan import plan as plan_sweep
from latticescape.sweeps.spec.sweep import Sweep


@click.command(
    epilog=ui.example(
        "latticescape plan ising.toml", "latticescape plan ising.toml --workers 64 --json"
    )
)
@click.argument("spec", type=ui.PATH)
@click.option(
    "--workers", type=ui.POSITIVE, default=1, show_default=True, help="Cores to estimate time for."
)
@ui.block_option
@click.option(
    "--calibrate/--no-calibrate", default=True, help="Measure the speed of this machine, briefly."
)
@ui.as_json
def plan(spec: Path, workers: int, block_points: int | None, calibrate: bool, json_: bool) -> None:
    """Estimate the size and the run time of a sweep. Computes and stores nothing."""
    sweep = Sweep.from_file(spec)
    planned = plan_sweep(sweep, block_points=block_points)
    rate = measure_rate(sweep) if calibrate else None
    hours = None if rate is None else planned.hours(rate, workers)
    facts = {
        "digest": sweep.digest,
        "points": planned.points,
        "blocks": len(planned.blocks),
        "block_shape": list(planned.block_shape),
        "bytes": planned.bytes,
        "updates": planned.updates,
        "kernel": f"{sweep.kernel.name} {sweep.kernel.version}",
        "rule": sweep.kernel.attrs.get("rule"),
        "updates_per_second": rate,
        "workers": workers,
        "hours": hours,
    }
    summary = (
        f"{planned.points} points in {len(planned.blocks)} blocks, {ui.size_text(planned.bytes)}"
    )
    rule = f", {facts['rule']}" if facts["rule"] else ""
    kernel = f"kernel {facts['kernel']}{rule}: {planned.updates:.2g} updates"
    if rate is not None and hours is not None:
        cores = f"{workers} core{'s' if workers > 1 else ''}"
        summary += f", {ui.duration_text(3600 * hours)} on {cores}"
        kernel += f", {rate:.2g} per second on one core"
    ui.show(facts, json_, summary, kernel)
