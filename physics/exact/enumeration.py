"""Exact enumeration of every arrangement of a small lattice, to test kernels.

Shipped for tests and documentation. k_B = 1; energies in units of J, or of k_B·T0 for alloys.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError, checked_integer
from latticescape.physics.kernels.streams import mix64
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import Model, Orbit, features_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOST_SITES = 27
FIRST_SLOTS = 2**10


@dataclass(frozen=True, eq=False)
class States:
    """The density of states of a model on a small lattice.

    A row stands for all arrangements with the same features and number of species-1 atoms; rows
    are sorted by these numbers.

    Attributes
    ----------
    lattice, model
        The enumerated lattice and model.
    features
        Names of the features, in the order of ``features_of(orbits)``.
    values
        Extensive features, (rows, features) int64.
    n_species1
        Number of species-1 atoms (spins up), (rows,) int64.
    degeneracy
        Number of arrangements, (rows,) int64.
    class_counts
        Configurations, summed over arrangements and sites, (rows, classes) int64.
    """

    lattice: Lattice
    model: Model
    features: tuple[str, ...]
    values: Integers
    n_species1: Integers
    degeneracy: Integers
    class_counts: Integers

    def expect(self, **parameters: float) -> dict[str, float | Floats]:
        """Thermal averages at one point: weights exp(−E/T), E = couplings · features.

        Where the model conserves the composition, only arrangements of that composition count.

        Parameters
        ----------
        parameters
            The parameters that the model does not fix; defaults are filled in.

        Returns
        -------
        dict
            Per site, with m = (2·n_species1 − N)/N and e = E/N: ``energy``, ``magnetization``,
            ``magnetization_abs``, ``susceptibility`` N(⟨m²⟩−⟨m⟩²)/T, ``susceptibility_abs`` (with
            |m|), ``heat_capacity`` N(⟨e²⟩−⟨e⟩²)/T², ``binder_cumulant`` 1−⟨m⁴⟩/(3⟨m²⟩²) (NaN where
            ⟨m²⟩ is 0); ``features``, means of the extensive features, (features,); and
            ``configurations``, class probabilities, (classes,).

        Raises
        ------
        RequestError
            If a parameter is missing, unknown, set twice or out of bounds, or needs a feature or a
            composition that was not enumerated.

        Examples
        --------
        >>> from latticescape import Ising, square
        >>> truth = enumerate_states(square(4), Ising()).expect(T=2.0)
        >>> round(truth["energy"], 6), round(truth["magnetization_abs"], 6)
        (-1.75538, 0.918943)
        """
        point = self._point(parameters)
        arrays = {name: np.array([value]) for name, value in point.items()}
        energies = self.values @ self.model.coefficients(arrays, self.features)[0]
        log_weights = np.log(self.degeneracy) - energies / point["T"]
        composition = self.model.n_species1(arrays, self.lattice)
        if composition is not None:
            rows = self.n_species1 == composition[0]
            if not rows.any():
                raise RequestError(
                    "this composition was not enumerated",
                    came=f"n_species1 = {composition[0]}",
                    allowed=", ".join(str(n) for n in np.unique(self.n_species1)),
                    hint=f"enumerate_states(lattice, model, n_species1={composition[0]})",
                )
            log_weights[~rows] = -np.inf
        p, sites, T = softmax(log_weights), self.lattice.sites, point["T"]
        e, m = energies / sites, 2 * self.n_species1 / sites - 1
        m2, m4 = float(p @ m**2), float(p @ m**4)
        return {
            "energy": float(p @ e),
            "magnetization": float(p @ m),
            "magnetization_abs": float(p @ np.abs(m)),
            "susceptibility": sites * _variance(p, m) / T,
            "susceptibility_abs": sites * _variance(p, np.abs(m)) / T,
            "heat_capacity": sites * _variance(p, e) / T**2,
            "binder_cumulant": 1 - m4 / (3 * m2**2) if m2 else float("nan"),
            "features": p @ self.values,
            "configurations": p / self.degeneracy @ self.class_counts / sites,
        }

    def _point(self, parameters: dict[str, float]) -> dict[str, float]:
        swept = {name: self.model.parameter(name).check(v) for name, v in parameters.items()}
        point = {**self.model.fixed(swept), **swept}
        acting = {name for name, value in point.items() if value}
        for name in features_of(self.model.orbits(self.lattice, acting)):
            if name not in self.features:
                raise RequestError(
                    f"the feature {name} was not enumerated",
                    came=", ".join(f"{name} = {value:g}" for name, value in swept.items()),
                    allowed=", ".join(self.features),
                    hint=f"enumerate_states(lattice, model, used={sorted(acting)})",
                )
        return point


def _variance(p: Floats, values: Floats) -> float:
    return float(p @ (values - p @ values) ** 2)


def enumerate_states(
    lattice: Lattice,
    model: Model,
    *,
    used: Collection[str] = frozenset(),
    n_species1: int | None = None,
) -> States:
    """Visit every arrangement of a small lattice and collect its density of states.

    Takes about 0.2 µs an arrangement.

    Parameters
    ----------
    lattice
        At most 27 sites.
    model
        The model. Its fixed parameters that are not zero count as used.
    used
        Names of further parameters in use, which may bring in features (``{"J2"}``).
    n_species1
        Visit only the arrangements with this many species-1 atoms.

    Raises
    ------
    RequestError
        If the lattice is too large, or too small for a shell in use; if ``n_species1`` is out of
        range; or if random bonds have too many different energies.

    Examples
    --------
    >>> from latticescape import Ising, square
    >>> states = enumerate_states(square(4), Ising())
    >>> states.features, states.values[0].tolist(), int(states.degeneracy.sum()) == 2**16
    (('spin_product_1', 'magnetization'), [-32, 0], True)
    """
    if lattice.sites > MOST_SITES:
        raise RequestError(
            "too many sites to enumerate", came=lattice.sites, allowed=f"up to {MOST_SITES}"
        )
    if n_species1 is not None:
        checked_integer(n_species1, 0, lattice.sites, "n_species1 is out of range")
    acting = {*used, *(name for name, value in model.fixed_parameters.items() if value)}
    own = np.arange(lattice.sites, dtype=np.int32)[:, None]
    orbits = model.disordered(model.orbits(lattice, acting), lattice, model.fixed_parameters)
    orbits.append(Orbit(own, {"n_species1": (0, 1)}))
    ranges = _feature_ranges(orbits)
    partial = _partial_sums(lattice, orbits, ranges, -1 if n_species1 is None else n_species1)
    keys, sums = map(np.concatenate, zip(*partial, strict=True))
    order = np.argsort(keys, kind="stable")
    keys, first = np.unique(keys[order], return_index=True)
    sums = np.add.reduceat(sums[order], first, axis=0)
    values = np.stack(np.unravel_index(keys, ranges.shape), axis=1) * ranges.steps + ranges.lowest
    return States(
        lattice=lattice,
        model=model,
        features=features_of(orbits)[:-1],
        values=values[:, :-1],
        n_species1=values[:, -1],
        degeneracy=sums[:, -1],
        class_counts=sums[:, :-1],
    )


class Cells(NamedTuple):
    """The cells that a flip changes: neighbourhoods, numbered as their centres, and clusters.

    The species in a cell are the bits of its code, in the order of its sites.

    Attributes
    ----------
    start
        Rows ``start[i]:start[i + 1]`` belong to site i, (sites + 1,).
    cell, mask
        A cell that site i is in, and the site's bit there, (rows,).
    orbit
        The orbit of each cell; 0 for neighbourhoods, (cells,).
    keys
        What a code adds to the key, (orbits, codes). A key is the flat index of the features,
        counted from their lowest values.
    """

    start: Integers
    cell: Integers
    mask: Integers
    orbit: Integers
    keys: Integers


class HashTable(NamedTuple):
    """An open hash table: keys (slots,), −1 where empty; class counts, then the degeneracy,
    (slots, classes + 1)."""

    keys: Integers
    sums: Integers


class Ranges(NamedTuple):
    """The possible values of each feature: ``lowest`` + k·``steps``, k below ``shape``."""

    lowest: Integers
    steps: Integers
    shape: tuple[int, ...]


def _feature_ranges(orbits: Sequence[Orbit]) -> Ranges:
    names = features_of(orbits)
    ends, steps = np.zeros((2, len(names)), np.int64), np.zeros(len(names), np.int64)
    for orbit in orbits:
        for name, values in orbit.values.items():
            k, lowest, highest = names.index(name), min(values), max(values)
            ends[:, k] += len(orbit.clusters) * np.array([lowest, highest])
            steps[k] = math.gcd(int(steps[k]), *(value - lowest for value in values))
    steps = np.maximum(steps, 1)
    shape = tuple(((ends[1] - ends[0]) // steps + 1).tolist())
    if math.prod(shape) >= 2**63:
        raise RequestError(
            "there are too many possible energies",
            came=" · ".join(map(str, shape)),
            allowed="up to 2^63",
            hint="fewer random couplings, or those of two signs",
        )
    return Ranges(ends[0], steps, shape)


def _cells(lattice: Lattice, orbits: Sequence[Orbit], ranges: Ranges) -> Cells:
    own = np.arange(lattice.sites, dtype=np.int32)
    tables = [np.column_stack([own, lattice.neighbors(1)]), *(orbit.clusters for orbit in orbits)]
    widest = max(table.shape[1] for table in tables)
    padded = [np.pad(g, ((0, 0), (0, widest - g.shape[1])), constant_values=-1) for g in tables]
    sites = np.concatenate(padded)
    cell, column = np.nonzero(sites >= 0)
    order = np.argsort(sites[cell, column], kind="stable")
    keys = np.zeros((len(orbits) + 1, 2**widest), np.int64)
    strides = np.append(np.cumprod(ranges.shape[:0:-1], dtype=np.int64)[::-1], 1)
    names = features_of(orbits)
    for row, orbit in zip(keys[1:], orbits, strict=True):
        atoms = np.bitwise_count(np.arange(2 ** orbit.clusters.shape[1]))
        for name, values in orbit.values.items():
            k = names.index(name)
            digits = (np.array(values) - min(values)) // ranges.steps[k]
            row[: len(atoms)] += strides[k] * digits[atoms]
    return Cells(
        start=np.append(0, np.cumsum(np.bincount(sites[cell, column]))),
        cell=cell[order],
        mask=1 << column[order],
        orbit=np.repeat(np.arange(len(tables)), [len(table) for table in tables]),
        keys=keys,
    )


def _partial_sums(
    lattice: Lattice, orbits: Sequence[Orbit], ranges: Ranges, n_species1: int
) -> Iterator[tuple[Integers, Integers]]:
    """Yield keys and their sums; a full hash table is yielded and replaced by a larger one."""
    cells, classes = _cells(lattice, orbits, ranges), configurations(lattice.kind)
    slots, visited = FIRST_SLOTS, 0
    while visited < 2**lattice.sites:
        sums = np.zeros((slots, len(classes) + 1), np.int64)
        hash_table = HashTable(np.full(slots, -1), sums)
        visited = visit(visited, n_species1, cells, classes.table, hash_table)
        yield hash_table.keys[hash_table.keys >= 0], hash_table.sums[hash_table.keys >= 0]
        slots *= 4


@compiled
def visit(index: Any, n_species1: Any, cells: Any, table: Any, hash_table: Any) -> Any:
    """Count the arrangements from ``index`` in the Gray code on, where successive arrangements
    differ in one site; ``n_species1`` is −1 for any number.

    Returns the first index that was not counted: the end, or where the hash table was half full.
    """
    sites = len(cells.start) - 1
    codes = np.zeros(len(cells.orbit), np.int64)
    counts = np.zeros(hash_table.sums.shape[1], np.int64)
    counts[table[0]], counts[-1] = sites, 1
    key, arrangement, free = empty_key(cells), 0, len(hash_table.keys) // 2
    while index < 1 << sites and free > 0:
        different = arrangement ^ index ^ (index >> 1)
        arrangement ^= different
        key += flip(different, cells, codes, table, counts)
        # The last digit of the key is the number of species-1 atoms.
        if n_species1 < 0 or key % (sites + 1) == n_species1:
            free -= add(key, counts, hash_table)
        index += 1
    return index


@compiled
def empty_key(cells: Any) -> Any:
    """The key of the arrangement without species-1 atoms."""
    key = 0
    for orbit in cells.orbit:
        key += cells.keys[orbit, 0]
    return key


@compiled
def flip(sites: Any, cells: Any, codes: Any, table: Any, counts: Any) -> Any:
    """Change the species of the sites whose bits are set; returns the change of the key."""
    change, site = 0, 0
    while sites >> site:
        if (sites >> site) & 1:
            for k in range(cells.start[site], cells.start[site + 1]):
                cell = cells.cell[k]
                old = codes[cell]
                new = old ^ cells.mask[k]
                codes[cell] = new
                change += cells.keys[cells.orbit[cell], new] - cells.keys[cells.orbit[cell], old]
                if cells.orbit[cell] == 0:
                    counts[table[old]] -= 1
                    counts[table[new]] += 1
        site += 1
    return change


@compiled
def add(key: Any, counts: Any, hash_table: Any) -> Any:
    """Add the counts to the key's sums; returns 1 if the key is new, else 0."""
    last = len(hash_table.keys) - 1
    slot = np.int64(mix64(np.uint64(key)) & np.uint64(last))
    while hash_table.keys[slot] >= 0 and hash_table.keys[slot] != key:
        slot = (slot + 1) & last
    new = hash_table.keys[slot] < 0
    hash_table.keys[slot] = key
    for k in range(len(counts)):
        hash_table.sums[slot, k] += counts[k]
    return np.int64(new)
