"""Multispin coding of the moves of a segregation slab: eight points of 64 replicas at once.

Every move exchanges two rows of bits, Ca of two A-sites or oxygen of two hollows, the same in all
replicas, from a pseudo-random sequence of the step only. Its energy change is a sum of differences
D = (ones around one end) − (ones around the other), and each has to pass on its own: so all moves
are :func:`attempt`, on a row of neighbours that is written for it.

    hop       D of Ca on the four corners (w_LO).
    bulk      Two A-sites with six bulk neighbours each, that are no neighbours and not of layer 0:
              D of Ca (2 w_CL).
    surface   Any other two. What a site lacks is filled up so that it adds nothing: a bulk
              neighbour (w_CL) counts as two ones, a missing one as one, whichever way the exchange
              goes; of La–La pairs (−w_LL) a site outside layer 0 has as many as one whose
              neighbours are Ca; and it touches hollows without oxygen (w_LO). Ends that are
              neighbours are missing to each other: an unlike pair stays unlike.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from latticescape.physics.compiled import compiled
from latticescape.physics.kernels.batches import Batch, Floats
from latticescape.physics.kernels.multispin.batches import arrange, dynamics_of, set_dynamics_of
from latticescape.physics.kernels.multispin.counting import (
    count_classes,
    count_unlike,
    count_up,
)
from latticescape.physics.kernels.multispin.exchange import (
    BondTable,
    Filter,
    acceptance_filter,
    attempt,
    first_order,
)
from latticescape.physics.kernels.multispin.simd import WORDS, aligned
from latticescape.physics.kernels.multispin.thresholds import (
    Words,
    load_state,
    seed_state,
    store_state,
)
from latticescape.physics.kernels.streams import next_below
from latticescape.physics.lattices.lattice import Sites
from latticescape.physics.slab.lattice import ARRANGEMENTS, CLASSES, Slab, Tables, tables_of
from latticescape.physics.slab.observables import SlabSums, SlabTask

# Inputs of each difference, from either end.
KINDS = BULK, SURFACE, HOP = (6,), (12, 4, 4), (4,)
COLUMNS = 2 + 2 * sum(SURFACE)
EDGES: tuple[int, ...] = ()

_CALCIUM = CLASSES.neighbors[:ARRANGEMENTS]


class Moves(NamedTuple):
    """What the kernel reads of the lattice and of the points: tables, and a filter a kind of move.

    ``terms`` and ``turned`` are those of bulk, surface and hop: :class:`Filter`.
    """

    tables: Tables
    terms: tuple[Words, ...]
    turned: tuple[Words, ...]


class SlabMultispinBatch(Batch):
    """Eight points; those that lack are copies of the first."""

    def __init__(self, lattice: Slab, tasks: Sequence[SlabTask], sums: Sequence[SlabSums]) -> None:
        self.lattice, self.sums = lattice, sums
        self.tasks = [*tasks, *[tasks[0]] * (WORDS - len(tasks))]
        self.tables = tables_of(lattice, tasks[0].bulk_pairs)
        self.bonds = lattice.bulk_bonds(tasks[0].bulk_pairs)
        places = lattice.sites + lattice.hollows
        # Two rows more: zeros, then ones.
        self.bits = aligned((places + 2, WORDS))
        self.bits[-1] = np.uint64(2**64 - 1)
        for word, task in enumerate(self.tasks):
            arrange(self.bits[: lattice.sites], word, task.seed, task.calcium)
            arrange(self.bits[lattice.sites : places], word, task.seed[::-1], task.oxygen)
        self.state = seed_state(np.stack([task.seed for task in self.tasks]))
        self.order, self.filters = first_order(), self._filters()

    def advance(self, mcs: int) -> None:
        attempts = mcs * (len(self.bits) - 2)
        sizes = tuple(tuple((0,) * m for m in kind) for kind in KINDS)
        for part in range(len(self.filters[0].terms)):
            moves = Moves(
                self.tables,
                tuple(rule.terms[part] for rule in self.filters),
                tuple(rule.turned for rule in self.filters),
            )
            move(
                self.bits,
                moves,
                self.state,
                self.order[part],
                part,
                attempts,
                self.filters[0].width,
                sizes,
            )

    def checkpoint(self, place: int) -> None:
        for target in self.sums:
            target.checkpoints[place] = target.features

    @property
    def points(self) -> int:
        return len(self.sums)

    def dynamics(self) -> Words:
        return dynamics_of(self.points, self.bits[:-2], self.state, self.order)

    def set_dynamics(self, words: Words) -> None:
        set_dynamics_of(words, self.bits[:-2], self.state, self.order)

    def add_sample(self, sample: int) -> None:
        lattice, bits = self.lattice, self.bits
        own = np.arange(lattice.sites, dtype=np.int32)
        layers = own.reshape(lattice.layers, lattice.hollows, 1)
        calcium = np.concatenate([count_up(bits, sites) for sites in layers])
        rings = np.hstack([self.tables.hollow[:, None], self.tables.corners])
        histogram = count_classes(bits, np.ascontiguousarray(rings), 2 * len(_CALCIUM))
        unlike = count_unlike(bits, self.bonds)[0]
        split = count_unlike(bits, lattice.surface_bonds)[0]
        # Every surface site is an end of four bonds.
        la_la = (4 * (lattice.hollows - calcium[0]) - split) // 2
        la_o = np.tensordot(4 - _CALCIUM, histogram[len(_CALCIUM) :], 1)
        features = np.stack([unlike, la_la, la_o])
        for word, target in enumerate(self.sums):
            each = (part[:, :, word].T for part in (features, histogram, calcium))
            target.add(*each)

    def _filters(self) -> tuple[Filter, Filter, Filter]:
        unlike, la_la, la_o = np.stack([task.couplings for task in self.tasks], axis=-1)
        heat = np.array([task.heat for task in self.tasks])
        nobody: Sites = np.empty((0, 0), np.int32)

        def rule(sizes: tuple[int, ...], *amplitudes: Floats) -> Filter:
            return acceptance_filter(BondTable(nobody, sizes, False), np.stack(amplitudes), heat)

        return (
            rule(BULK, 2 * unlike),
            rule(SURFACE, unlike, -la_la, la_o),
            rule(HOP, la_o),
        )


@compiled
def move(
    bits: Any,
    moves: Any,
    state: Any,
    order: Any,
    part: Any,
    attempts: Any,
    width: Any,
    sizes: Any,
) -> None:
    """Attempted moves, one after the other, for the words of one register."""
    tables, terms, turned = moves
    sites, places = len(tables.bulk), bits.shape[0] - 2
    row = np.empty((1, COLUMNS), np.int32)
    generator = load_state(state, part, width)
    for _ in range(attempts):
        first = next_below(order, places)
        if first >= sites:
            second = np.int64(tables.next_hollow[first - sites, next_below(order, 4)])
            write_hop(row, first, second, tables)
            generator = attempt(bits, row, 0, terms[2], turned[2], part, generator, sizes[2], EDGES)
            continue
        second = first + 1 + next_below(order, sites - 1)
        second -= sites * (second >= sites)
        if write_bulk(row, first, second, tables):
            generator = attempt(bits, row, 0, terms[0], turned[0], part, generator, sizes[0], EDGES)
        else:
            write_surface(row, first, second, tables, places)
            generator = attempt(bits, row, 0, terms[1], turned[1], part, generator, sizes[1], EDGES)
    store_state(state, part, generator)


@compiled
def write_hop(row: Any, first: Any, second: Any, tables: Any) -> None:
    """The row of a hop between two hollows: ends, then the corners of either."""
    sites = len(tables.bulk)
    row[0, 0], row[0, 1] = first * WORDS, second * WORDS
    for k in range(4):
        row[0, 2 + k] = tables.corners[first - sites, k] * WORDS
        row[0, 6 + k] = tables.corners[second - sites, k] * WORDS


@compiled
def write_bulk(row: Any, first: Any, second: Any, tables: Any) -> Any:
    """The row of an exchange deep in the bulk; False where it is none, and the row unusable."""
    row[0, 0], row[0, 1] = first * WORDS, second * WORDS
    good = True
    for k in range(6):
        mine, theirs = tables.bulk[first, k], tables.bulk[second, k]
        good &= (mine >= 0) & (theirs >= 0) & (mine != second)
        row[0, 2 + k], row[0, 8 + k] = mine * WORDS, theirs * WORDS
    return good


@compiled
def write_surface(row: Any, first: Any, second: Any, tables: Any, zeros: Any) -> None:
    """The row of any other exchange; ``zeros`` is the row of zeros, behind it that of ones."""
    top, ones = len(tables.hollow), zeros + 1
    row[0, 0], row[0, 1] = first * WORDS, second * WORDS
    for side in range(2):
        site, other = (second, first) if side else (first, second)
        for k in range(6):
            place = tables.bulk[site, k]
            lacking = place < 0 or place == other
            start = 2 + 12 * side + 2 * k
            row[0, start] = (ones if lacking else place) * WORDS
            row[0, start + 1] = (zeros if lacking else place) * WORDS
        for k in range(4):
            place = tables.surface[site, k] if site < top else other
            hollow = tables.touching[site, k] if site < top else zeros
            row[0, 26 + 4 * side + k] = (ones if place == other else place) * WORDS
            row[0, 34 + 4 * side + k] = hollow * WORDS
