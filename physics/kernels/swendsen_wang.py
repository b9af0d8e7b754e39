"""Swendsen–Wang cluster updates of the Ising model without a field, replica by replica.

A bond between like spins is active with probability 1 − exp(−ΔE/T), ΔE being its energy with unlike
ends minus that with like ends (2 J for Ising). The sites of a cluster of active bonds then all get
the same random spin. At Tc the autocorrelation time is a few steps; single flips need about L².

References
----------
Swendsen and Wang, Phys. Rev. Lett. 58, 86 (1987), 10.1103/PhysRevLett.58.86. Clusters are joined by
Rem's algorithm, the fastest of the 55 that Patwary, Blair and Manne tried: SEA 2010,
10.1007/978-3-642-13193-6_35.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.reference import (
    Integers,
    ReferenceBatch,
    ScalarTables,
    Sums,
    Task,
    Trace,
)
from latticescape.physics.kernels.streams import next_word
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import Model, Orbit, Points, features_of

Words = npt.NDArray[np.uint64]

# Bits of a bond's probability, as many as a double in [0, 1) has.
PLANES = 53
WORD = 64

LOCAL = 'update = "local" in [schedule]'
FIELD = ("cluster updates do not support a field", "H = 0 or mu = 0, bonds alone")
NEGATIVE = ("cluster updates do not support negative couplings", "J >= 0 in every shell")


class Bonds(NamedTuple):
    """All bonds, orbit by orbit.

    Attributes
    ----------
    ends
        Sites of each bond, (bonds, 2) uint32; within an orbit in the order of the later one.
    start
        Rows ``start[o]:start[o + 1]`` belong to orbit o; orbits of other clusters have none,
        (orbits + 1,).
    """

    ends: npt.NDArray[np.uint32]
    start: Integers


def bonds_of(orbits: Sequence[Orbit]) -> Bonds:
    """The bonds of a model's orbits."""
    none = np.empty((0, 2), np.int32)
    tables = [orbit.clusters if _are_bonds(orbit) else none for orbit in orbits]
    ordered = [table[np.argsort(table.max(axis=1), kind="stable")] for table in tables]
    start = np.concatenate([[0], np.cumsum([len(table) for table in tables])])
    return Bonds(np.concatenate(ordered).astype(np.uint32), start)


def thresholds(task: Task) -> Words:
    """Probability that a bond between like spins is active, 1 − exp(−ΔE/T), in units of 2^−53,
    (orbits,)."""
    with np.errstate(over="ignore"):
        chances = -np.expm1(-task.energy_steps[:, 0] / task.temperature)
    return np.minimum(np.rint(chances * 2.0**PLANES), 2.0**PLANES - 1).astype(np.uint64)


def check_clusters(model: Model, orbits: Sequence[Orbit], points: Points) -> None:
    """Raise a RequestError for models and points that cluster updates do not support.

    Parameters
    ----------
    model, orbits
        The model and its orbits.
    points
        Every parameter at every point, (points,) each.

    Raises
    ------
    RequestError
        If the model conserves a composition, or if at some point anything acts but bonds that
        favour like ends.

    Examples
    --------
    >>> from latticescape import Ising, square
    >>> points = {name: np.array([1.0]) for name in ("T", "J", "J2", "J3", "mu", "H")}
    >>> check_clusters(Ising(), Ising().orbits(square(4), ()), points)
    Traceback (most recent call last):
    latticescape.RequestError: cluster updates do not support a field (came: T = 1, J = 1, ...
    """
    if model.move != "single_flip":
        raise RequestError(
            "cluster updates change the composition",
            came=f"the model {model.kind}",
            allowed="models of free spins: ising",
            hint=LOCAL,
        )
    if model.bond_disorder is not None:
        raise RequestError(
            "cluster updates do not support random bonds",
            came="bonds in [model]",
            allowed="a model without bonds",
            hint=LOCAL,
        )
    features = features_of(orbits)
    couplings = dict(zip(features, model.coefficients(points, features).T, strict=True))
    for orbit in orbits:
        acts = [(couplings[name], values) for name, values in orbit.values.items()]
        if _are_bonds(orbit):
            rise = sum(c * (values[1] - values[0]) for c, values in acts)
            wrong, problem, allowed = rise < 0, *NEGATIVE
        else:
            wrong, problem, allowed = np.any([c != 0 for c, _ in acts], axis=0), *FIELD
        if wrong.any():
            point = {name: float(values[wrong.argmax()]) for name, values in points.items()}
            came = ", ".join(f"{name} = {value:g}" for name, value in point.items() if value)
            raise RequestError(problem, came=came, allowed=allowed, hint=LOCAL)


