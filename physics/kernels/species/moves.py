"""Monte Carlo moves and measurements for any species and clusters, in plain compiled code.

The species of a site is one byte for each of the 64 replicas, (sites, 64). A move visits the same
sites in all replicas, so that loops over replicas are vector instructions; the replicas stay
independent, because each decides with random numbers of its own.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.species.exponential import exponentials, shift_powers
from latticescape.physics.kernels.species.local_energies import LocalTables
from latticescape.physics.kernels.streams import next_below
from latticescape.physics.models.interactions import Integers
from latticescape.physics.models.model import REPLICAS


class Pairs(NamedTuple):
    """Which sites of a lattice change, and with which each may be exchanged.

    Attributes
    ----------
    active
        Sites with two species or more, (active,).
    pool_first, pool_size
        The part of ``active`` that a site may exchange with, (active,) each.
    partners
        The neighbours that each may exchange with, (active, most), −1 for none; no columns where it
        may exchange with any of its pool.
    """

    active: npt.NDArray[np.int32]
    pool_first: Integers
    pool_size: Integers
    partners: npt.NDArray[np.int32]


class Moves(NamedTuple):
    """What the moves of one lattice read.

    Attributes
    ----------
    local
        The blocks of every site.
    pairs
        The sites that change.
    species
        Number of species of each of them, (active,).
    mixed
        Whether some sites have two species and others more.
    """

    local: LocalTables
    pairs: Pairs
    species: npt.NDArray[np.int32]
    mixed: bool


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
        The order parameter, (components, sites of the basis, species).
    spin_kind
        The site of the basis that each site is, (sites,).
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
def apply_block_tables(
    site: Any,
    old: Any,
    new: Any,
    species: Any,
    spins: Any,
    change: Any,
    code: Any,
    table: Any,
    factors: Any,
    kind: Any,
    members: Any,
    first: Any,
    blocks: Any,
    size: Any,
    codes: Any,
    offset: Any,
    weights: Any,
    weight_first: Any,
) -> None:
    """Take ``old`` to ``new`` on a site, (64,) each: multiply ``change`` by the Boltzmann factors
    of its blocks or, if ``table`` has energies, add them. The last arguments are those of
    :class:`LocalTables`, because compiled code counts a reference whenever it opens a tuple."""
    own = kind[site]
    member, weight = first[site], weight_first[own]
    for b in range(blocks[own], blocks[own + 1]):
        number = np.uint16(codes[b])
        for r in range(REPLICAS):
            code[r] = (np.uint16(old[r]) * np.uint16(species) + np.uint16(new[r])) * number
        for _ in range(size[b]):
            other, w = members[member], np.uint16(weights[weight])
            for r in range(REPLICAS):
                code[r] += np.uint16(spins[other, r]) * w
            member += 1
            weight += 1
        begin = np.uint64(offset[b])
        if factors:
            for r in range(REPLICAS):
                change[r] *= table[begin + np.uint64(code[r])]
        else:
            for r in range(REPLICAS):
                change[r] += table[begin + np.uint64(code[r])]


@compiled
def fill(values: Any, value: Any) -> None:
    """Set all values, (64,)."""
    for r in range(REPLICAS):
        values[r] = value


@compiled
def boltzmann_factors(change: Any, beta: Any, sums: Any, powers: Any, bits: Any) -> None:
    """Turn energies into exp(−E/T), in place."""
    for r in range(REPLICAS):
        change[r] *= -beta
    exponentials(change, powers, sums)
    shift_powers(bits)
    for r in range(REPLICAS):
        change[r] = sums[r] * powers[r]


@compiled
def choose_others(spins: Any, site: Any, species: Any, words: Any, old: Any, new: Any) -> None:
    """For every replica, the species of a site and a random other one."""
    for r in range(REPLICAS):
        step = ((words[r] >> np.uint64(32)) * np.uint64(species - 1)) >> np.uint64(32)
        place = np.int64(spins[site, r]) + np.int64(step) + 1
        old[r] = spins[site, r]
        new[r] = np.uint8(place - species if place >= species else place)


@compiled
def flip_all(
    spins: Any, states: Any, beta: Any, moves: Any, table: Any, factors: Any, mcs: Any
) -> None:
    """``mcs`` Monte Carlo steps of single-site changes: every site in turn is offered one of its
    other species, taken with probability 1 / (1 + exp(ΔE/T)), which for two species is the heat
    bath (Barker, Aust. J. Phys. 18, 119 (1965)). ``table`` has Boltzmann factors if ``factors``,
    else energies."""
    change, code = np.empty(REPLICAS), np.empty(REPLICAS, np.uint16)
    words = np.empty(REPLICAS, np.uint64)
    uniforms = words.view(np.float64)
    sums, powers = np.empty(REPLICAS), np.empty(REPLICAS)
    bits = powers.view(np.int64)
    old, new = np.zeros(REPLICAS, np.uint8), np.ones(REPLICAS, np.uint8)
    active, several = moves.pairs.active, moves.species
    kind, members, first, blocks, size, codes, offset, weights, weight_first = moves.local
    for _ in range(mcs):
        for a in range(len(active)):
            site, species = active[a], several[a]
            if species > 2:
                next_words(states, words)
                choose_others(spins, site, species, words, old, new)
            elif moves.mixed:
                for r in range(REPLICAS):
                    old[r], new[r] = 0, 1
            fill(change, 1.0 if factors else 0.0)
            apply_block_tables(
                site,
                old,
                new,
                species,
                spins,
                change,
                code,
                table,
                factors,
                kind,
                members,
                first,
                blocks,
                size,
                codes,
                offset,
                weights,
                weight_first,
            )
            if not factors:
                boltzmann_factors(change, beta, sums, powers, bits)
            next_words(states, words)
            uniform(words)
            for r in range(REPLICAS):
                # Probability f / (1 + f), with the Boltzmann factor f.
                taken = (uniforms[r] - 1.0) * (1.0 + change[r]) < change[r]
                spins[site, r] = new[r] if taken else old[r]


@compiled
def exchange_all(
    spins: Any,
    states: Any,
    shared: Any,
    beta: Any,
    moves: Any,
    table: Any,
    factors: Any,
    mcs: Any,
) -> None:
    """``mcs`` Monte Carlo steps of exchanges: as many random pairs of sites of one sublattice as
    there are sites that change, exchanged with probability min(1, exp(−ΔE/T)). All replicas visit
    the pairs that the generator ``shared`` draws. ``table`` as for :func:`flip_all`."""
    change, code = np.empty(REPLICAS), np.empty(REPLICAS, np.uint16)
    words = np.empty(REPLICAS, np.uint64)
    uniforms = words.view(np.float64)
    sums, powers = np.empty(REPLICAS), np.empty(REPLICAS)
    bits = powers.view(np.int64)
    one, two = np.empty(REPLICAS, np.uint8), np.empty(REPLICAS, np.uint8)
    (active, pool_first, pool_size, partners), several = moves.pairs, moves.species
    kind, members, first, blocks, size, codes, offset, weights, weight_first = moves.local
    for _ in range(mcs * len(active)):
        a = next_below(shared, len(active))
        here, species = active[a], several[a]
        if partners.shape[1]:
            there = partners[a, next_below(shared, partners.shape[1])]
            if there < 0:
                continue
        else:
            there = active[pool_first[a] + next_below(shared, pool_size[a])]
        for r in range(REPLICAS):
            one[r], two[r] = spins[here, r], spins[there, r]
        fill(change, 1.0 if factors else 0.0)
        for end in range(2):
            apply_block_tables(
                there if end else here,
                two if end else one,
                one if end else two,
                species,
                spins,
                change,
                code,
                table,
                factors,
                kind,
                members,
                first,
                blocks,
                size,
                codes,
                offset,
                weights,
                weight_first,
            )
            if not end:
                for r in range(REPLICAS):
                    spins[here, r] = two[r]
        if not factors:
            boltzmann_factors(change, beta, sums, powers, bits)
        next_words(states, words)
        uniform(words)
        for r in range(REPLICAS):
            taken = uniforms[r] - 1.0 < change[r]
            spins[here, r] = two[r] if taken else one[r]
            spins[there, r] = one[r] if taken else two[r]


@compiled
def count_features(spins: Any, measured: Any, features: Any) -> None:
    """Count every feature of the whole lattice, (features, 64)."""
    code = np.empty(REPLICAS, np.uint32)
    for f in range(len(features)):
        for r in range(REPLICAS):
            features[f, r] = 0
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
    m, e = np.zeros((len(measured.spins), REPLICAS)), np.zeros(REPLICAS)
    for c in range(len(m)):
        for site in range(len(spins)):
            kind = measured.spin_kind[site]
            for r in range(REPLICAS):
                m[c, r] += measured.spins[c, kind, spins[site, r]]
    for f in range(len(features)):
        for r in range(REPLICAS):
            e[r] += couplings[f] * features[f, r]
    for r in range(REPLICAS):
        square = 0.0
        for c in range(len(m)):
            square += m[c, r] * m[c, r]
        moments[r, 0] += m[0, r]
        moments[r, 1] += np.sqrt(square)
        moments[r, 2] += square
        moments[r, 3] += square * square
        moments[r, 4] += e[r]
        moments[r, 5] += e[r] * e[r]
