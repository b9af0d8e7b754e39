"""Rejection-free kinetic Monte Carlo of adatoms: every step is a hop with a waiting time.

The n-fold way with one class for each adatom: a binary tree holds the sums of the adatoms' rates,
so that drawing an adatom and changing its rate take log2(adatoms) steps. A node is recomputed from
its two children whenever one changes: rates depend only on the arrangement, and rounding errors do
not accumulate.

References
----------
Bortz, Kalos and Lebowitz, J. Comput. Phys. 17, 10 (1975), 10.1016/0021-9991(75)90060-1; Gillespie,
J. Comput. Phys. 22, 403 (1976), for the time of a step.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.reference import draw_arrangement
from latticescape.physics.kernels.streams import next_uniform, replica_state

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Surface(NamedTuple):
    """The tables of the surface on which adatoms hop.

    Attributes
    ----------
    neighbors
        Nearest sites, (sites, z).
    types
        Type of every site, (sites,).
    steps
        Vector of every hop by sublattice of its origin, (sublattices, z, 2).
    factors
        Rate of a hop by the types of both sites and the change in neighbouring adatoms plus z,
        (types, types, 2z + 1), in units of the rate between sites of one type.
    interacting
        Whether adatoms interact: a hop then changes the rates of adatoms two bonds away.
    """

    neighbors: npt.NDArray[np.int32]
    types: Integers
    steps: Floats
    factors: Floats
    interacting: bool


class Walkers(NamedTuple):
    """The adatoms of all replicas, one row for each replica.

    Attributes
    ----------
    sites
        Site of every adatom, (64, adatoms).
    adatoms
        Adatom at every site, or −1, (64, sites).
    rates
        Sum tree over adatoms: node 1 is the root, 2k and 2k + 1 the children of k, (64, 2 leaves).
    shifts
        Displacement of every adatom since the window began, (64, adatoms, 2).
    counts
        Adatoms on sites of each type, and pairs of neighbours, (64, types + 1).
    states
        Random streams, (64, 4).
    """

    sites: Integers
    adatoms: Integers
    rates: Floats
    shifts: Floats
    counts: Integers
    states: npt.NDArray[np.uint64]


class Sums(NamedTuple):
    """Sums over one point's hops, one row per replica; times in units of 1 / (rate between sites of
    one type).

    Attributes
    ----------
    time
        (64,).
    weighted
        Time integral of each of the ``counts``, (64, types + 1).
    hops
        From type to type, (64, types, types).
    squares
        Squared displacement over a window, mean over adatoms, sum over windows, (64,).
    """

    time: Floats
    weighted: Floats
    hops: Integers
    squares: Floats


@compiled
def neighbors_taken(site: Any, without: Any, adatoms: Any, surface: Any) -> Any:
    """Number of adatoms on the nearest sites of a site, except the site ``without``."""
    taken = 0
    for k in range(surface.neighbors.shape[1]):
        near = surface.neighbors[site, k]
        if near != without and adatoms[near] >= 0:
            taken += 1
    return taken


@compiled
def hop_rate(site: Any, way: Any, adatoms: Any, surface: Any) -> Any:
    """Rate of the hop from an occupied site along one of its bonds; 0 if its end is occupied."""
    end = surface.neighbors[site, way]
    if adatoms[end] >= 0:
        return 0.0
    gained = 0
    if surface.interacting:
        gained = neighbors_taken(end, site, adatoms, surface)
        gained -= neighbors_taken(site, end, adatoms, surface)
    z = surface.neighbors.shape[1]
    return surface.factors[surface.types[site], surface.types[end], gained + z]


@compiled
def total_rate(site: Any, adatoms: Any, surface: Any) -> Any:
    """Sum of the rates of all hops from an occupied site."""
    total = 0.0
    for way in range(surface.neighbors.shape[1]):
        total += hop_rate(site, way, adatoms, surface)
    return total


@compiled
def set_rate(rates: Any, adatom: Any, rate: Any) -> None:
    """Change one adatom's rate, and all sums above it."""
    node = len(rates) // 2 + adatom
    rates[node] = rate
    while node > 1:
        node //= 2
        rates[node] = rates[2 * node] + rates[2 * node + 1]


@compiled
def draw_hop(walkers: Any, r: Any, surface: Any) -> Any:
    """An adatom and a way for it, with probability proportional to the hop's rate."""
    rates = walkers.rates[r]
    left, node = next_uniform(walkers.states[r]) * rates[1], 1
    while node < len(rates) // 2:
        node *= 2
        if left >= rates[node] and rates[node + 1] > 0.0:
            left -= rates[node]
            node += 1
    adatom, chosen = node - len(rates) // 2, -1
    site = walkers.sites[r, adatom]
    for way in range(surface.neighbors.shape[1]):
        rate = hop_rate(site, way, walkers.adatoms[r], surface)
        # After rounding errors the last possible hop is chosen.
        if rate > 0.0 and (left >= 0.0 or chosen < 0):
            chosen = way
            left -= rate
    return adatom, chosen


