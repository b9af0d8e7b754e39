"""Moves of a segregation slab, one replica after the other: plain, slow, obvious.

A state is one array of bits: 1 for Ca on the A-sites, then 1 for oxygen on the hollows. A Monte
Carlo step attempts one move for every A-site and hollow: an exchange of an A-site with any other,
or a hop of a hollow's oxygen to a neighbouring hollow, accepted with min(1, exp(−ΔE/RT)).
"""

from typing import Any

import numpy as np

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.reference import draw_arrangement
from latticescape.physics.kernels.streams import next_below, next_uniform, replica_state
from latticescape.physics.lattices.configurations import add_configurations


@compiled
def begin(bits: Any, states: Any, seed: Any, sites: Any, calcium: Any, oxygen: Any) -> None:
    """Seed every replica's generator and arrange its atoms at random: (64, places), (64, 4)."""
    for replica in range(len(bits)):
        replica_state(seed, replica, states[replica])
        draw_arrangement(bits[replica, :sites], states[replica], calcium)
        draw_arrangement(bits[replica, sites:], states[replica], oxygen)


@compiled
def energy_at(place: Any, bits: Any, tables: Any, couplings: Any) -> Any:
    """Energy of all that one place takes part in."""
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
def trade(
    first: Any, second: Any, bits: Any, state: Any, tables: Any, couplings: Any, heat: Any
) -> None:
    """Attempt to exchange what stands on two places.

    What both take part in is counted twice, before and after alike: a pair of unlike cations stays
    one, and is never La–La.
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
            trade(first, second, bits[replica], state, tables, couplings, heat)


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
