"""The verb ``calibrate``: how often a fit's intervals hold the truth."""

import time
from pathlib import Path
from typing import Any

import click
import xarray as xr
from rich.console import Console
from rich.table import Table

from latticescape.deploy.cli import interface as ui
from latticescape.deploy.derived import write_new
from latticescape.deploy.sources import observations_for
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import Store, open_sweep

METHODS = ("laplace", "bootstrap")


@click.command(
    epilog=ui.example(
        "latticescape calibrate runs/mores2.zarr counts.csv --draws 200 --picture calibration.png"
    )
)
@click.argument("store", type=ui.STORE)
@ui.observed_argument
@click.option(
    "--draws", type=ui.POSITIVE, default=128, show_default=True, help="Number of experiments."
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="laplace",
    show_default=True,
    help="Whose intervals: those of the likelihood, or of bootstrap samples.",
)
@click.option("--seed", type=ui.SEED, default=1, show_default=True, help="Seed of the draws.")
@ui.new_store_option("the experiments")
@ui.picture_option
@ui.species_option
@ui.as_json
def calibrate(
    store: StorePath,
    observed: tuple[Path, ...],
    draws: int,
    method: Any,
    seed: int,
    out: StorePath | None,
    picture: tuple[Path, ...],
    species: tuple[str, ...] | None,
    json_: bool,
) -> None:
    """Count how often the intervals of a fit hold the truth.

    Draws experiments like the observed one from the sweep's own model at the fitted parameters,
    fits each on the sweep, and reports the share of 68 % and 95 % intervals that hold these
    parameters.

    OBSERVED is as for latticescape fit.
    """
    from latticescape.analysis.inference.calibration import calibrate as calibrated

    simulated = open_sweep(store)
    counts = observations_for(simulated, store, observed, species)
    if not isinstance(counts, xr.Dataset):
        raise click.UsageError("a slab's sources cannot be drawn: give counts of configurations")
    begun = time.process_time()

    def say_cost(fitted: int, number: int) -> None:
        # Before the first experiment only the user's own counts were fitted.
        if not fitted and not json_:
            seconds = number * (time.process_time() - begun)
            click.echo(
                f"{number} experiments are drawn and fitted, about {seconds:.0f} s", err=True
            )

    ds = calibrated(simulated, counts, draws=draws, seed=seed, method=method, progress=say_cost)
    ui.draw(lambda plots: plots.calibration_chart(ds), picture)
    if out is not None:
        write_new(ds, out, "calibration", ds.sizes, sweep=Store(store).digest)
    by_parameter = {name: ds.sel(parameter=name) for name in ds["parameter"].values.tolist()}
    facts: dict[str, Any] = {
        "method": method,
        "draws": draws,
        "failed": int(ds["failed"]),
        "coverage": {name: _by_level(one["coverage"]) for name, one in by_parameter.items()},
        "coverage_se": _by_level(ds["coverage_se"]),
        **{
            column: {name: float(one[column]) for name, one in by_parameter.items()}
            for column in ("truth", "bias", "bias_se", "pull_rms")
        },
        "notes": _notes(ds),
    }
    if not json_:
        Console().print(_table(ds))
    ui.show(facts, json_, *(f"note: {note}" for note in facts["notes"]))


def _by_level(values: xr.DataArray) -> dict[str, float]:
    return {f"{100 * float(v.level):.0f}": float(v) for v in values}


# A share further from its level than this many standard errors is said to differ.
DIFFERENT = 2.5


def _notes(ds: xr.Dataset) -> list[str]:
    """What the calibration says about the intervals, in sentences."""
    notes = []
    for name in ds["parameter"].values.tolist():
        shares, errors = ds["coverage"].sel(parameter=name).values, ds["coverage_se"].values
        for level, share, error in zip(ds["level"].values, shares, errors, strict=True):
            if share < level - DIFFERENT * error:
                notes.append(
                    f"intervals of {level:.0%} hold {name} in {share:.0%} of the experiments: "
                    "they are too short"
                )
    if failed := int(ds["failed"]):
        notes.append(f"{failed} of {ds.sizes['draw']} experiments have no finite errors")
    return notes


def _table(ds: xr.Dataset) -> Table:
    shown = Table(title=f"{ds.sizes['draw']} experiments, intervals by {ds.attrs['method']}")
    headings = ("parameter", "truth", "bias", "rms (value − truth)/se", "68 % hold", "95 % hold")
    for heading in headings:
        shown.add_column(heading)
    for name in ds["parameter"].values.tolist():
        one = ds.sel(parameter=name)
        shares = zip(one["coverage"].values, ds["coverage_se"].values, strict=True)
        shown.add_row(
            str(name),
            f"{float(one['truth']):.4g}",
            f"{float(one['bias']):.2g} ± {float(one['bias_se']):.1g}",
            f"{float(one['pull_rms']):.2f}",
            *(f"{share:.2f} ± {error:.2f}" for share, error in shares),
        )
    return shown
