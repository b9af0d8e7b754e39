"""Arrangements of a sweep as atoms, for structure files and for other programs."""

import tomllib
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from latticescape.analysis.checks import check_has
from latticescape.physics.errors import RequestError
from latticescape.physics.extras import optional_imports
from latticescape.physics.kernels.lattice_kernel import LatticeModel, species_model
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.structures import VACANCY
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.registry import MODELS, lattice_of
from latticescape.physics.variables import unpack_species

if TYPE_CHECKING:
    from ase import Atoms


@optional_imports()
def snapshot(ds: xr.Dataset, replica: int = 0, **at: float) -> "Atoms":
    """Last arrangement of one replica at one point, as ASE ``Atoms``.

    ``ase.io.write("snapshot.cif", atoms)`` writes it to a file of any format that ASE knows.

    Parameters
    ----------
    ds
        A sweep with ``keep = ["spins"]``, as :func:`latticescape.open_sweep` returns it.
    replica
        0 to 63.
    **at
        The point: a value of every axis; the nearest value of the axis is taken.

    Returns
    -------
    Atoms
        Every atom with the array ``species`` of names. Species that are no chemical element have
        the symbol X; sites of the species ``vacancy`` are left out. Lattices in one or two
        dimensions lie in the plane z = 0.

    Raises
    ------
    RequestError
        If the sweep kept no spins, an axis is not given, or ASE is not installed.

    Examples
    --------
    >>> from latticescape import ClusterExpansion, Schedule, Sweep, Term, kagome, run
    >>> model = ClusterExpansion(["vacancy", "Au"], {"w": Term(pair=1)}, x=0.25)
    >>> sweep = Sweep(kagome(4), model, {"w": [0.2]}, Schedule(5, 2, 1), keep=["spins"])
    >>> folder = getfixture("tmp_path")
    >>> snapshot(run(sweep, folder / "au.zarr"), w=0.2).get_chemical_formula()
    'Au12'
    """
    from ase import Atoms
    from ase.data import atomic_numbers

    check_has(ds, ("spins",), "the sweep has no spins", 'keep = ["spins"] in [sweep]')
    axes = [str(d) for d in ds["done"].dims] if "done" in ds else list(at)
    numbers = [isinstance(v, int | float | np.number) and np.isfinite(v) for v in at.values()]
    whole = isinstance(replica, int | np.integer) and 0 <= replica < REPLICAS
    if set(axes) != set(at) or not all(numbers) or not whole:
        raise RequestError(
            "a snapshot is of one point and one replica",
            came=", ".join(f"{n} = {v}" for n, v in {"replica": replica, **at}.items()),
            allowed=f"a value of each of {', '.join(axes)}, and a replica from 0 to 63",
            hint=f"snapshot(ds, {', '.join(f'{axis}=…' for axis in axes)})",
        )
    point = {axis: at[axis] for axis in axes}
    if "done" in ds and not bool(ds["done"].sel(point, method="nearest")):
        raise RequestError(
            "the point is not computed",
            came=", ".join(f"{name} = {value:g}" for name, value in point.items()),
            allowed="a point with done = True",
            hint="latticescape run on the same store",
        )
    lattice, names = _lattice_and_species(ds)
    words = ds["spins"].sel(point, method="nearest")
    planes = np.atleast_2d(words.transpose("bit", "site", missing_dims="ignore").to_numpy())
    numbers = unpack_species(planes)[replica]
    basis = len(names)
    species = np.array([names[site % basis][number] for site, number in enumerate(numbers)])
    here = species != VACANCY
    dimension = lattice.geometry.dimension
    positions, cell = np.zeros((lattice.sites, 3)), np.zeros((3, 3))
    positions[:, :dimension] = lattice.positions
    spans = np.asarray(lattice.geometry.cell) * np.array(lattice.shape)[:, None]
    cell[:dimension, :dimension] = spans
    symbols = [name if name in atomic_numbers else "X" for name in species[here]]
    sides = [*lattice.periodic, *[False] * (3 - dimension)]
    atoms = Atoms(symbols, positions[here], cell=cell, pbc=sides)
    atoms.set_array("species", species[here])
    return atoms


def _lattice_and_species(ds: xr.Dataset) -> tuple[Lattice, tuple[tuple[str, ...], ...]]:
    """The lattice of a sweep, and the species of each site of its basis."""
    if "spec" not in ds.attrs:
        raise RequestError(
            "the Dataset has no spec in its attributes",
            allowed="a sweep of a lattice model",
            hint='open_sweep("runs/alloy.zarr")',
        )
    tables = tomllib.loads(str(ds.attrs["spec"]))
    lattice, table = lattice_of(tables["lattice"]), dict(tables["model"])
    model = MODELS[table.pop("kind")].of_table(table)
    if not isinstance(model, LatticeModel):
        raise RequestError(
            "a snapshot is of a lattice model",
            came=model.kind,
            allowed="Ising, alloys and cluster expansions",
        )
    return lattice, species_model(model).species(lattice)