def _are_bonds(orbit: Orbit) -> bool:
    """Whether an orbit's clusters are pairs whose values depend only on like or unlike ends."""
    pairs = orbit.clusters.shape[1] == 2
    return pairs and all(values[0] == values[2] for values in orbit.values.values())


@compiled
def coins(state: Any, threshold: Any) -> Any:
    """64 independent bits, each one with probability ``threshold``/2^53: 64 uniform numbers are
    compared with the threshold at once, bit by bit from the highest, until all are decided."""
    below, undecided = np.uint64(0), ~np.uint64(0)
    for plane in range(PLANES):
        digit = ~(((threshold >> np.uint64(PLANES - 1 - plane)) & np.uint64(1)) - np.uint64(1))
        random_bits = next_word(state)
        below |= undecided & digit & ~random_bits
        undecided &= ~(digit ^ random_bits)
        if undecided == 0:
            break
    return below


@compiled
def hold_bonds(spins: Any, state: Any, bonds: Any, thresholds: Any, held: Any) -> Any:
    """Write the numbers of the bonds that hold to ``held``; returns how many there are."""
    number = np.uint64(0)
    for orbit in range(len(thresholds)):
        if thresholds[orbit] == 0:
            continue
        for first in range(bonds.start[orbit], bonds.start[orbit + 1], WORD):
            heads = coins(state, thresholds[orbit])
            for bond in range(first, min(first + WORD, bonds.start[orbit + 1])):
                unlike = spins[bonds.ends[bond, 0]] ^ spins[bonds.ends[bond, 1]]
                # Written always and kept by counting on: no branch that nobody can predict.
                held[number] = bond
                number += heads & np.uint64(unlike ^ 1)
                heads >>= np.uint64(1)
    return number


@compiled
def join(labels: Any, ends: Any, held: Any) -> None:
    """Join the clusters at both ends of every held bond (Rem's algorithm).

    A site's label is a site of its cluster, itself or an earlier one; the earliest of a cluster is
    labelled with itself. On the way to it the two ends' labels are spliced: the later one is hung
    below the earlier.
    """
    for k in range(len(held)):
        site, other = ends[held[k], 0], ends[held[k], 1]
        while labels[site] != labels[other]:
            if labels[site] < labels[other]:
                site, other = other, site
            above = labels[site]
            labels[site] = labels[other]
            if above == site:
                break
            site = above


@compiled
def turn(spins: Any, state: Any, labels: Any) -> None:
    """A fresh random spin for every cluster; each site is its own cluster again."""
    random_bits = np.uint64(0)
    for site in range(len(spins)):
        if site % WORD == 0:
            random_bits = next_word(state)
        # A label points at an earlier site, whose spin is fresh already, or at the site itself.
        spins[site] = random_bits & np.uint64(1)
        spins[site] = spins[labels[site]]
        labels[site] = site
        random_bits >>= np.uint64(1)


@compiled
def advance(
    spins: Any, states: Any, bonds: Any, thresholds: Any, labels: Any, held: Any, mcs: Any
) -> None:
    """``mcs`` updates of the whole lattice, each counted as one Monte Carlo step, of every replica:
    spins (64, sites), states (64, 4)."""
    for replica in range(len(spins)):
        for _ in range(mcs):
            number = hold_bonds(spins[replica], states[replica], bonds, thresholds, held)
            join(labels, bonds.ends, held[:number])
            turn(spins[replica], states[replica], labels)


class ClusterTables(ScalarTables):
    """The tables of :class:`ScalarTables`, and all bonds."""

    def __init__(self, lattice: Lattice, orbits: Sequence[Orbit]) -> None:
        super().__init__(lattice, orbits)
        self.bonds = bonds_of(orbits)


class ClusterBatch(ReferenceBatch):
    """One point under cluster updates."""

    def __init__(
        self, tables: ClusterTables, task: Task, sums: Sums, traces: Sequence[Trace] = ()
    ) -> None:
        super().__init__(tables, task, sums, traces)
        self.flips_globally = False  # clusters turn over by themselves
        self.bonds = tables.bonds
        self.thresholds = thresholds(task)
        self.labels = np.arange(self.spins.shape[1], dtype=np.uint32)
        self.held = np.empty(len(tables.bonds.ends), np.uint32)

    def advance(self, mcs: int) -> None:
        advance(
            self.spins,
            self.states,
            self.bonds,
            self.thresholds,
            self.labels,
            self.held,
            mcs,
        )
