"""Monte Carlo moves and measurements for any species and clusters, in plain compiled code.

The species of a site is one byte for each of the 64 replicas, (sites, 64). A move visits the same
sites in all replicas, so that loops over replicas are vector instructions; the replicas stay
independent, because each decides with random numbers of its own.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.species.local_energies import LocalTables
from latticescape.physics.kernels.streams import next_below
from latticescape.physics.models.interactions import Integers
from latticescape.physics.models.model import REPLICAS

# exp in plain arithmetic, the same on every machine: x = k ln 2 + y, and a polynomial of y.
_LOG2_E = 1.44269504088896338700
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# Adding it rounds to a whole number, which the lowest bits of the sum hold.
_ROUND = 6755399441055744.0
_LARGEST = 700.0


class Moves(NamedTuple):
    """What the moves of one lattice read.

    Attributes
    ----------
    local
        The blocks of every site.
    active
        Sites with two species or more, (active,).
    species
        Number of species of each of them, (active,).
    pool_first, pool_size
        The part of ``active`` that a site may exchange with, (active,) each.
    partners
        The neighbours that each may exchange with, (active, most), −1 for none; no columns where it
        may exchange with any of its pool.
    """

    local: LocalTables
    active: npt.NDArray[np.int32]
    species: npt.NDArray[np.int32]
    pool_first: Integers
    pool_size: Integers
    partners: npt.NDArray[np.int32]


class Measured(NamedTuple):
    """What the measurements of one lattice read.

    Attributes
    ----------
    clusters, strides
        Sites of all clusters, (clusters, widest) padded with −1, and of each interaction the weight
        of a site's species in the code, (interactions, widest).
    interaction
        Of each cluster, (clusters,).
    first
        The first value of each interaction, (interactions,).
    values
        Additions to each feature, (features, all codes).
    feature_first, feature
        The features of interaction i: ``feature[feature_first[i]:feature_first[i + 1]]``.
    centers, around, around_strides, class_first, classes
        Sites to classify, (centres,); their neighbours, (centres, most) padded with −1; the weights
        of the species of both, (centres, 1 + most); the place of code 0 in ``classes``, (centres,);
        and the class of every code.
    spins
        Of every species of every site, (kinds of sites, species); the kind of each site.
    """

    clusters: npt.NDArray[np.int32]
    strides: Integers
    interaction: Integers
    first: Integers
    values: Integers
    feature_first: Integers
    feature: Integers
    centers: npt.NDArray[np.int32]
    around: npt.NDArray[np.int32]
    around_strides: npt.NDArray[np.int32]
    class_first: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int32]
    spins: npt.NDArray[np.float64]
    spin_kind: Integers


@compiled
def next_words(states: Any, words: Any) -> None:
    """The next 64 random bits of every replica: ``states`` (4, 64) advance (xoshiro256++)."""
    for r in range(REPLICAS):
        s0, s1, s2, s3 = states[0, r], states[1, r], states[2, r], states[3, r]
        total = s0 + s3
        words[r] = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
        shifted = s1 << np.uint64(17)
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= shifted
        states[0, r], states[1, r], states[2, r] = s0, s1, s2
        states[3, r] = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))


@compiled
def uniform(words: Any) -> None:
    """Turn random words into the bits of doubles in [1, 2), in place."""
    for r in range(REPLICAS):
        words[r] = (words[r] >> np.uint64(12)) | np.uint64(0x3FF0000000000000)


@compiled
def exponentials(x: Any, powers: Any, factors: Any) -> None:
    """exp(x) as ``factors`` times 2 to a power, (64,) each; ``powers`` receives the bits of the
    second factor."""
    for r in range(REPLICAS):
        clipped = min(max(x[r], -_LARGEST), _LARGEST)
        rounded = clipped * _LOG2_E + _ROUND
        powers[r] = rounded
        k = rounded - _ROUND
        y = (clipped - k * _LN2_HIGH) - k * _LN2_LOW
        total = 1.0 / 6227020800.0
        total = total * y + 1.0 / 479001600.0
        total = total * y + 1.0 / 39916800.0
        total = total * y + 1.0 / 3628800.0
        total = total * y + 1.0 / 362880.0
        total = total * y + 1.0 / 40320.0
        total = total * y + 1.0 / 5040.0
        total = total * y + 1.0 / 720.0
        total = total * y + 1.0 / 120.0
        total = total * y + 1.0 / 24.0
        total = total * y + 1.0 / 6.0
        total = total * y + 0.5
        total = total * y + 1.0
        factors[r] = total * y + 1.0


@compiled
def shift_powers(bits: Any) -> None:
    """From rounded sums to the bits of 2 to their power."""
    for r in range(REPLICAS):
        bits[r] = (bits[r] << 52) + (1023 << 52)


@compiled
def add_energies(
    site: Any, old: Any, new: Any, species: Any, spins: Any, local: Any, table: Any, scratch: Any
) -> None:
    """Add to ``scratch.energy`` the change when ``old`` becomes ``new`` on a site, (64,) each."""
    energy, code = scratch
    kind = local.kind[site]
    member, weight = local.first[site], local.weight_first[kind]
    for b in range(local.blocks[kind], local.blocks[kind + 1]):
        codes = np.uint32(local.codes[b])
        offset = np.uint32(local.offset[b])
        own = np.uint32(species)
        for r in range(REPLICAS):
            pair = np.uint32(old[r]) * own + np.uint32(new[r])
            code[r] = offset + pair * codes
        for _ in range(local.size[b]):
            other, w = local.members[member], np.uint32(local.weights[weight])
            for r in range(REPLICAS):
                code[r] += w * np.uint32(spins[other, r])
            member += 1
            weight += 1
        for r in range(REPLICAS):
            energy[r] += table[code[r]]


@compiled
def flip_all(spins: Any, states: Any, beta: Any, moves: Any, table: Any, mcs: Any) -> None:
    """``mcs`` Monte Carlo steps of single-site changes: every site in turn is offered one of its
    other species, taken with probability 1 / (1 + exp(ΔE/T)), which for two species is the heat
    bath (Barker, Aust. J. Phys. 18, 119 (1965))."""
    energy, code = np.empty(REPLICAS), np.empty(REPLICAS, np.uint32)
    words, choices = np.empty(REPLICAS, np.uint64), np.empty(REPLICAS, np.uint64)
    uniforms = words.view(np.float64)
    powers, factors = np.empty(REPLICAS), np.empty(REPLICAS)
    bits = powers.view(np.int64)
    old, new = np.empty(REPLICAS, np.uint8), np.empty(REPLICAS, np.uint8)
    scratch = (energy, code)
    for _ in range(mcs):
        for a in range(len(moves.active)):
            site, species = moves.active[a], moves.species[a]
            if species == 2:
                for r in range(REPLICAS):
                    old[r], new[r] = 0, 1
            else:
                next_words(states, choices)
                for r in range(REPLICAS):
                    step = ((choices[r] >> np.uint64(32)) * np.uint64(species - 1)) >> np.uint64(32)
                    old[r] = spins[site, r]
                    place = np.int64(spins[site, r]) + np.int64(step) + 1
                    new[r] = np.uint8(place - species if place >= species else place)
            energy[:] = 0.0
            add_energies(site, old, new, species, spins, moves.local, table, scratch)
            next_words(states, words)
            uniform(words)
            for r in range(REPLICAS):
                energy[r] *= beta
            exponentials(energy, powers, factors)
            shift_powers(bits)
            for r in range(REPLICAS):
                taken = (uniforms[r] - 1.0) * (1.0 + factors[r] * powers[r]) < 1.0
                spins[site, r] = new[r] if taken else old[r]


@compiled
def exchange_all(
    spins: Any, states: Any, shared: Any, beta: Any, moves: Any, table: Any, mcs: Any
) -> None:
    """``mcs`` Monte Carlo steps of exchanges: as many random pairs of sites of one sublattice as
    there are sites that change, exchanged with probability min(1, exp(−ΔE/T)). All replicas visit
    the pairs that the generator ``shared`` draws."""
    energy, code = np.empty(REPLICAS), np.empty(REPLICAS, np.uint32)
    words = np.empty(REPLICAS, np.uint64)
    uniforms = words.view(np.float64)
    powers, factors = np.empty(REPLICAS), np.empty(REPLICAS)
    bits = powers.view(np.int64)
    one, two = np.empty(REPLICAS, np.uint8), np.empty(REPLICAS, np.uint8)
    scratch = (energy, code)
    sites = len(moves.active)
    for _ in range(mcs * sites):
        a = next_below(shared, sites)
        first, species = moves.active[a], moves.species[a]
        if moves.partners.shape[1]:
            second = moves.partners[a, next_below(shared, moves.partners.shape[1])]
            if second < 0:
                continue
        else:
            second = moves.active[moves.pool_first[a] + next_below(shared, moves.pool_size[a])]
        for r in range(REPLICAS):
            one[r], two[r] = spins[first, r], spins[second, r]
        energy[:] = 0.0
        add_energies(first, one, two, species, spins, moves.local, table, scratch)
        for r in range(REPLICAS):
            spins[first, r] = two[r]
        add_energies(second, two, one, species, spins, moves.local, table, scratch)
        next_words(states, words)
        uniform(words)
        for r in range(REPLICAS):
            energy[r] *= -beta
        exponentials(energy, powers, factors)
        shift_powers(bits)
        for r in range(REPLICAS):
            taken = uniforms[r] - 1.0 < factors[r] * powers[r]
            spins[first, r] = two[r] if taken else one[r]
            spins[second, r] = one[r] if taken else two[r]


@compiled
def count_features(spins: Any, measured: Any, features: Any) -> None:
    """Count every feature of the whole lattice, (features, 64)."""
    code = np.empty(REPLICAS, np.uint32)
    features[:] = 0
    for c in range(len(measured.clusters)):
        i = measured.interaction[c]
        first = np.uint32(measured.first[i])
        for r in range(REPLICAS):
            code[r] = first
        for column in range(measured.clusters.shape[1]):
            site = measured.clusters[c, column]
            if site >= 0:
                stride = np.uint32(measured.strides[i, column])
                for r in range(REPLICAS):
                    code[r] += stride * np.uint32(spins[site, r])
        for k in range(measured.feature_first[i], measured.feature_first[i + 1]):
            f = measured.feature[k]
            for r in range(REPLICAS):
                features[f, r] += measured.values[f, code[r]]


@compiled
def add_classes(spins: Any, measured: Any, histogram: Any) -> None:
    """Add the configuration class of every centre to the counts, (64, classes)."""
    code = np.empty(REPLICAS, np.uint32)
    for c in range(len(measured.centers)):
        center, first = measured.centers[c], np.uint32(measured.class_first[c])
        stride = np.uint32(measured.around_strides[c, 0])
        for r in range(REPLICAS):
            code[r] = first + stride * np.uint32(spins[center, r])
        for column in range(measured.around.shape[1]):
            site = measured.around[c, column]
            if site >= 0:
                stride = np.uint32(measured.around_strides[c, 1 + column])
                for r in range(REPLICAS):
                    code[r] += stride * np.uint32(spins[site, r])
        for r in range(REPLICAS):
            histogram[r, measured.classes[code[r]]] += 1


@compiled
def add_moments(spins: Any, features: Any, couplings: Any, measured: Any, moments: Any) -> None:
    """Add one sample's moments m, |m|, m², m⁴, e and e² of the whole lattice, (64, moments)."""
    m, e = np.zeros(REPLICAS), np.zeros(REPLICAS)
    for site in range(len(spins)):
        kind = measured.spin_kind[site]
        for r in range(REPLICAS):
            m[r] += measured.spins[kind, spins[site, r]]
    for f in range(len(features)):
        for r in range(REPLICAS):
            e[r] += couplings[f] * features[f, r]
    for r in range(REPLICAS):
        square = m[r] * m[r]
        moments[r, 0] += m[r]
        moments[r, 1] += abs(m[r])
        moments[r, 2] += square
        moments[r, 3] += square * square
        moments[r, 4] += e[r]
        moments[r, 5] += e[r] * e[r]
