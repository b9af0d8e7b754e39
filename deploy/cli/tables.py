"""Tables as a terminal shows them."""

from collections.abc import Mapping

import pandas as pd
import xarray as xr
from rich.table import Table

from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.deploy.refinement import Round
from latticescape.deploy.synthetic_check import Rehearsal


def lecture_table(comparison: xr.Dataset, published: pd.DataFrame, model: str) -> Table:
    """One model's columns of the lecture's table, each figure beside the published one."""
    at = comparison.sel(model=model)
    parameters = f"{int(at.parameters)} parameter{'' if int(at.parameters) == 1 else 's'}"
    table = Table(title=f"{model} alloy, {parameters} fitted", title_justify="left")
    table.add_column("image")
    for head in ("N", "S² ± Monte Carlo", "published", "p (χ²)", "published"):
        table.add_column(head, justify="right")
    for row in published.to_dict("records"):
        image = str(row["image"])
        s2, error, p = _figures(at, image)
        theirs = (f"{row[f's2_{model}']:.4f}", f"{row[f'p_{model}']:.4f}")
        ours = f"{s2:.5f} ± {error:.5f}" if error else f"{s2:.5f}"
        table.add_row(image, str(row["n"]), ours, theirs[0], f"{p:.4f}", theirs[1])
    table.add_section()
    theirs_bic = published[f"bic_{model}"].dropna().item()
    table.add_row("BIC", "", f"{float(at.bic):.1f}", f"{theirs_bic:.1f}")
    return table


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
    s2, error, p = _figures(at, image)
    tested = f", {p:.4f}" if p == p else ""
    return f"{s2:.4f}" + (f" ± {error:.4f}" if error else "") + tested


def _best(at: xr.Dataset) -> str:
    if "best" not in at:
        return "none"
    triples = zip(at["parameter"].values, at["best"].values, at["best_se"].values, strict=True)
    told = [f"{name} {value:.3f} ± {error:.3f}" for name, value, error in triples if value == value]
    return "\n".join(told) or "none"


def _figures(at: xr.Dataset, image: str) -> tuple[float, float, float]:
    """S², its Monte Carlo error, and the p-value of one image or of all."""
    if image == "total":
        return float(at.s2_total), float(at.s2_total_se), float(at.p_value_total)
    one = at.sel(image=image)
    return float(one.s2), float(one.s2_se), float(one.p_value)


def estimates_table(fits: Mapping[str, Fit], published: Mapping[str, Fit]) -> Table:
    """The parameters of each model as ``fit`` estimates them, next to the published convention."""
    table = Table(title="parameters", title_justify="left")
    for head in ("model", "parameter"):
        table.add_column(head)
    table.add_column("fit", justify="right")
    table.add_column("published convention, independent counts", justify="right")
    table.add_column("note")
    for model, fit in fits.items():
        for name, (value, error) in fit.parameters.items():
            theirs = published[model].parameters[name]
            note = "at the edge of the grid: extend the axis" if name in fit.border else ""
            cells = [f"{v:.4f} ± {e:.4f}" for v, e in ((value, error), theirs)]
            table.add_row(model, name, *cells, note)
    return table


def rehearsal_line(rehearsal: Rehearsal) -> str:
    """What was found in drawn images, beside the truth."""
    return (
        f"{len(rehearsal.images)} images drawn at w1 = {rehearsal.true:.3f}, measured and fitted: "
        f"w1 = {rehearsal.fitted:.3f} ± {rehearsal.error:.3f}"
    )


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
