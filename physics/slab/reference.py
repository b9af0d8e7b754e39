"""The reference kernel of a segregation slab, and exact enumeration of a small slab.

A state is one array of bits: 1 for Ca on the A-sites, then 1 for oxygen on the hollows. A Monte
Carlo step attempts one move for every A-site and hollow: an exchange of an A-site with any other,
or a hop of a hollow's oxygen to a neighbouring hollow, accepted with min(1, exp(−ΔE/RT)).
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.batches import ScalarBatch
from latticescape.physics.kernels.reference import draw_arrangement
from latticescape.physics.kernels.streams import next_below, next_uniform, replica_state
from latticescape.physics.lattices.configurations import add_configurations
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.slab.lattice import ARRANGEMENTS, Slab, tables_of
from latticescape.physics.slab.model import FEATURES, GAS_CONSTANT, SegregationSlab
from latticescape.physics.slab.observables import SlabSums, SlabTask

MOST_ARRANGEMENTS = 2**22


@compiled
def initialize(bits: Any, states: Any, seed: Any, sites: Any, calcium: Any, oxygen: Any) -> None:
    """Seed every replica's generator and arrange its atoms at random: (64, places), (64, 4)."""
    for replica in range(len(bits)):
        replica_state(seed, replica, states[replica])
        draw_arrangement(bits[replica, :sites], states[replica], calcium)
        draw_arrangement(bits[replica, sites:], states[replica], oxygen)


@compiled
def energy_at(place: Any, bits: Any, tables: Any, couplings: Any) -> Any:
    """Energy of all pairs and contacts of one place."""
    unlike, la_la, la_o = 0, 0, 0
    sites, top = len(tables.bulk), len(tables.hollow)
    if place >= sites:
        for corner in tables.corners[place - sites]:
            la_o += bits[place] * (1 - bits[corner])
    else:
        for other in tables.bulk[place]:
            if other >= 0:
                unlike += bits[place] ^ bits[other]
        if place < top:
            for other in tables.surface[place]:
                la_la += (1 - bits[place]) * (1 - bits[other])
            for hollow in tables.touching[place]:
                la_o += (1 - bits[place]) * bits[hollow]
    return couplings[0] * unlike + couplings[1] * la_la + couplings[2] * la_o


@compiled
def swap(
    first: Any, second: Any, bits: Any, state: Any, tables: Any, couplings: Any, heat: Any
) -> None:
    """Attempt to exchange the contents of two places.

    A pair of the two places is counted twice, before and after alike: a pair of unlike cations
    stays unlike and is never La–La.
    """
    if bits[first] == bits[second]:
        return
    before = energy_at(first, bits, tables, couplings) + energy_at(second, bits, tables, couplings)
    bits[first], bits[second] = bits[second], bits[first]
    after = energy_at(first, bits, tables, couplings) + energy_at(second, bits, tables, couplings)
    rise = after - before
    if rise > 0.0 and next_uniform(state) >= np.exp(-rise / heat):
        bits[first], bits[second] = bits[second], bits[first]


@compiled
def advance(bits: Any, states: Any, tables: Any, couplings: Any, heat: Any, mcs: Any) -> None:
    """``mcs`` Monte Carlo steps of every replica; ``heat`` is RT."""
    sites = len(tables.bulk)
    for replica in range(len(bits)):
        state = states[replica]
        for _ in range(mcs * bits.shape[1]):
            first = next_below(state, bits.shape[1])
            if first < sites:
                second = (first + 1 + next_below(state, sites - 1)) % sites
            else:
                second = np.int64(tables.next_hollow[first - sites, next_below(state, 4)])
            swap(first, second, bits[replica], state, tables, couplings, heat)


@compiled
def measure(bits: Any, tables: Any, features: Any, classes: Any, calcium: Any) -> None:
    """Features (3,), classes of hollows (12,) and Ca of every layer (layers,) of one replica."""
    features[:], classes[:], calcium[:] = 0, 0, 0
    sites = len(tables.bulk)
    for site in range(sites):
        calcium[tables.layer[site]] += bits[site]
        for other in tables.bulk[site]:
            if other >= 0:
                features[0] += bits[site] ^ bits[other]
    features[0] //= 2
    for site in range(len(tables.hollow)):
        for other in tables.surface[site]:
            features[1] += (1 - bits[site]) * (1 - bits[other])
        for corner in tables.corners[site]:
            features[2] += bits[sites + site] * (1 - bits[corner])
    features[1] //= 2
    add_configurations(bits, tables.hollow, tables.corners, tables.classes, classes)


class SlabReferenceBatch(ScalarBatch):
    """One point with the scalar moves."""

    def __init__(self, lattice: Slab, task: SlabTask, sums: SlabSums) -> None:
        self.task, self.sums = task, sums
        self.tables = tables_of(lattice, task.bulk_pairs)
        self.spins = np.empty((REPLICAS, lattice.sites + lattice.hollows), np.uint8)
        self.states = np.empty((REPLICAS, 4), np.uint64)
        initialize(self.spins, self.states, task.seed, lattice.sites, task.calcium, task.oxygen)

    def advance(self, mcs: int) -> None:
        task = self.task
        advance(self.spins, self.states, self.tables, task.couplings, task.heat, mcs)

    def checkpoint(self, place: int) -> None:
        self.sums.checkpoints[place] = self.sums.features

    def add_sample(self, sample: int) -> None:
        layers = self.sums.calcium.shape[1]
        features = np.empty((REPLICAS, 3), np.int64)
        classes = np.empty((REPLICAS, 2 * ARRANGEMENTS), np.int64)
        calcium = np.empty((REPLICAS, layers), np.int64)
        for replica, bits in enumerate(self.spins):
            measure(bits, self.tables, features[replica], classes[replica], calcium[replica])
        self.sums.add(features, classes, calcium)


def expect(lattice: Slab, model: SegregationSlab) -> dict[str, npt.NDArray[np.float64]]:
    """Exact averages over all arrangements of a small slab.

    Parameters
    ----------
    lattice
        A slab with at most four million arrangements.
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
            "too many arrangements to enumerate", came=number, allowed=f"up to {MOST_ARRANGEMENTS}"
        )
    tables, rows = tables_of(lattice, int(fixed["bulk_pairs"])), []
    for bits in _arrangements(lattice, *map(int, atoms)):
        row = [np.empty(n, np.int64) for n in (3, 2 * ARRANGEMENTS, lattice.layers)]
        measure(bits, tables, *row)
        rows.append(row)
    features, classes, calcium = (np.array(column) for column in zip(*rows, strict=True))
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


def _arrangements(lattice: Slab, calcium: int, oxygen: int) -> Iterator[npt.NDArray[np.uint8]]:
    for cations in combinations(range(lattice.sites), calcium):
        for adatoms in combinations(range(lattice.hollows), oxygen):
            bits = np.zeros(lattice.sites + lattice.hollows, np.uint8)
            bits[list(cations)] = 1
            bits[lattice.sites + np.array(adatoms, int)] = 1
            yield bits
