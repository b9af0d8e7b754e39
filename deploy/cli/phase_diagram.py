"""``latticescape phase-diagram``: where the order of a model changes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.deploy.cli.interface import (
    PATH,
    POSITIVE,
    SEED,
    STORE,
    as_json,
    draw,
    example,
    new_store_option,
    picture_option,
    show,
    write_new,
)
from latticescape.physics.errors import RequestError
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import open_sweep


@click.command(
    name="phase-diagram",
    epilog=example(
        "latticescape phase-diagram runs/ising16.zarr runs/ising32.zarr runs/ising64.zarr",
        "latticescape phase-diagram alloy.toml --fit fit.json --picture diagram.html "
        "--out diagram.zarr",
    ),
)
@click.argument("source", type=STORE, nargs=-1, required=True, metavar="STORE... | SPEC.toml")
@click.option("--fit", type=PATH, help="The output of latticescape fit --json.")
@click.option(
    "--size", type=POSITIVE, multiple=True, help="Size of a further, smaller lattice; repeatable."
)
@click.option(
    "--draws",
    type=POSITIVE,
    default=8,
    show_default=True,
    help="Number of diagrams drawn from the fit.",
)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Seed of the draws.")
@new_store_option("the diagram")
@picture_option
@as_json
def phase_diagram(
    source: tuple[StorePath, ...],
    fit: Path | None,
    size: tuple[int, ...],
    draws: int,
    seed: int,
    out: StorePath | None,
    picture: tuple[Path, ...],
    json_: bool,
) -> None:
    """Locate where the order of a model changes over (T, H) or (T, x), with errors.

    STORE is a sweep with an axis T, best with keep = ["spins"], or several that differ in size. A
    SPEC is simulated in this process, and again with parameters drawn from the fit's uncertainty.
    """
    from latticescape.analysis.phases.diagram import phase_diagram

    at = None if fit is None else _fit_of(fit)
    specs = [place for place in source if str(place).endswith(".toml")]
    if specs and len(source) > 1:
        raise RequestError(
            "a diagram is made of one spec, or of stores",
            came=", ".join(map(str, source)),
            allowed="one SPEC.toml, or one STORE per size",
            hint=f"latticescape phase-diagram {specs[0]} --size 16",
        )
    sweeps: Any = Sweep.from_file(str(specs[0])) if specs else [*map(open_sweep, source)]
    if not specs and len(sweeps) == 1:
        sweeps = sweeps[0]
    diagram = phase_diagram(sweeps, at=at, sizes=size or None, draws=draws, seed=seed)
    draw(lambda plots: plots.phase_diagram_map(diagram), picture)
    if out is not None:
        write_new(diagram, out)
    facts = _facts(diagram)
    if not json_:
        axis, lines = facts.pop("axis"), facts.pop("lines")
        for row in lines:
            facts[f"{axis} = {row[axis]:g}" if axis else "boundary"] = _row_text(row)
    show(facts, json_)


@dataclass(frozen=True)
class _Printed:
    """A fit as ``latticescape fit --json`` prints it."""

    parameters: dict[str, tuple[float, float]]
    covariance: npt.NDArray[np.float64]


def _fit_of(path: Path) -> _Printed:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        rows = facts["parameters"].items()
        values = {name: (float(row["value"]), float(row["se"] or 0)) for name, row in rows}
    except (OSError, UnicodeDecodeError, ValueError, TypeError, LookupError) as error:
        raise RequestError(
            f"cannot read a fit from {path}",
            came=getattr(error, "strerror", None) or f"{type(error).__name__}: {error}",
            allowed='JSON with {"parameters": {"w1": {"value": -0.5, "se": 0.1}}}',
            hint="latticescape fit … --json > fit.json",
        ) from None
    uncorrelated = np.diag([error**2 for _, error in values.values()])
    return _Printed(values, np.asarray(facts.get("covariance", uncorrelated), float))


def _facts(diagram: xr.Dataset) -> dict[str, Any]:
    """The table of transition lines: a row for each H or x, or one row."""
    lines = diagram[[n for n, v in diagram.data_vars.items() if v.dims == diagram.boundary.dims]]
    across = [str(dim) for dim in lines.boundary.dims]
    if across:
        table = lines.to_dataframe().reset_index().to_dict("records")
    else:
        table = [{str(name): value.item() for name, value in lines.data_vars.items()}]
    summary = {n: v for n, v in diagram.attrs.items() if isinstance(v, (str, int, float))}
    return {**summary, "axis": across[0] if across else None, "lines": table}


def _row_text(row: dict[str, Any]) -> str:
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
