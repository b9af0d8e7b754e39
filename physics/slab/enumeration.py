"""The truth of a small slab: every arrangement of its atoms, weighed by Boltzmann."""

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.slab import reference
from latticescape.physics.slab.lattice import Slab
from latticescape.physics.slab.model import FEATURES, GAS_CONSTANT, SegregationSlab
from latticescape.physics.slab.tables import ARRANGEMENTS, tables_of

MOST_ARRANGEMENTS = 2**22


def expect(lattice: Slab, model: SegregationSlab) -> dict[str, npt.NDArray[np.float64]]:
    """Exact averages over all arrangements of a small slab.

    Parameters
    ----------
    lattice
        So small that there are at most four million arrangements.
    model
        All its parameters.

    Returns
    -------
    dict
        ``energy`` and ``heat_capacity`` per A-site, ``ca_fraction`` (layers,), ``histogram``
        (2, 6): mean number of hollows without and with oxygen of every arrangement.

    Raises
    ------
    RequestError
        If there are more arrangements, or a parameter is missing.

    Examples
    --------
    >>> from latticescape import slab
    >>> model = SegregationSlab(w_CL=0.0, w_LL=0.0, w_LO=0.0, x=0.5, coverage=0.5)
    >>> expect(slab(2, 2), model)["ca_fraction"]
    array([0.5, 0.5])
    """
    fixed = model.fixed(())
    points = {name: np.array([value]) for name, value in fixed.items()}
    atoms = model.atoms(points, lattice)[0]
    number = comb(lattice.sites, int(atoms[0])) * comb(lattice.hollows, int(atoms[1]))
    if number > MOST_ARRANGEMENTS:
        raise RequestError(
            "the slab is too large to visit every arrangement",
            came=f"{number} arrangements",
            allowed=f"at most {MOST_ARRANGEMENTS}",
            hint="slab(2, 3)",
        )
    features, classes, calcium = _measured(lattice, int(fixed["bulk_pairs"]), atoms)
    energy = features @ model.coefficients(points, FEATURES)[0]
    width = GAS_CONSTANT * fixed["T"]
    weight = np.exp(-(energy - energy.min()) / width)
    weight /= weight.sum()
    mean = float(weight @ energy)
    return {
        "energy": np.asarray(mean / lattice.sites),
        "heat_capacity": np.asarray(weight @ (energy - mean) ** 2 / (lattice.sites * width**2)),
        "ca_fraction": weight @ calcium / lattice.hollows,
        "histogram": (weight @ classes).reshape(2, ARRANGEMENTS),
    }


def _measured(lattice: Slab, bulk_pairs: int, atoms: npt.NDArray[np.int64]) -> list[np.ndarray]:
    """Features, classes and Ca by layer of every arrangement."""
    tables, rows = tables_of(lattice, bulk_pairs), []
    for bits in _arrangements(lattice, *map(int, atoms)):
        row = [np.empty(n, np.int64) for n in (3, 2 * ARRANGEMENTS, lattice.layers)]
        reference.measure(bits, tables, *row)
        rows.append(row)
    return [np.array(column) for column in zip(*rows, strict=True)]


def _arrangements(lattice: Slab, calcium: int, oxygen: int) -> Iterator[npt.NDArray[np.uint8]]:
    for cations in combinations(range(lattice.sites), calcium):
        for adatoms in combinations(range(lattice.hollows), oxygen):
            bits = np.zeros(lattice.sites + lattice.hollows, np.uint8)
            bits[list(cations)] = 1
            bits[lattice.sites + np.array(adatoms, int)] = 1
            yield bits
