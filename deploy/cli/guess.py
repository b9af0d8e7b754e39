"""``latticescape guess``: models and their parameters from counts, and the sweep to run next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from latticescape.deploy.cli import interface as ui
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import PAIR_ANGLES
from latticescape.sweeps.store.atomic_write import atomic_write, check_parent

if TYPE_CHECKING:
    import xarray as xr

    from latticescape.analysis.inference.pseudo_likelihood.guess import Guess
    from latticescape.sweeps.spec.sweep import Sweep


def _new_spec(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        check_parent(path)
        if path.exists():
            raise RequestError(
                f"{path} already exists", allowed="a new path", hint="--out another.toml"
            )
    return path


@click.command(
    epilog=ui.example(
        "latticescape guess counts.csv",
        "latticescape guess observed.zarr --model pair_alloy --out spec.toml",
        "latticescape guess counts.csv --spec adatoms.toml --out finer.toml",
    )
)
@ui.observed_argument
@click.option(
    "--lattice",
    type=click.Choice(list(PAIR_ANGLES)),
    default="triangular",
    show_default=True,
    help="Kind of lattice of a table; a store of measure and --spec have their own.",
)
@click.option(
    "--spec",
    type=ui.PATH,
    help="A spec whose model is estimated: the axes of its grid, on its lattice and classes.",
)
@click.option("--independent", is_flag=True, help="The neighbourhoods share no atoms.")
@click.option("--model", "name", help="The model to write to --out [default: the preferred one].")
@click.option("--out", type=ui.PATH, callback=_new_spec, help="A new spec file for run.")
@ui.species_option
@ui.as_json
def guess(
    observed: tuple[Path, ...],
    lattice: str,
    spec: Path | None,
    independent: bool,
    name: str | None,
    out: Path | None,
    species: tuple[str, ...] | None,
    json_: bool,
) -> None:
    """Estimate the parameters of models from observed counts alone, without a simulation.

    OBSERVED as for latticescape landscape. The pseudo-likelihood of each model gives parameters
    with errors and the ranges that hold them; --out writes the sweep over these ranges.
    """
    from latticescape.analysis.counts.counting import observed_counts
    from latticescape.analysis.inference.pseudo_likelihood.guess import guess as guess_models
    from latticescape.deploy.proposed_sweep import is_composition, proposed_sweep

    if spec is None:
        template, models = None, None
        counts = observed_counts(observed, lattice=lattice, species=species)
    else:
        from latticescape.sweeps.spec.sweep import Sweep

        template = Sweep.from_file(spec)
        classes = _classes(template)
        counts = observed_counts(observed, classes=classes, species=species)
        free = [axis for axis in template.axes if not is_composition(axis)]
        models = {template.model.kind: (template.model, free), **_random(template)}
    found = guess_models(counts, models, independent=independent)
    known = [model for model, candidate in found.models.items() if candidate.parameters]
    if name is not None and name not in known:
        raise RequestError(
            "--model names no model with parameters",
            came=name,
            allowed=" | ".join(known),
            hint=f"--model {known[0]}" if known else None,
        )
    lines = []
    if out is not None:
        sweep = proposed_sweep(found, counts, name or found.best, template)
        made = f"# {name or found.best}, by latticescape guess from {', '.join(map(str, observed))}"
        with atomic_write(out) as draft:
            draft.write_text(f"{made}\n{sweep.to_toml()}", encoding="utf-8")
        lines.append(f"{out}: {sweep.points} points; latticescape plan {out} estimates the time")
    facts = _facts(found, counts) | ({"spec": str(out)} if out else {})
    if json_:
        ui.show(facts, json_)
        return
    console = Console()
    console.print(_guess_table(facts))
    for line in (facts["verdict"], *(f"note: {note}" for note in found.notes), *lines):
        console.print(line, highlight=False, soft_wrap=True)


def _classes(template: "Sweep") -> Any:
    """The classes that a sweep counts."""
    from latticescape.physics.kernels.lattice_kernel import LatticeKernel, species_model
    from latticescape.physics.lattices.site_classes import classes_for

    if not isinstance(template.kernel, LatticeKernel):
        raise RequestError(
            "the pseudo-likelihood needs a model on a lattice",
            came=template.kernel.name,
            allowed="Ising, alloys, and cluster expansions",
        )
    held = species_model(template.kernel.model).species(template.lattice)
    return classes_for(template.lattice, held, template.classes)


def _random(template: "Sweep") -> dict[str, Any]:
    """The random alloy, if the model keeps the composition."""
    from latticescape.deploy.proposed_sweep import is_composition

    fixed = {p.name: 0.0 for p in template.model.parameters if p.name in template.axes}
    energies = {axis: value for axis, value in fixed.items() if not is_composition(axis)}
    if template.model.move != "exchange" or "T" in energies:
        return {}
    return {"random": (template.model.with_parameters(**energies), ())}


def _facts(found: "Guess", counts: "xr.Dataset") -> dict[str, Any]:
    from latticescape.analysis.inference.estimation.fit import intervals

    models = []
    for name in map(str, found.table["model"].values):
        row = found.table.sel(model=name)
        ranges = found.ranges(name)
        parameters = {
            parameter: {
                **intervals(
                    float(row["best"].sel(parameter=parameter)),
                    float(row["best_se"].sel(parameter=parameter)),
                ),
                "range": list(ranges[parameter]),
            }
            for parameter in found.models[name].parameters
        }
        models.append(
            {
                "name": name,
                "parameters": parameters,
                "s2_total": float(row["s2_total"]),
                "bic": float(row["bic"]),
                "weight": float(row["weight"]),
            }
        )
    return {
        "models": models,
        "verdict": found.table.attrs["verdict"],
        "images": [str(image) for image in counts["image"].values],
        "n": counts["n"].values.tolist(),
        "bic_convention": found.table.attrs["bic_convention"],
        "notes": list(found.notes),
    }


def _guess_table(facts: dict[str, Any]) -> Table:
    from latticescape.analysis.plots.labels import value_text

    table = Table(box=SIMPLE_HEAD)
    for head in ("model", "parameters", "to simulate", "S²", "ΔBIC", "weight"):
        left = head in ("model", "parameters")
        table.add_column(head, justify="left" if left else "right", no_wrap=True)
    least = min(model["bic"] for model in facts["models"])
    for model in facts["models"]:
        rows = model["parameters"].items()
        table.add_row(
            model["name"],
            "\n".join(f"{name} = {value_text(row['value'], row['se'])}" for name, row in rows),
            "\n".join(f"{row['range'][0]:g} … {row['range'][1]:g}" for _, row in rows),
            f"{model['s2_total']:.4f}",
            # Of the standard convention, as in the verdict.
            f"{2 * (model['bic'] - least):.1f}",
            f"{model['weight']:.3f}",
        )
    return table
