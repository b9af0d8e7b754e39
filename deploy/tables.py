"""Tables as a terminal shows them."""

from collections.abc import Mapping

import pandas as pd
import xarray as xr
from rich.table import Table

from analysis import Fit


def lecture_table(comparison: xr.Dataset, published: pd.DataFrame) -> Table:
    """The lecture's table beside our own figures: N, S² and p by image and in total, and BIC."""
    table = Table(title="Statistical distance of models and images", title_justify="left")
    table.add_column("image")
    table.add_column("N", justify="right")
    for model in comparison["model"].values:
        for head in (f"S² {model}", "published", f"p {model}", "published"):
            table.add_column(head, justify="right")
    for row in published.to_dict("records"):
        table.add_row(*_lecture_row({str(k): v for k, v in row.items()}, comparison))
    table.add_section()
    bics = [
        cell
        for model in comparison["model"].values
        for cell in (
            f"{float(comparison.bic.sel(model=model)):.1f}",
            f"{published[f'bic_{model}'].dropna().item():.1f}",
            "",
            "",
        )
    ]
    table.add_row("BIC", "", *bics)
    return table


def _lecture_row(row: Mapping[str, object], comparison: xr.Dataset) -> list[str]:
    image = str(row["image"])
    cells = [image, str(row["n"])]
    for model in comparison["model"].values:
        at = comparison.sel(model=model)
        if image == "total":
            s2, p = float(at.s2_total), float(at.p_value_total)
        else:
            s2, p = float(at.s2.sel(image=image)), float(at.p_value.sel(image=image))
        cells += [f"{s2:.4f}", f"{row[f's2_{model}']:.4f}", f"{p:.4f}", f"{row[f'p_{model}']:.4f}"]
    return cells


def fit_lines(fit: Fit) -> list[str]:
    """The best parameters, a line each, with a warning where one lies at the edge of the grid."""
    lines = [f"best {name} = {v:.4f} ± {error:.4f}" for name, (v, error) in fit.parameters.items()]
    return lines + [
        f"the minimum lies at the edge of the axis {name}: extend it in [grid]"
        for name in fit.border
    ]


def facts(pairs: Mapping[str, object]) -> Table:
    """Names and values, two columns."""
    table = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        table.add_row(f"[bold]{name}[/bold]", str(value))
    return table
