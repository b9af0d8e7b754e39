"""The lecture's table from direct simulation: ``python -m benchmarks lecture-table``.

Four models of the four images of Mo(1-x)Re(x)S2, 48×48 sites at the measured compositions, T = 1,
raw counts, each beside the published figure.
"""

import time
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from latticescape.analysis import bayes_factors, compare, leave_one_out, observed_counts
from latticescape.analysis.inference.comparison.models import Model
from latticescape.deploy.examples import example
from latticescape.physics import (
    PairAlloy,
    Schedule,
    ThreeBodyAlloy,
    configurations,
    sample,
    triangular,
)
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.models.model import Model as LatticeModel

SIZE = 48
SCHEDULE = Schedule(300, 150, 10)
SEED = 48

Axes = Mapping[str, npt.NDArray[np.float64]]

# Around the minima, in steps of less than half an error.
PAIR: Axes = {"w1": np.linspace(-0.20, 0.02, 23)}
PAIR_NNN: Axes = {"w1": np.linspace(-0.22, 0.02, 13), "w2": np.linspace(-0.20, 0.08, 15)}
THREE_BODY: Axes = {"w1": np.linspace(-0.50, -0.02, 17), "w2": np.linspace(-0.23, 0.05, 15)}


def simulated(
    model: LatticeModel,
    x: npt.NDArray[np.float64],
    axes: Axes,
    *,
    size: int = SIZE,
    schedule: Schedule = SCHEDULE,
    seed: int = SEED,
) -> xr.Dataset:
    """Histograms over composition and parameters, as a sweep gives them."""
    every = {"x": x, **axes}
    grid = np.meshgrid(*every.values(), indexing="ij")
    classes = configurations("triangular")
    points = {name: values.ravel() for name, values in zip(every, grid, strict=True)}
    seeds = np.random.default_rng(seed).integers(0, 2**64, (grid[0].size, 4), np.uint64)
    sums = sample(model, triangular(size), points, schedule, seeds)
    return xr.Dataset(
        {
            "histogram_replica": (
                (*every, "replica", "configuration"),
                sums.histogram.reshape(*grid[0].shape, REPLICAS, len(classes)),
            )
        },
        coords={**every, "label": ("configuration", np.array(classes.labels))},
        attrs={"lattice": "triangular"},
    )


def models(observed: xr.Dataset, schedule: Schedule, size: int, every: int) -> dict[str, Model]:
    """The four models; of the axes every so manieth point."""
    x = observed["composition"].to_numpy()
    grids = {
        "pair": (PairAlloy(), PAIR),
        "pair_nnn": (PairAlloy(), PAIR_NNN),
        "three_body": (ThreeBodyAlloy(), THREE_BODY),
    }
    found: dict[str, Model] = {"random": "random"}
    for number, (name, (model, axes)) in enumerate(grids.items()):
        coarse = {axis: values[::every] for axis, values in axes.items()}
        found[name] = simulated(model, x, coarse, size=size, schedule=schedule, seed=SEED + number)
    return found


def report(
    schedule: Schedule = SCHEDULE, *, size: int = SIZE, every: int = 1, draws: int = 4999
) -> str:
    """The table as text, by model; published figures in brackets."""
    begin = time.perf_counter()
    observed = observed_counts(example("mores2_counts.csv"))
    published = pd.read_csv(example("mores2_published.csv"), comment="#").set_index("image")
    every_model = models(observed, schedule, size, every)
    simulating = time.perf_counter() - begin
    by_chi2 = compare(every_model, observed, p_value="chi2")
    drawn = compare(every_model, observed, p_value="bootstrap", draws=draws)
    standard = compare(every_model, observed, p_value="chi2", convention="standard")
    factors, left_out = bayes_factors(every_model, observed), leave_one_out(every_model, observed)
    lines = []
    for model in by_chi2["model"].values:
        row, boot = by_chi2.sel(model=model), drawn.sel(model=model)
        lines += [f"{model}{_best(row)}", *_rows(str(model), row, boot, published)]
        theirs = published[f"bic_{model}"].dropna().item()
        lines.append(
            f"  BIC {float(row.bic):.2f} [{theirs}], standard "
            f"{float(standard.sel(model=model).bic):.2f}, weight {float(row.weight):.3f}; ln B "
            f"{float(factors.sel(model=model).ln_bayes_factor):.2f} ± "
            f"{float(factors.sel(model=model).ln_evidence_se):.2f}, prior "
            f"{factors.sel(model=model).prior.item()}; S² of the image left out "
            f"{float(left_out.sel(model=model).s2_total):.4f}"
        )
    pair, three = (by_chi2.sel(model=name) for name in ("pair", "three_body"))
    gain = float(pair.s2_total - three.s2_total)
    error = float(np.hypot(pair.s2_total_se, three.s2_total_se))
    lines.append(f"S²(pair) - S²(three-body) = {gain:.5f} ± {error:.5f}")
    whole = time.perf_counter() - begin
    return "\n".join([*lines, f"{simulating:.0f} s simulated, {whole:.0f} s in all"])


def _best(row: xr.Dataset) -> str:
    known = row.isel(parameter=np.isfinite(row["best"].to_numpy()))
    pairs = zip(known.parameter.values, known.best.values, known.best_se.values, strict=True)
    return "".join(f", {name} = {value:.3f} ± {error:.3f}" for name, value, error in pairs)


def _rows(model: str, row: xr.Dataset, boot: xr.Dataset, published: pd.DataFrame) -> list[str]:
    lines = []
    for image in [*row["image"].values, "total"]:
        s2, error, p, p_drawn = (
            [float(value) for value in (row.s2_total, row.s2_total_se, row.p_value_total)]
            + [float(boot.p_value_total)]
            if image == "total"
            else [float(row[name].sel(image=image)) for name in ("s2", "s2_se", "p_value")]
            + [float(boot.p_value.sel(image=image))]
        )
        theirs = published.loc[str(image)]
        lines.append(
            f"  {image!s:6} S² {s2:.5f} ± {error:.5f} [{theirs[f's2_{model}']:.4f}]"
            f"  χ² {p:.4f} [{theirs[f'p_{model}']:.4f}]  bootstrap {p_drawn:.4f}"
        )
    return lines
