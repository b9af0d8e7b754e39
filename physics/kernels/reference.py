"""The reference kernel: every Monte Carlo move in plain scalar code, for any model.

The energy change of a site follows from the clusters that contain it. ``Touching`` lists these
clusters site by site; a move reads nothing else of the model.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.batches import Chosen, ScalarBatch, flipped
from latticescape.physics.kernels.boltzmann import ATTEMPTED
from latticescape.physics.kernels.species.exponential import exp_of
from latticescape.physics.kernels.streams import next_below, next_uniform, replica_state
from latticescape.physics.lattices.configurations import add_configurations, configurations
from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.models.model import REPLICAS, Orbit, features_of
from latticescape.physics.variables import pack_replicas

# Moments of every replica, in this order: sums over samples of the whole-lattice quantity.
MOMENTS = ("m", "m_abs", "m2", "m4", "e", "e2")

Integers = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


class Clusters(NamedTuple):
    """All clusters of a model on a lattice, once each.

    Attributes
    ----------
    sites
        (clusters, widest) int32, padded with −1.
    orbit
        Orbit of each cluster, (clusters,).
    values
        Addition to each feature by orbit and number of species-1 sites,
        (orbits, features, widest + 1).
    """

    sites: npt.NDArray[np.int32]
    orbit: Integers
    values: Integers


class Touching(NamedTuple):
    """The clusters that touch each site: rows ``start[i]:start[i + 1]`` belong to site i.

    Attributes
    ----------
    start
        (sites + 1,).
    others
        The cluster's other sites, (rows, widest − 1), padded with −1.
    orbit
        The cluster's orbit, (rows,).
    """

    start: Integers
    others: npt.NDArray[np.int32]
    orbit: Integers


class Task(NamedTuple):
    """One point: its seed (4,), temperature, couplings (features,), energy steps (orbits, widest),
    initial probability of up (64,) and number of species-1 sites (−1: not conserved)."""

    seed: npt.NDArray[np.uint64]
    temperature: float
    couplings: Floats
    energy_steps: Floats
    initial_up_probability: Floats
    n_species1: int


class Tables(NamedTuple):
    """The tables for measurements.

    Attributes
    ----------
    clusters
        The clusters of all orbits, for the features.
    neighbors
        Nearest neighbours in ring order, (sites, z).
    classes
        Configuration class of every code of a site and its neighbours.
    """

    clusters: Clusters
    neighbors: Sites
    classes: npt.NDArray[np.uint8]


class Sums(NamedTuple):
    """Sums over the samples of one point, one row per replica: features, those at the checkpoints
    (9, 64, features), moments in the order of ``MOMENTS``, and configuration counts."""

    features: Integers
    checkpoints: Integers
    moments: Floats
    histogram: Integers

    @property
    def first_half(self) -> Integers:
        """Features summed over the first half of the samples."""
        half: Integers = self.checkpoints[0]
        return half


class Trace(NamedTuple):
    """Arrays for the kept measurements of one point; None if they are not kept.

    Attributes
    ----------
    features
        Features of every measurement, (64, samples, features).
    histogram
        Configurations of every measurement, (64, samples, classes).
    spins
        Spins after the last measurement, (sites,); bit r is replica r.
    """

    features: Counts | None
    histogram: Counts | None
    spins: Words | None

    def record(
        self, sample: int, features: npt.NDArray[np.int64], histogram: npt.NDArray[np.int64]
    ) -> None:
        """Record one measurement, (64, features) and (64, classes)."""
        if self.features is not None and self.histogram is not None:
            self.features[:, sample], self.histogram[:, sample] = features, histogram

    def finish(self, spins: Words) -> None:
        """Record the last spins, (sites,) words."""
        if self.spins is not None:
            self.spins[...] = spins


def clusters_of(orbits: Sequence[Orbit]) -> Clusters:
    """All orbits' clusters in one padded table."""
    widest = max(orbit.clusters.shape[1] for orbit in orbits)
    padded = [
        np.pad(o.clusters, ((0, 0), (0, widest - o.clusters.shape[1])), constant_values=-1)
        for o in orbits
    ]
    which = np.repeat(np.arange(len(orbits)), [len(orbit.clusters) for orbit in orbits])
    features = features_of(orbits)
    values = np.zeros((len(orbits), len(features), widest + 1), np.int64)
    for number, orbit in enumerate(orbits):
        for name, addition in orbit.values.items():
            values[number, features.index(name), : len(addition)] = addition
    return Clusters(np.concatenate(padded), which, values)


def energy_steps_of(clusters: Clusters, couplings: Floats) -> Floats:
    """Energy of one more species-1 site in a cluster that holds m of them, (orbits, widest)."""
    energies = np.einsum("f,ofm->om", couplings, clusters.values)
    return np.ascontiguousarray(np.diff(energies, axis=1))


