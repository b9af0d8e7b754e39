"""The verbs ``compare`` and ``sample-size``."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from latticescape.deploy.cli import interface as ui
from latticescape.deploy.cli.fit import COLUMNS
from latticescape.deploy.derived import finite
from latticescape.deploy.sources import (
    check_lattice,
    is_slab,
    slabs_among,
    slabs_to_compare,
    species_of_spec,
)
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.object_store import is_url
from latticescape.sweeps.store.store import open_sweep

RANDOM = "random"

model_option = click.option(
    "--model", "stores", multiple=True, metavar="NAME=STORE", help="A sweep's store; repeatable."
)
at_option = ui.number_option(
    "--at",
    "NAME.AXIS=VALUE",
    "pair.w2=0",
    help="Fix an axis of a model, such as pair.w2=0; repeatable.",
)
random_option = click.option("--random", "with_random", is_flag=True, help="The random alloy too.")


def _fractions(_: click.Context, __: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(
            "--fraction cannot be read",
            came=text,
            allowed="a number, or one per image",
            hint="--fraction 0.5, or 0.3,0.7 for two images",
        ) from None
    return numbers if len(numbers) > 1 else numbers[0]


fraction_option = click.option(
    "--fraction",
    metavar="F[,F…]",
    callback=_fractions,
    help="Effective fraction of independent neighbourhoods, of all images or of each.",
)


@click.command(
    name="compare",
    epilog=ui.example(
        "latticescape compare observed.zarr --model pair=runs/pair.zarr --random",
        "latticescape compare counts.csv --model pair=runs/nnn.zarr --at pair.w2=0 "
        "--model nnn=runs/nnn.zarr --p-value chi2",
    ),
)
@ui.observed_argument
@model_option
@at_option
@random_option
@click.option(
    "--p-value",
    "p_value",
    type=click.Choice(["simulation", "bootstrap", "chi2", "shuffle"]),
    help="simulation draws configurations and cuts them like the images, bootstrap draws "
    "independent neighbourhoods; chi2 is the published method; shuffle needs images whose sites "
    "are known [default: simulation, or bootstrap where nothing can be drawn; of a slab, chi2].",
)
@click.option(
    "--bic",
    "convention",
    type=click.Choice(["lecture", "standard"]),
    default="lecture",
    show_default=True,
    help="lecture: 2 N S² + (k/2) ln N, half the standard.",
)
@click.option(
    "--draws", type=ui.POSITIVE, default=999, show_default=True, help="Number of images drawn."
)
@click.option("--seed", type=ui.SEED, default=1, show_default=True, help="Seed of the draws.")
@fraction_option
@ui.species_option
@ui.as_json
def compare(
    observed: tuple[Path, ...],
    stores: tuple[str, ...],
    at: list[tuple[str, float]],
    with_random: bool,
    p_value: Any,
    fraction: Any,
    species: tuple[str, ...] | None,
    json_: bool,
    **options: Any,
) -> None:
    """Compare models, each at its best parameters. The BIC ranks them.

    S², p-values, Bayes factors and predictions of images left out stand next to it; where they
    prefer another model, a sentence says why.

    OBSERVED as for latticescape landscape; slabs are compared by a sources.toml. With two or more
    images, or sources, each is also predicted from the others.
    """
    from latticescape.analysis.inference.comparison.comparison import compare as compare_models
    from latticescape.analysis.inference.comparison.evidence import bayes_factors, leave_one_out
    from latticescape.analysis.inference.comparison.models import landscapes_of
    from latticescape.analysis.inference.comparison.verdict import criterion_of, explanations

    models = _models(stores, at, with_random)
    sources = slabs_to_compare(models, observed)
    counts = None
    if sources is None:
        counts = _counts(observed, models, species)
    else:
        if p_value not in (None, "chi2"):
            raise RequestError(
                "a slab has only p-values of χ²", came=f"--p-value {p_value}", hint="--p-value chi2"
            )
        models = sources.landscapes(models)
    p_value = p_value or (None if sources is None else "chi2")
    landscapes = landscapes_of(models, counts)
    # The random alloy stays a name, because only a name can be tested by shuffling species.
    tested = landscapes | {name: model for name, model in models.items() if isinstance(model, str)}
    sweeps = {name: model for name, model in models.items() if not isinstance(model, str)}
    table = compare_models(
        tested, counts, p_value=p_value, fraction=fraction, sweeps=sweeps, **options
    )
    factors = bayes_factors(landscapes, fraction=fraction)
    several = table.sizes["image"] > 1
    left_out = leave_one_out(landscapes, fraction=fraction) if several else None
    ranking = table["model"].values[np.argsort(criterion_of(table), kind="stable")]
    reasons = list(explanations(table, factors, left_out))
    notes = [] if sources is None else sources.notes
    if json_:
        facts = _facts(table, factors, left_out)
        facts |= {"ranking": ranking.tolist(), "explanations": reasons}
        ui.show(facts | ({"notes": notes} if sources else {}), json_)
        return
    console = Console()
    part = "image" if sources is None else "source"
    table, factors = table.sel(model=ranking), factors.sel(model=ranking)
    if left_out is not None:
        left_out = left_out.sel(model=ranking)
    console.print(_comparison_table(table, factors, left_out, part))
    rows = [table.sel(model=model) for model in table["model"].values]
    ends = {row["model"].item(): row["border"].item() for row in rows}
    missing = {row["model"].item(): int(row["points_missing"]) for row in rows}
    warnings = [f"{m}: the minimum is at the grid's end; {end}" for m, end in ends.items() if end]
    warnings += [f"{m}: {n} points are not computed yet" for m, n in missing.items() if n]
    for line in (table.attrs["verdict"], *reasons, *warnings, *notes):
        console.print(line, highlight=False)


@click.command(
    name="sample-size",
    epilog=ui.example(
        "latticescape sample-size observed.zarr --model pair=runs/pair.zarr --error w1=0.01",
        "latticescape sample-size observed.zarr --model pair=runs/pair.zarr --random --power 0.9",
    ),
)
@ui.observed_argument
@model_option
@at_option
@random_option
@ui.number_option(
    "--error", "PARAMETER=ERROR", "w1=0.01", help="Wanted error of a parameter; repeatable."
)
@click.option(
    "--power", type=float, default=0.9, show_default=True, help="Power to distinguish two models."
)
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Level of that test.")
@click.option("--draws", type=int, default=0, help="Simulate the power with this many draws.")
@click.option("--seed", type=ui.SEED, default=1, show_default=True, help="Seed of the draws.")
@fraction_option
@ui.species_option
@ui.as_json
def sample_size(
    observed: tuple[Path, ...],
    stores: tuple[str, ...],
    at: list[tuple[str, float]],
    with_random: bool,
    error: list[tuple[str, float]],
    species: tuple[str, ...] | None,
    json_: bool,
    **options: Any,
) -> None:
    """Estimate how many atoms an error, or the decision between two models, needs.

    Pass one model and the wanted errors of its parameters, or two models to distinguish. OBSERVED,
    as for latticescape landscape, sets the best point and the compositions.
    """
    from latticescape.analysis.inference.sample_size import sample_size

    models = _models(stores, at, with_random)
    names = list(models)
    if len(names) != (1 if error else 2):
        raise RequestError(
            "sample-size needs the wanted error of one model, or two models to distinguish",
            came=", ".join(names),
            allowed="one --model with --error, or two models",
            hint="--model pair=runs/pair.zarr --error w1=0.01",
        )
    slabs = slabs_among(models)
    if slabs:
        raise RequestError(
            "sample-size needs images, and a slab has none",
            came=", ".join(slabs),
            hint="latticescape fit runs/lcmo.zarr sources.toml",
        )
    size = sample_size(
        models[names[0]],
        _counts(observed, models, species),
        errors=dict(error) or None,
        against=None if error else models[names[1]],
        **options,
    )
    facts = {
        "model": names[0],
        "against": names[1] if len(names) > 1 else None,
        **asdict(size),
        "power": size.power[0],
        "power_se": size.power[1],
    }
    shown = facts if json_ else {k: v for k, v in finite(facts).items() if v not in (None, {})}
    ui.show(shown, json_)


def _models(
    stores: Sequence[str], at: Sequence[tuple[str, float]], with_random: bool
) -> dict[str, Any]:
    """The sweeps by name, cut at fixed values of axes, and the random alloy last."""
    models: dict[str, Any] = {}
    for text in stores:
        name, equals, store = text.partition("=")
        if not (name and equals and store) or name in models or name == RANDOM:
            raise RequestError(
                "--model cannot be read",
                came=text,
                allowed=f"NAME=STORE, all different, not {RANDOM}",
                hint="--model pair=runs/pair.zarr",
            )
        models[name] = open_sweep(store if is_url(store) else Path(store))
        check_lattice(models[name], store)
    for place, value in at:
        name, _, axis = place.partition(".")
        model = models.get(name)
        # x is no axis to fix: each image is compared with the simulation of its own x. A slab has
        # one composition.
        free = "x" if model is not None and not is_slab(model) else None
        axes = [] if model is None else [f"{name}.{d}" for d in model["done"].dims if d != free]
        if model is None or place not in axes:
            allowed = " | ".join(axes) or "NAME of --model NAME=STORE"
            raise RequestError(
                "--at names no axis of a model", came=place, allowed=allowed, hint="--at pair.w2=0"
            )
        cut = model.sel({axis: value}, method="nearest")
        if abs(float(cut[axis]) - value) > 1e-9 + abs(value) * 1e-6:
            allowed = ", ".join(f"{v:g}" for v in model[axis].to_numpy())
            raise RequestError(f"{place} has no such point", came=value, allowed=allowed)
        models[name] = cut.drop_vars(axis)
    if with_random:
        models[RANDOM] = RANDOM
    if not models:
        raise RequestError(
            "no model is named", allowed="--model or --random", hint="--model pair=runs/pair.zarr"
        )
    return models


def _counts(
    observed: Sequence[Path], models: dict[str, Any], species: Sequence[str] | None
) -> xr.Dataset:
    from latticescape.analysis.counts.classes import classes_of
    from latticescape.analysis.counts.counting import observed_counts

    sweep = next((model for model in models.values() if not isinstance(model, str)), None)
    if sweep is None:
        return observed_counts(observed, species=species)
    names = species or species_of_spec(sweep)
    return observed_counts(observed, classes=classes_of(sweep), species=names)


def _facts(
    table: xr.Dataset, factors: xr.Dataset, left_out: xr.Dataset | None
) -> dict[str, object]:
    """The table as one JSON object: a summary of each model, and lists over the models."""
    best = {
        str(model): {
            name: {c: float(row["best" if c == "value" else f"best_{c}"]) for c in COLUMNS}
            for name, _, _ in _estimates(table.sel(model=model))
            for row in [table.sel(model=model, parameter=name)]
        }
        for model in table["model"].values
    }
    models = [
        {
            "name": name,
            "parameters": best[name],
            "s2_total": float(table["s2_total"][k]),
            "p": float(table["p_value_total"][k]),
            "bic": float(table["bic"][k]),
            "weight": float(table["weight"][k]),
        }
        for k, name in enumerate(best)
    ]
    parts = {"table": table, "bayes_factors": factors, "left_out": left_out}
    lists = {
        part: {
            str(name): values.values.tolist()
            for name, values in ds.data_vars.items()
            if values.dims[:1] == ("model",) and "parameter" not in values.dims
        }
        for part, ds in parts.items()
        if ds is not None
    }
    return {
        "models": models,
        "verdict": table.attrs["verdict"],
        "images": [str(image) for image in table["image"].values],
        "n": table["n"].values.tolist(),
        "bic_convention": table.attrs["bic_convention"],
        "p_floor": table["p_value_floor"].values.tolist(),
        **lists,
        "parameters": best,
    }


def _estimates(row: xr.Dataset) -> list[tuple[str, float, float]]:
    """The fitted parameters of one model, with standard errors."""
    if "best" not in row:
        return []
    values = zip(row["parameter"].values, row["best"].values, row["best_se"].values, strict=True)
    return [(str(name), float(v), float(error)) for name, v, error in values if v == v]


def _exact_rows(table: xr.Dataset) -> dict[str, list[str]]:
    """Lines of the table by the exact likelihood, if it is known for all models."""
    if "bic_exact" not in table:
        return {}
    values = table["bic_exact"].values
    return {
        "ΔBIC, exact": [f"{value:.1f}" for value in values - values.min()],
        "weight, exact": [f"{value:.3f}" for value in table["weight_exact"].values],
    }


def _comparison_table(
    table: xr.Dataset, factors: xr.Dataset, left_out: xr.Dataset | None, part: str
) -> Table:
    """The models in columns: S² and p by image and in total, then parameters and evidence."""
    from latticescape.analysis.plots.labels import value_text

    shown = Table(title=f"S² ± Monte Carlo, p · BIC: {table.attrs['bic_convention']}")
    shown.add_column(part)
    shown.add_column("N", justify="right")
    by_model = {str(model): table.sel(model=model) for model in table["model"].values}
    for model in by_model:
        shown.add_column(model, justify="right")
    n = dict(zip(table["image"].values, table["n"].values.tolist(), strict=True))
    for image in (*n, "total"):
        cells = []
        for row in by_model.values():
            s2, error, p = figures(row, str(image))
            bound = "≤ " if p <= float(row["p_value_floor"]) * (1 + 1e-9) else ""
            cells.append(value_text(s2, error) + (f", {bound}{p:.4f}" if p == p else ""))
        shown.add_row(str(image), f"{n.get(image, sum(n.values())):g}", *cells)
    shown.add_section()
    best = [
        "\n".join(f"{name} = {value_text(value, error)}" for name, value, error in _estimates(row))
        for row in by_model.values()
    ]
    standard = 2.0 if table.attrs["bic_convention"] == "lecture" else 1.0
    rows: dict[str, list[str]] = {
        "p by": table["p_value_way"].values.tolist(),
        "parameters": [lines or "none" for lines in best],
        "BIC": [f"{value:.1f}" for value in table["bic"].values],
        "ΔBIC, standard": [f"{value:.1f}" for value in table["delta_bic"].values * standard],
        "weight": [f"{value:.3f}" for value in table["weight"].values],
        **_exact_rows(table),
        "ln B": [f"{value:.1f}" for value in factors["ln_bayes_factor"].values],
    }
    if left_out is not None:
        rows["S² left out"] = [f"{value:.4f}" for value in left_out["s2_total"].values]
    for name, cells in rows.items():
        shown.add_row(name, "", *cells)
    return shown


def figures(at: xr.Dataset, image: str) -> tuple[float, float, float]:
    """S², its Monte Carlo error, and the p-value of one image or of all."""
    if image == "total":
        return float(at.s2_total), float(at.s2_total_se), float(at.p_value_total)
    one = at.sel(image=image)
    return float(one.s2), float(one.s2_se), float(one.p_value)