@compiled
def refresh(site: Any, walkers: Any, r: Any, surface: Any) -> None:
    """Update the rates of all adatoms whose hops depend on this site."""
    adatoms = walkers.adatoms[r]
    for k in range(surface.neighbors.shape[1]):
        near = surface.neighbors[site, k]
        if adatoms[near] >= 0:
            set_rate(walkers.rates[r], adatoms[near], total_rate(near, adatoms, surface))
        if surface.interacting:
            for m in range(surface.neighbors.shape[1]):
                second = surface.neighbors[near, m]
                if adatoms[second] >= 0:
                    rate = total_rate(second, adatoms, surface)
                    set_rate(walkers.rates[r], adatoms[second], rate)


@compiled
def hop(walkers: Any, r: Any, adatom: Any, way: Any, surface: Any) -> None:
    """Execute a hop."""
    adatoms, start = walkers.adatoms[r], walkers.sites[r, adatom]
    end = surface.neighbors[start, way]
    gained = neighbors_taken(end, start, adatoms, surface)
    gained -= neighbors_taken(start, end, adatoms, surface)
    adatoms[start], adatoms[end] = -1, adatom
    walkers.sites[r, adatom] = end
    step = surface.steps[start % len(surface.steps), way]
    walkers.shifts[r, adatom, 0] += step[0]
    walkers.shifts[r, adatom, 1] += step[1]
    walkers.counts[r, surface.types[start]] -= 1
    walkers.counts[r, surface.types[end]] += 1
    walkers.counts[r, -1] += gained
    set_rate(walkers.rates[r], adatom, total_rate(end, adatoms, surface))
    refresh(start, walkers, r, surface)
    refresh(end, walkers, r, surface)


@compiled
def waiting_time(walkers: Any, r: Any) -> Any:
    """Time until the next hop, drawn from its exponential distribution."""
    return -np.log(1.0 - next_uniform(walkers.states[r])) / walkers.rates[r, 1]


@compiled
def initialize(walkers: Any, seed: Any, surface: Any) -> None:
    """Seed every replica and place its adatoms at random."""
    occupied = np.empty(walkers.adatoms.shape[1], np.uint8)
    for r in range(len(walkers.sites)):
        replica_state(seed, r, walkers.states[r])
        draw_arrangement(occupied, walkers.states[r], walkers.sites.shape[1])
        place(walkers, r, occupied, surface)


@compiled
def place(walkers: Any, r: Any, occupied: Any, surface: Any) -> None:
    """Place a replica's adatoms on the occupied sites."""
    number = 0
    for site in range(len(occupied)):
        if occupied[site]:
            walkers.sites[r, number] = site
            number += 1
    settle(walkers, r, surface)


@compiled
def settle(walkers: Any, r: Any, surface: Any) -> None:
    """Fill in everything that follows from the sites of a replica's adatoms."""
    walkers.rates[r], walkers.counts[r], walkers.shifts[r] = 0.0, 0, 0.0
    walkers.adatoms[r] = -1
    for adatom, site in enumerate(walkers.sites[r]):
        walkers.adatoms[r, site] = adatom
        walkers.counts[r, surface.types[site]] += 1
    touching = 0
    for adatom, site in enumerate(walkers.sites[r]):
        touching += neighbors_taken(site, -1, walkers.adatoms[r], surface)
        set_rate(walkers.rates[r], adatom, total_rate(site, walkers.adatoms[r], surface))
    walkers.counts[r, -1] = touching // 2


@compiled
def advance(walkers: Any, surface: Any, hops: Any) -> None:
    """``hops`` hops of every replica, without measuring."""
    for r in range(len(walkers.sites)):
        for _ in range(hops):
            adatom, way = draw_hop(walkers, r, surface)
            hop(walkers, r, adatom, way, surface)


@compiled
def measure(walkers: Any, surface: Any, hops: Any, sums: Any) -> None:
    """``hops`` hops of every replica, weighted with the waiting time before each."""
    for r in range(len(walkers.sites)):
        for _ in range(hops):
            waited = waiting_time(walkers, r)
            sums.time[r] += waited
            for k in range(walkers.counts.shape[1]):
                sums.weighted[r, k] += waited * walkers.counts[r, k]
            adatom, way = draw_hop(walkers, r, surface)
            start = walkers.sites[r, adatom]
            hop(walkers, r, adatom, way, surface)
            end = walkers.sites[r, adatom]
            sums.hops[r, surface.types[start], surface.types[end]] += 1


@compiled
def close_window(walkers: Any, sums: Any) -> None:
    """Add every replica's mean squared displacement and begin a new window."""
    for r in range(len(walkers.sites)):
        square = 0.0
        for adatom in range(walkers.sites.shape[1]):
            square += walkers.shifts[r, adatom, 0] ** 2 + walkers.shifts[r, adatom, 1] ** 2
        sums.squares[r] += square / walkers.sites.shape[1]
        walkers.shifts[r] = 0.0


@compiled
def follow(walkers: Any, surface: Any, times: Any, adatoms: Any, ways: Any, starts: Any) -> None:
    """The hops of the first replica one by one: time from the beginning, adatom, site, way."""
    now = 0.0
    for k in range(len(times)):
        now += waiting_time(walkers, 0)
        adatom, way = draw_hop(walkers, 0, surface)
        times[k], adatoms[k], ways[k] = now, adatom, way
        starts[k] = walkers.sites[0, adatom]
        hop(walkers, 0, adatom, way, surface)
