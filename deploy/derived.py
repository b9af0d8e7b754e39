"""Results that are derived from sweeps and images, in new stores and in JSON."""

import math
from collections.abc import Hashable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from latticescape.physics.store_contents import DERIVED

if TYPE_CHECKING:
    import xarray as xr

    from latticescape.sweeps.store.catalogue import Kind
    from latticescape.sweeps.store.location import StorePath


def finite(value: Any) -> Any:
    """Replace NaN and infinity by None, since JSON has neither."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_new(
    table: "xr.Dataset",
    out: "StorePath",
    kind: "Kind",
    axes: Iterable[Hashable],
    *,
    sweep: str = "",
    best_fit: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Write a Dataset as a new zarr store, completely or not at all.

    Parameters
    ----------
    table, out
        The Dataset, and its place.
    kind, axes
        What it is, and its dimensions that ``latticescape list`` shows.
    sweep
        The digest of the sweep that it was made from.
    best_fit
        Columns ``value`` and ``se`` of each parameter.
    """
    from latticescape.sweeps.store.location import locate
    from latticescape.sweeps.store.store import consolidate_metadata

    texts = [name for name, values in table.variables.items() if values.dtype.kind == "U"]
    # Zarr 3 specifies strings of variable length only.
    portable = table.assign({name: table[name].astype(object) for name in texts})
    columns = ("value", "se")
    fitted = {n: {c: row[c] for c in columns} for n, row in (best_fit or {}).items()}
    derived = {
        "kind": kind,
        "axes": {str(dim): table.sizes[dim] for dim in axes},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sweep": sweep,
        "best_fit": finite(fitted),
    }
    portable = portable.assign_attrs({DERIVED: derived})

    def write(place: Any) -> None:
        portable.to_zarr(place, zarr_format=3, consolidated=False)
        consolidate_metadata(place)

    locate(out).create(write)
