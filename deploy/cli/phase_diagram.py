"""``latticescape phase-diagram``: where the order of a model changes."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np

from latticescape.deploy.cli import interface as ui
from latticescape.deploy.derived import write_new
from latticescape.physics.errors import RequestError
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import open_sweep


@click.command(
    name="phase-diagram",
    epilog=ui.example(
        "latticescape phase-diagram runs/ising16.zarr runs/ising32.zarr runs/ising64.zarr",
        "latticescape phase-diagram runs/potts.zarr --at J=1",
        "latticescape phase-diagram alloy.toml --fit fit.json --picture diagram.html "
        "--out diagram.zarr",
    ),
)
@click.argument("source", type=ui.STORE, nargs=-1, required=True, metavar="STORE... | SPEC.toml")
@ui.number_option("--at", "NAME=VALUE", "w1=-0.5", help="Fix a parameter; repeatable.")
@click.option("--fit", type=ui.PATH, help="The output of latticescape fit --json.")
@click.option(
    "--size",
    type=ui.POSITIVE,
    multiple=True,
    help="Size of a further, smaller lattice; repeatable.",
)
@click.option(
    "--draws",
    type=ui.POSITIVE,
    default=8,
    show_default=True,
    help="Number of diagrams drawn from the fit.",
)
@click.option("--seed", type=ui.SEED, default=1, show_default=True, help="Seed of the draws.")
@ui.new_store_option("the diagram")
@ui.picture_option
@ui.as_json
def phase_diagram(
    source: tuple[StorePath, ...],
    at: list[tuple[str, float]],
    fit: Path | None,
    size: tuple[int, ...],
    draws: int,
    seed: int,
    out: StorePath | None,
    picture: tuple[Path, ...],
    json_: bool,
) -> None:
    """Locate where the order of a model changes over temperature, with errors.

    STORE is a sweep with an axis T and at most one of a field, chemical potential or composition,
    best with keep = ["spins"], or several that differ in size. A SPEC is simulated in this process,
    and again with parameters drawn from the fit's uncertainty.
    """
    from latticescape.analysis.phases.diagram import phase_diagram

    if at and fit is not None:
        raise RequestError(
            "parameters come from a fit, or from --at",
            came="both",
            allowed="one of them",
            hint="--at w1=-0.5",
        )
    values: Any = dict(at) or None if fit is None else _printed_fit(fit)
    specs = [place for place in source if str(place).endswith(".toml")]
    if specs and len(source) > 1:
        raise RequestError(
            "a diagram is made of one spec, or of stores",
            came=", ".join(map(str, source)),
            allowed="one SPEC.toml, or one STORE per size",
            hint=f"latticescape phase-diagram {specs[0]} --size 16",
        )
    opened = [Sweep.from_file(str(p)) if specs else open_sweep(p) for p in source]
    sweeps: Any = opened[0] if len(opened) == 1 else opened
    diagram = phase_diagram(sweeps, at=values, sizes=size or None, draws=draws, seed=seed)
    ui.draw(lambda plots: plots.phase_diagram_map(diagram), picture)
    if out is not None:
        write_new(diagram, out, "phase diagram", diagram["boundary"].dims)
    lines = diagram[[n for n, v in diagram.data_vars.items() if v.dims == diagram.boundary.dims]]
    axis = next(map(str, lines.boundary.dims), None)
    rows: list[Any]
    if axis:
        rows = lines.to_dataframe().reset_index().to_dict("records")
    else:
        rows = [{str(name): value.item() for name, value in lines.data_vars.items()}]
    facts: dict[str, Any] = {
        n: v for n, v in diagram.attrs.items() if isinstance(v, (str, int, float))
    }
    if json_:
        facts |= {"axis": axis, "lines": rows}
    else:
        facts |= {f"{axis} = {r[axis]:g}" if axis else "boundary": _row_text(r) for r in rows}
    ui.show(facts, json_)


def _printed_fit(path: Path) -> SimpleNamespace:
    """The parameters in the output of ``latticescape fit --json``, with independent errors."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["parameters"].items()
        values = {name: (float(row["value"]), float(row["se"] or 0)) for name, row in rows}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RequestError(
            f"cannot read a fit from {path}",
            came=repr(error),
            allowed='JSON with {"parameters": {"w1": {"value": -0.5, "se": 0.1}}}',
            hint="latticescape fit … --json > fit.json",
        ) from None
    covariance = np.diag([error**2 for _, error in values.values()])
    return SimpleNamespace(parameters=values, covariance=covariance)


def _row_text(row: Mapping[Any, Any]) -> str:
    if not np.isfinite(row["boundary"]):
        return str(row["boundary_method"])
    parts = {"Monte Carlo": "se", "parameters": "parameter_se", "size": "finite_size_se"}
    errors = [
        f"± {row[f'boundary_{part}']:.2g} ({name})"
        for name, part in parts.items()
        if np.isfinite(row[f"boundary_{part}"])
    ]
    share = row.get("boundary_share", 1.0)
    support = f", in {share:.0%} of the diagrams drawn from the fit" if share < 1 else ""
    return f"T = {row['boundary']:.5g} {' '.join(errors)}, by {row['boundary_method']}{support}"
