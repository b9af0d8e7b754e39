"""The same sweep on lattices of several sizes, as every analysis of finite size takes it."""

import tomllib
from collections.abc import Iterable, Mapping

import xarray as xr

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.lattice import Lattice

Sizes = Mapping[int, xr.Dataset] | Iterable[xr.Dataset]


def lattice_of(ds: xr.Dataset) -> Lattice:
    """The lattice a sweep's Dataset is of, from its attributes.

    Examples
    --------
    >>> lattice_of(xr.Dataset(attrs={"lattice": "square", "lattice_size": 8}))
    Lattice(kind='square', size=8)
    """
    if "lattice" not in ds.attrs:
        raise RequestError(
            "the Dataset is of no lattice model",
            came=", ".join(map(str, ds.attrs)) or "no attributes",
            allowed="a sweep of a lattice model",
            hint='open_sweep("runs/ising.zarr")',
        )
    size = ds.attrs.get("lattice_size")
    if size is None and "spec" in ds.attrs:
        size = tomllib.loads(str(ds.attrs["spec"]))["lattice"]["size"]
    if size is None:
        raise RequestError(
            "the Dataset does not tell the size of its lattice",
            allowed='the attribute "spec" of a store, or "lattice_size"',
            hint="ds.assign_attrs(lattice_size=64)",
        )
    return Lattice(str(ds.attrs["lattice"]), int(size))


def by_size(sweeps: Sizes, least: int = 2) -> dict[int, xr.Dataset]:
    """Datasets by size L, ascending, checked to be of one model and one kind of lattice.

    Raises
    ------
    RequestError
        If there are fewer than ``least`` sizes, two of one size, or several kinds of lattice.
    """
    given = list(sweeps.values() if isinstance(sweeps, Mapping) else sweeps)
    named = list(sweeps) if isinstance(sweeps, Mapping) else [lattice_of(ds).size for ds in given]
    if len(set(named)) < max(least, len(named)):
        raise RequestError(
            "sizes are compared with each other",
            came=f"L = {', '.join(map(str, named))}" if named else "no Dataset",
            allowed=f"at least {least} different sizes",
            hint="sweeps that differ in lattice.size alone, such as 16, 32 and 64",
        )
    _check_alike(given)
    return {
        int(size): ds for size, ds in sorted(zip(named, given, strict=True), key=lambda p: p[0])
    }


def _check_alike(given: list[xr.Dataset]) -> None:
    for name in ("lattice", "model"):
        kinds = {str(ds.attrs.get(name)) for ds in given}
        if len(kinds) > 1:
            raise RequestError(
                f"the sweeps are of more than one {name}",
                came=", ".join(sorted(kinds)),
                allowed="one, on lattices of several sizes",
            )
