"""The verbs ``compare`` and ``sample-size``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import xarray as xr
from rich.console import Console

from latticescape.analysis.inference.estimation.fit import intervals
from latticescape.deploy.cli.options import (
    POSITIVE,
    as_json,
    example,
    observed_argument,
    species_option,
)
from latticescape.deploy.cli.outputs import finite, show
from latticescape.deploy.sources import SlabSources, is_slab, slabs_among, slabs_to_compare
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.object_store import is_url
from latticescape.sweeps.store.store import open_sweep

RANDOM = "random"

model_option = click.option(
    "--model", "stores", multiple=True, metavar="NAME=STORE", help="A sweep's store; repeatable."
)
at_option = click.option(
    "--at",
    multiple=True,
    metavar="NAME.AXIS=VALUE",
    help="Fix an axis of a model, such as pair.w2=0; repeatable.",
)
random_option = click.option("--random", "with_random", is_flag=True, help="The random alloy too.")
fraction_option = click.option(
    "--fraction",
    metavar="F[,F…]",
    help="Share of neighbourhoods that tell something new, of all images or of each.",
)


@click.command(
    name="compare",
    epilog=example(
        "latticescape compare observed.zarr --model pair=runs/pair.zarr --random",
        "latticescape compare counts.csv --model pair=runs/nnn.zarr --at pair.w2=0 "
        "--model nnn=runs/nnn.zarr --p-value chi2",
    ),
)
@observed_argument
@model_option
@at_option
@random_option
@click.option(
    "--p-value",
    "way",
    type=click.Choice(["bootstrap", "chi2", "shuffle"]),
    help="chi2 is the published one; shuffle needs images whose sites are known "
    "[default: bootstrap; of a slab, chi2].",
)
@click.option(
    "--bic",
    "convention",
    type=click.Choice(["lecture", "standard"]),
    default="lecture",
    show_default=True,
    help="lecture: 2 N S² + (k/2) ln N, half the standard.",
)
@click.option("--draws", type=POSITIVE, default=999, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the draws.")
@fraction_option
@species_option
@as_json
def compare(
    observed: tuple[Path, ...],
    stores: tuple[str, ...],
    at: tuple[str, ...],
    with_random: bool,
    way: Any,
    convention: Any,
    draws: int,
    seed: int,
    fraction: str | None,
    species: str | None,
    json_: bool,
) -> None:
    """Which model: S², p-value, BIC and Bayes factor of several, each at its best.

    OBSERVED as for latticescape landscape; slabs are compared by a sources.toml. With two images,
    or sources, or more, each is also predicted from the others.
    """
    from latticescape.analysis.inference.comparison.comparison import compare as compare_models
    from latticescape.analysis.inference.comparison.cross_validation import leave_one_out
    from latticescape.analysis.inference.comparison.evidence import bayes_factors
    from latticescape.deploy.cli.tables import comparison_table

    models = _models(stores, at, with_random)
    sources = slabs_to_compare(models, observed)
    way = _way(way, sources)
    counts = None
    if sources is None:
        counts = _counts(observed, models, species)
    else:
        models = sources.landscapes(models)
    share = _numbers(fraction)
    table = compare_models(
        models,
        counts,
        convention=convention,
        p_value=way,
        draws=draws,
        seed=seed,
        fraction=share,
    )
    factors = bayes_factors(models, counts, fraction=share)
    left_out = leave_one_out(models, counts, fraction=share) if table.sizes["image"] > 1 else None
    notes = [] if sources is None else sources.notes
    if json_:
        show(_facts(table, factors, left_out) | ({"notes": notes} if sources else {}), json_)
        return
    console = Console()
    part = "image" if sources is None else "source"
    console.print(comparison_table(table, factors, left_out, part))
    for line in (table.attrs["verdict"], *_warnings(table), *notes):
        console.print(line, highlight=False)


@click.command(
    name="sample-size",
    epilog=example(
        "latticescape sample-size observed.zarr --model pair=runs/pair.zarr --error w1=0.01",
        "latticescape sample-size observed.zarr --model pair=runs/pair.zarr --random --power 0.9",
    ),
)
@observed_argument
@model_option
@at_option
@random_option
@click.option("--error", "errors", multiple=True, metavar="PARAMETER=ERROR", help="Wanted.")
@click.option("--power", type=float, default=0.9, show_default=True, help="To tell two apart.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Level of that test.")
@click.option("--draws", type=int, default=0, help="Simulate the power with so many.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the draws.")
@fraction_option
@species_option
@as_json
def sample_size(
    observed: tuple[Path, ...],
    stores: tuple[str, ...],
    at: tuple[str, ...],
    with_random: bool,
    errors: tuple[str, ...],
    power: float,
    alpha: float,
    draws: int,
    seed: int,
    fraction: str | None,
    species: str | None,
    json_: bool,
) -> None:
    """How much data: for errors of one model's parameters, or to tell the first of two models.

    OBSERVED, as for latticescape landscape, sets the best point and the compositions.
    """
    from latticescape.analysis.inference.sample_size import sample_size

    models = _models(stores, at, with_random)
    names = list(models)
    if len(names) != (1 if errors else 2):
        raise RequestError(
            "data is needed for the errors of one model, or to tell one from another",
            came=", ".join(names),
            allowed="one --model with --error, or two models",
            hint="--model pair=runs/pair.zarr --error w1=0.01",
        )
    _check_images(models)
    counts = _counts(observed, models, species)
    found = sample_size(
        models[names[0]],
        counts,
        errors=dict(_pair(text, "--error", "w1=0.01") for text in errors) if errors else None,
        against=None if errors else models[names[1]],
        power=power,
        alpha=alpha,
        fraction=_numbers(fraction),
        draws=draws,
        seed=seed,
    )
    facts = {
        "model": names[0],
        "against": names[1] if len(names) > 1 else None,
        "neighborhoods": found.neighborhoods,
        "effective": found.effective,
        "images": found.images,
        "there": found.there,
        "by_parameter": dict(found.by_parameter),
        "s2": found.s2,
        "power": found.power[0],
        "power_se": found.power[1],
    }
    asked = facts if json_ else {k: v for k, v in finite(facts).items() if v not in (None, {})}
    show(asked, json_)


def _way(way: str | None, sources: SlabSources | None) -> Any:
    """To p-values: that which was asked for, or the default."""
    if sources is None:
        return way or "bootstrap"
    if way not in (None, "chi2"):
        raise RequestError(
            "a slab's sources have no p-values but those of χ²",
            came=f"--p-value {way}",
            allowed="chi2: a profile is no counts that could be drawn anew",
            hint="--p-value chi2",
        )
    return "chi2"


def _check_images(models: Mapping[str, Any]) -> None:
    slabs = slabs_among(models)
    if slabs:
        raise RequestError(
            "sample-size works with images, and a slab is observed by sources",
            came=", ".join(slabs),
            allowed="sweeps on other lattices",
            hint="latticescape fit runs/lcmo.zarr sources.toml, for the present errors",
        )


def _models(stores: Sequence[str], at: Sequence[str], with_random: bool) -> dict[str, Any]:
    """Sweeps by name, at the places asked for, and the random alloy last."""
    models: dict[str, Any] = {}
    for text in stores:
        name, equals, store = text.partition("=")
        if not (name and equals and store) or name in models or name == RANDOM:
            raise RequestError(
                "--model cannot be read",
                came=text,
                allowed=f"NAME=STORE, each name once, and not {RANDOM}",
                hint="--model pair=runs/pair.zarr",
            )
        models[name] = _lattice_sweep(store)
    for text in at:
        place, value = _pair(text, "--at", "pair.w2=0")
        name, _, axis = place.partition(".")
        models[name] = _fixed(models.get(name), name, axis, value)
    if with_random:
        models[RANDOM] = RANDOM
    if not models:
        raise RequestError(
            "no model is named", allowed="--model or --random", hint="--model pair=runs/pair.zarr"
        )
    return models


def _lattice_sweep(store: str) -> xr.Dataset:
    simulated: xr.Dataset = open_sweep(store if is_url(store) else Path(store))
    if "lattice" not in simulated.attrs:
        raise RequestError(
            f"the store {store} holds no configurations of a lattice",
            came=f"a sweep of {simulated.attrs.get('function')}",
            allowed="a sweep of a lattice model",
        )
    return simulated


def _fixed(model: xr.Dataset | None, name: str, axis: str, value: float) -> xr.Dataset:
    # Every image is compared with the simulation of its own x; a slab's sources are of one.
    left = "x" if model is not None and not is_slab(model) else None
    axes = [] if model is None else [d for d in model["done"].dims if d != left]
    if model is None or axis not in axes:
        raise RequestError(
            "--at names no axis of a model",
            came=f"{name}.{axis}",
            allowed=", ".join(f"{name}.{a}" for a in axes) or "names given by --model",
            hint="--at pair.w2=0",
        )
    there: xr.Dataset = model.sel({axis: value}, method="nearest")
    if abs(float(there[axis]) - value) > 1e-9 + abs(value) * 1e-6:
        raise RequestError(
            f"the axis {axis} of {name} has no such point",
            came=value,
            allowed=", ".join(f"{v:g}" for v in model[axis].to_numpy()),
        )
    return there.drop_vars(axis)


def _pair(text: str, option: str, hint: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise RequestError(
            f"{option} cannot be read", came=text, allowed="NAME=NUMBER", hint=f"{option} {hint}"
        ) from None


def _numbers(fraction: str | None) -> list[float] | float | None:
    if fraction is None:
        return None
    try:
        numbers = [float(part) for part in fraction.split(",")]
    except ValueError:
        raise RequestError(
            "--fraction cannot be read",
            came=fraction,
            allowed="a number, or one an image",
            hint="--fraction 0.32,0.78,0.69,0.53",
        ) from None
    return numbers if len(numbers) > 1 else numbers[0]


def _counts(observed: tuple[Path, ...], models: dict[str, Any], species: str | None) -> xr.Dataset:
    from latticescape.analysis.counts.counting import observed_counts

    sweeps = [model for model in models.values() if not isinstance(model, str)]
    lattice = str(sweeps[0].attrs["lattice"]) if sweeps else "triangular"
    names = tuple(species.split(",")) if species else None
    return observed_counts(observed, lattice=lattice, species=names)


def _facts(
    table: xr.Dataset, factors: xr.Dataset, left_out: xr.Dataset | None
) -> dict[str, object]:
    """The table as one JSON object: the models, and in detail a list over the models by name."""
    best = {str(model): _estimates(table.sel(model=model)) for model in table["model"].values}
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
            for name, values in found.data_vars.items()
            if values.dims[:1] == ("model",) and "parameter" not in values.dims
        }
        for part, found in parts.items()
        if found is not None
    }
    return {
        "models": models,
        "verdict": table.attrs["verdict"],
        "images": [str(image) for image in table["image"].values],
        "n": table["n"].values.tolist(),
        "bic_convention": table.attrs["bic_convention"],
        **lists,
        "parameters": best,
    }


def _estimates(row: xr.Dataset) -> dict[str, dict[str, float]]:
    """The parameters of one model, as ``latticescape fit --json`` prints them."""
    if "best" not in row:
        return {}
    values = zip(row["parameter"].values, row["best"].values, row["best_se"].values, strict=True)
    return {
        str(name): intervals(float(value), float(error))
        for name, value, error in values
        if value == value
    }


def _warnings(table: xr.Dataset) -> list[str]:
    lines = []
    for model in table["model"].values:
        row = table.sel(model=model)
        if str(row["border"].item()):
            lines.append(f"{model}: the minimum is at the grid's end; {row['border'].item()}")
        if int(row["points_missing"]):
            lines.append(f"{model}: {int(row['points_missing'])} points are not computed yet")
    return lines