def touching(clusters: Clusters, sites: int, acting: npt.NDArray[np.bool_]) -> Touching:
    """The clusters of the acting orbits, site by site."""
    row, column = np.nonzero((clusters.sites >= 0) & acting[clusters.orbit][:, None])
    touched = clusters.sites[row, column]
    order = np.argsort(touched, kind="stable")
    row, column = row[order], column[order]
    widest = clusters.sites.shape[1]
    others = clusters.sites[row][np.arange(widest)[None, :] != column[:, None]]
    return Touching(
        start=np.concatenate([[0], np.cumsum(np.bincount(touched, minlength=sites))]),
        others=np.ascontiguousarray(others.reshape(len(row), widest - 1)),
        orbit=clusters.orbit[row],
    )


@compiled
def rise(site: Any, spins: Any, touching: Any, energy_steps: Any) -> Any:
    """Energy of species 1 on a site minus that of species 0, with all other sites fixed."""
    energy = 0.0
    for k in range(touching.start[site], touching.start[site + 1]):
        ones = 0
        for column in range(touching.others.shape[1]):
            other = touching.others[k, column]
            if other >= 0:
                ones += spins[other]
        energy += energy_steps[touching.orbit[k], ones]
    return energy


@compiled
def heat_bath(spins: Any, state: Any, temperature: Any, touching: Any, energy_steps: Any) -> None:
    """One Monte Carlo step of the heat bath: draw every site in turn from its local equilibrium,
    P(up) = 1 / (1 + exp(ΔE/T))."""
    for site in range(len(spins)):
        up = 1.0 / (1.0 + np.exp(rise(site, spins, touching, energy_steps) / temperature))
        spins[site] = 1 if next_uniform(state) < up else 0


@compiled
def metropolis(spins: Any, state: Any, temperature: Any, touching: Any, energy_steps: Any) -> None:
    """One Monte Carlo step of Metropolis' rule: attempt 63 of 64 flips, site by site, and accept
    them with probability min(1, exp(−ΔE/T))."""
    for site in range(len(spins)):
        energy = rise(site, spins, touching, energy_steps) * (1 - 2 * np.int64(spins[site]))
        if next_uniform(state) < ATTEMPTED * np.exp(-max(energy, 0.0) / temperature):
            spins[site] = 1 - spins[site]


@compiled
def exchange(
    spins: Any, state: Any, temperature: Any, touching: Any, energy_steps: Any, neighbors: Any
) -> None:
    """One Monte Carlo step of Kawasaki exchange: N random nearest-neighbour bonds, whose ends are
    exchanged with probability min(1, exp(−ΔE/T)). Conserves the composition."""
    for _ in range(len(spins)):
        first = next_below(state, len(spins))
        second = np.int64(neighbors[first, next_below(state, neighbors.shape[1])])
        if spins[first] == spins[second]:
            continue
        if spins[first] == 0:
            first, second = second, first
        spins[first] = 0
        energy = rise(second, spins, touching, energy_steps) - rise(
            first, spins, touching, energy_steps
        )
        if energy <= 0.0 or next_uniform(state) < np.exp(-energy / temperature):
            spins[second] = 1
        else:
            spins[first] = 1


@compiled
def draw_spins(spins: Any, state: Any, probability: Any) -> None:
    """Draw every site independently, up with this probability."""
    for site in range(len(spins)):
        spins[site] = 1 if next_uniform(state) < probability else 0


@compiled
def draw_arrangement(spins: Any, state: Any, n_species1: Any) -> None:
    """Draw a random arrangement of exactly ``n_species1`` species-1 sites (selection sampling)."""
    left = n_species1
    for site in range(len(spins)):
        spins[site] = 1 if next_below(state, len(spins) - site) < left else 0
        left -= spins[site]


@compiled
def measure_features(spins: Any, clusters: Any, features: Any) -> None:
    """Recount every feature of the whole lattice."""
    features[:] = 0
    for c in range(len(clusters.sites)):
        ones = 0
        for column in range(clusters.sites.shape[1]):
            site = clusters.sites[c, column]
            if site >= 0:
                ones += spins[site]
        for f in range(len(features)):
            features[f] += clusters.values[clusters.orbit[c], f, ones]


@compiled
def add_moments(spins: Any, features: Any, couplings: Any, moments: Any) -> None:
    """Add one sample's moments, in the order of ``MOMENTS``."""
    magnetization = np.int64(-len(spins))
    for spin in spins:
        magnetization += 2 * np.int64(spin)
    energy = 0.0
    for f in range(len(features)):
        energy += couplings[f] * features[f]
    square = np.float64(magnetization) ** 2
    moments[0] += magnetization
    moments[1] += abs(magnetization)
    moments[2] += square
    moments[3] += square * square
    moments[4] += energy
    moments[5] += energy * energy


@compiled
def initialize(spins: Any, states: Any, task: Any) -> None:
    """Seed the generator of every replica, and draw its first spins: (64, sites), (64, 4)."""
    for replica in range(len(spins)):
        replica_state(task.seed, replica, states[replica])
        if task.n_species1 < 0:
            draw_spins(spins[replica], states[replica], task.initial_up_probability[replica])
        elif task.initial_up_probability[replica] == 1.0:
            spins[replica, : task.n_species1] = 1
            spins[replica, task.n_species1 :] = 0
        else:
            draw_arrangement(spins[replica], states[replica], task.n_species1)


