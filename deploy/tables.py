"""Tables as a terminal shows them."""

from collections.abc import Mapping

import pandas as pd
import xarray as xr
from rich.table import Table

from analysis import Fit
from deploy.refinement import Round


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


def _figures(at: xr.Dataset, image: str) -> tuple[float, float, float]:
    """S², its Monte Carlo error, and the p-value of one image or of all."""
    if image == "total":
        return float(at.s2_total), float(at.s2_total_se), float(at.p_value_total)
    one = at.sel(image=image)
    return float(one.s2), float(one.s2_se), float(one.p_value)


def fit_lines(fit: Fit) -> list[str]:
    """The best parameters, a line each, with a warning where one lies at the edge of the grid."""
    lines = [f"best {name} = {v:.4f} ± {error:.4f}" for name, (v, error) in fit.parameters.items()]
    return lines + [
        f"the minimum lies at the edge of the axis {name}: extend it in [grid]"
        for name in fit.border
    ]


def round_lines(found: Round) -> list[str]:
    """A round of a refinement: estimate, errors, what it took, and what comes next."""
    proposal = found.proposal
    lines = [f"{found.store}: {found.points} points, {found.updates:.3g} updates"]
    lines += [
        f"  {name} = {value:.6g} ± {proposal.errors[name]:.2g} (numerical), "
        f"± {proposal.data_errors[name]:.2g} (images)"
        for name, value in proposal.estimate.items()
    ]
    news = ", ".join(f"{len(values)} values of {name}" for name, values in proposal.axes.items())
    return [
        *lines,
        *(f"  {note}" for note in proposal.notes),
        f"  {proposal.status}" + (f": {news}" if news else ""),
    ]


def facts(pairs: Mapping[str, object]) -> Table:
    """Names and values, two columns."""
    table = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        table.add_row(f"[bold]{name}[/bold]", str(value))
    return table


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
