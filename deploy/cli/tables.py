"""Tables as a terminal shows them."""

from collections.abc import Mapping

import xarray as xr
from rich.table import Table

from latticescape.deploy.refinement import Round


def comparison_table(
    table: xr.Dataset, factors: xr.Dataset, left_out: xr.Dataset | None, part: str = "image"
) -> Table:
    """Models side by side: S² and p by image and in total, then what is said of each model."""
    shown = Table(title=f"S² ± Monte Carlo, p · BIC: {table.attrs['bic_convention']}")
    shown.add_column(part)
    shown.add_column("N", justify="right")
    models = [str(model) for model in table["model"].values]
    for model in models:
        shown.add_column(model, justify="right")
    n = dict(zip(table["image"].values, table["n"].values.tolist(), strict=True))
    for image in (*n, "total"):
        cells = [_cell(table.sel(model=model), str(image)) for model in models]
        shown.add_row(str(image), f"{n.get(image, sum(n.values())):g}", *cells)
    shown.add_section()
    rows: dict[str, list[str]] = {
        "p by": table["p_value_way"].values.tolist(),
        "parameters": [_best(table.sel(model=model)) for model in models],
        "BIC": [f"{value:.1f}" for value in table["bic"].values],
        "ΔBIC": [f"{value:.1f}" for value in table["delta_bic"].values],
        "weight": [f"{value:.3f}" for value in table["weight"].values],
        "ln B": [f"{value:.1f}" for value in factors["ln_bayes_factor"].values],
    }
    if left_out is not None:
        rows["S² left out"] = [f"{value:.4f}" for value in left_out["s2_total"].values]
    for name, cells in rows.items():
        shown.add_row(name, "", *cells)
    return shown


def _cell(at: xr.Dataset, image: str) -> str:
    s2, error, p = figures(at, image)
    tested = f", {p:.4f}" if p == p else ""
    return f"{s2:.4f}" + (f" ± {error:.4f}" if error else "") + tested


def _best(at: xr.Dataset) -> str:
    if "best" not in at:
        return "none"
    triples = zip(at["parameter"].values, at["best"].values, at["best_se"].values, strict=True)
    lines = [
        f"{name} {value:.3f} ± {error:.3f}" for name, value, error in triples if value == value
    ]
    return "\n".join(lines) or "none"


def figures(at: xr.Dataset, image: str) -> tuple[float, float, float]:
    """S², its Monte Carlo error, and the p-value of one image or of all."""
    if image == "total":
        return float(at.s2_total), float(at.s2_total_se), float(at.p_value_total)
    one = at.sel(image=image)
    return float(one.s2), float(one.s2_se), float(one.p_value)


def round_lines(found: Round) -> list[str]:
    """A round of a refinement: estimate, errors, what it took, and what comes next."""
    proposal = found.proposal
    lines = [f"{found.store}: {found.points} points, {found.updates:.3g} updates"]
    lines += [
        f"  {name} = {value:.6g} ± {proposal.errors[name]:.2g} (numerical), "
        f"± {proposal.data_errors[name]:.2g} (data)"
        for name, value in proposal.estimate.items()
    ]
    news = ", ".join(f"{len(values)} values of {name}" for name, values in proposal.axes.items())
    return [
        *lines,
        *(f"  {note}" for note in proposal.notes),
        f"  {proposal.status}" + (f": {news}" if news else ""),
    ]


def measured_facts(
    observed: xr.Dataset, atoms_of: Mapping[str, xr.Dataset]
) -> dict[str, list[object]]:
    """What was found in each image, in the order of the images."""
    named = [int((atoms["species"] >= 0).sum()) for atoms in atoms_of.values()]
    return {
        "images": [str(image) for image in observed["image"].values],
        "atoms": [*named],
        "n": observed["n"].values.tolist(),
        "composition": observed["composition"].values.tolist(),
        "lattice_constant_px": [float(a.attrs["lattice_constant"]) for a in atoms_of.values()],
        "separation": [float(a.attrs["separation"]) for a in atoms_of.values()],
    }
