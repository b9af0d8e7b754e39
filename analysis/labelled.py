"""Variables of a Dataset with their long names and units."""

from collections.abc import Mapping
from typing import Any

Column = tuple[str | tuple[str, ...], Any, str, str]


def labelled_variables(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Give variables their ``long_name`` and ``units`` attributes.

    Parameters
    ----------
    columns
        By the variable's name: dims, values, long name and units.

    Returns
    -------
    dict
        Variables as ``xarray.Dataset`` takes them.

    Examples
    --------
    >>> labelled_variables({"row": ("atom", [1.5], "row of the centre", "px")})
    {'row': ('atom', [1.5], {'long_name': 'row of the centre', 'units': 'px'})}
    """
    return {
        name: (dims, values, {"long_name": long_name, "units": units})
        for name, (dims, values, long_name, units) in columns.items()
    }