@compiled
def advance(
    spins: Any,
    states: Any,
    task: Any,
    touching: Any,
    neighbors: Any,
    flips_metropolis: Any,
    mcs: Any,
) -> None:
    """``mcs`` Monte Carlo steps of every replica: exchanges if the composition is conserved, else
    flips by heat bath or Metropolis' rule."""
    T, steps = task.temperature, task.energy_steps
    for replica in range(len(spins)):
        for _ in range(mcs):
            if task.n_species1 >= 0:
                exchange(spins[replica], states[replica], T, touching, steps, neighbors)
            elif flips_metropolis:
                metropolis(spins[replica], states[replica], T, touching, steps)
            else:
                heat_bath(spins[replica], states[replica], T, touching, steps)


@compiled
def add_samples(spins: Any, task: Any, tables: Any, sums: Any) -> None:
    """Measure every replica once and add it to its sums."""
    features, sites = np.empty(len(task.couplings), np.int64), np.arange(spins.shape[1])
    for replica in range(len(spins)):
        measure_features(spins[replica], tables.clusters, features)
        add_moments(spins[replica], features, task.couplings, sums.moments[replica])
        for f in range(len(features)):  # compiled in half of the time of an addition of arrays
            sums.features[replica, f] += features[f]
        counts = sums.histogram[replica]
        add_configurations(spins[replica], sites, tables.neighbors, tables.classes, counts)


@compiled
def energies(spins: Any, task: Any, tables: Any) -> Any:
    """Energy of the whole lattice, of every replica, (64,)."""
    features, found = np.empty(len(task.couplings), np.int64), np.zeros(len(spins))
    for replica in range(len(spins)):
        measure_features(spins[replica], tables.clusters, features)
        for f in range(len(features)):
            found[replica] += task.couplings[f] * features[f]
    return found


class ScalarTables:
    """The lattice's tables for the scalar kernels, shared by all points of a block."""

    def __init__(self, lattice: Lattice, orbits: Sequence[Orbit]) -> None:
        self.measured = Tables(
            clusters_of(orbits), lattice.neighbors(1), configurations(lattice.kind).table
        )
        self._touching: dict[bytes, Touching] = {}

    def touching(self, task: Task) -> Touching:
        """The clusters that contain a site, without the orbits that have no energy at this point;
        their zeros would change no bit and only cost time."""
        acting = np.any(task.energy_steps != 0, axis=1)
        key = acting.tobytes()
        if key not in self._touching:
            sites = len(self.measured.neighbors)
            self._touching[key] = touching(self.measured.clusters, sites, acting)
        return self._touching[key]


class ReferenceBatch(ScalarBatch):
    """One point under the scalar reference moves.

    Parameters
    ----------
    tables, task, sums, traces
        The lattice's tables, the point, where its sums go, and where its trace goes.
    metropolis
        Whether flips follow Metropolis' rule instead of the heat bath.
    """

    def __init__(
        self,
        tables: ScalarTables,
        task: Task,
        sums: Sums,
        traces: Sequence[Trace] = (),
        *,
        metropolis: bool = False,
    ) -> None:
        self.tables, self.task, self.sums, self.traces = tables, task, sums, traces
        self.metropolis = metropolis
        self.spins = np.empty((REPLICAS, len(tables.measured.neighbors)), np.uint8)
        self.states: npt.NDArray[np.uint64] = np.empty((REPLICAS, 4), np.uint64)
        initialize(self.spins, self.states, task)
        self.flips_globally = task.n_species1 < 0

    def global_flip(self, clock: int) -> None:
        before = self.energies()[0]
        self.spins ^= 1
        rise = (self.energies()[0] - before) / self.task.temperature
        self.spins[~flipped(self.task.seed, clock, 1 / (1 + exp_of(rise)))] ^= 1

    def advance(self, mcs: int) -> None:
        touched, neighbors = self.tables.touching(self.task), self.tables.measured.neighbors
        advance(self.spins, self.states, self.task, touched, neighbors, self.metropolis, mcs)

    def add_sample(self, sample: int) -> None:
        features, histogram = self.sums.features, self.sums.histogram
        before = (features.copy(), histogram.copy()) if self.traces else (0, 0)
        add_samples(self.spins, self.task, self.tables.measured, self.sums)
        for trace in self.traces:
            trace.record(sample, features - before[0], histogram - before[1])

    def checkpoint(self, place: int) -> None:
        self.sums.checkpoints[place] = self.sums.features

    def finish(self) -> None:
        """Record the last spins; the sums were added in place."""
        for trace in self.traces:
            trace.finish(pack_replicas(self.spins))

    def energies(self) -> Floats:
        values: Floats = energies(self.spins, self.task, self.tables.measured)
        return values[None, :]

    def swap(self, place: int, other: "ReferenceBatch", there: int, chosen: Chosen) -> None:
        mine = self.spins[chosen]
        self.spins[chosen] = other.spins[chosen]
        other.spins[chosen] = mine
