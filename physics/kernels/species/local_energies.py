"""Tables that give the energy of a site for any species on it and around it.

A move needs the energy of a site for its old and its new species. The clusters that touch a site
are gathered into *blocks*: a block reads some other sites, its members, and has an energy for every
species of the site and every *code*, Σ weight · species over its members. Pairs of one kind with
members of two species need only know how many members hold the second, so their weights are equal;
other clusters have a code for each arrangement of their members. Blocks are merged as long as their
tables stay small, because a block costs one look-up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.species.exponential import exp_of
from latticescape.physics.lattices.configurations import code_weights
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.interactions import Integers, Interaction
from latticescape.physics.models.model import Floats, features_of

# Energies of one block, so that they stay in the first-level cache.
MOST_ENERGIES = 4096

# A product of Boltzmann factors stays far from the limits of floating-point numbers, exp(±709).
MOST_EXPONENT = 600.0


class Row(NamedTuple):
    """A cluster that touches a site: its other sites, and its additions to the features,
    (features, own species, species of the others …)."""

    others: tuple[int, ...]
    values: Integers


@dataclass(frozen=True)
class Block:
    """Some clusters that touch a site.

    Attributes
    ----------
    members, weights
        Sites that are read, and the weight of each in the code.
    values
        Additions to the features, (features, own species, codes).
    """

    members: tuple[int, ...]
    weights: tuple[int, ...]
    values: Integers

    @property
    def codes(self) -> int:
        return int(self.values.shape[2])

    def merged(self, other: "Block") -> "Block":
        """One block with the codes of both."""
        own, others = self.values[:, :, None, :], other.values[:, :, :, None]
        features, species = self.values.shape[:2]
        return Block(
            self.members + other.members,
            self.weights + tuple(self.codes * w for w in other.weights),
            (own + others).reshape(features, species, -1),
        )


class LocalTables(NamedTuple):
    """The blocks of all sites, as compiled code reads them.

    Attributes
    ----------
    kind
        The kind of each site; sites of a kind have equal blocks, (sites,).
    members
        Members of the blocks of each site, in the order of the blocks, (all,); those of site i
        begin at ``first[i]``.
    first
        (sites,).
    blocks
        Rows ``blocks[k]:blocks[k + 1]`` of the next three belong to the kind k, (kinds + 1,).
    size, codes, offset
        Number of members, number of codes, and first energy of each block, (blocks,).
    weights
        Of the members, in the order of the blocks of each kind, (all,); those of kind k begin at
        ``weight_first[k]``.
    weight_first
        (kinds,).
    """

    kind: Integers
    members: npt.NDArray[np.int32]
    first: Integers
    blocks: Integers
    size: Integers
    codes: Integers
    offset: Integers
    weights: npt.NDArray[np.int32]
    weight_first: Integers


@dataclass(frozen=True)
class LocalEnergies:
    """The blocks of a lattice's sites for some interactions.

    Parameters
    ----------
    lattice
        The lattice; blocks are made for one site of each kind and moved by translations.
    species
        Number of species that each site of the basis may hold.
    interactions
        The interactions.
    """

    lattice: Lattice
    species: tuple[int, ...]
    interactions: tuple[Interaction, ...]

    @cached_property
    def features(self) -> tuple[str, ...]:
        return features_of(self.interactions)

    @cached_property
    def _copies(self) -> list[Integers]:
        """The sites that translations along the periodic axes map to each other, one list for each
        site of the basis and each place along the open axes."""
        lattice = self.lattice
        axes = np.unravel_index(np.arange(lattice.sites), (*lattice.shape, len(self.species)))
        fixed = [axis for axis, along in enumerate(lattice.periodic) if not along]
        keys = np.zeros(lattice.sites, np.int64)
        for axis in [*fixed, -1]:
            keys = keys * (int(axes[axis].max()) + 1) + axes[axis]
        order = np.argsort(keys, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)

    @cached_property
    def _representatives(self) -> Integers:
        """The first site of each list of copies."""
        return np.array([copies[0] for copies in self._copies])

    @cached_property
    def _blocks(self) -> list[list[Block]]:
        rows = self._rows()
        return [
            blocks_of(
                rows[site],
                self._species_at,
                np.zeros((len(self.features), self._species_at(site)), np.int64),
            )
            for site in self._representatives.tolist()
        ]

    def _species_at(self, site: int) -> int:
        return self.species[site % len(self.species)]

    def _rows(self) -> dict[int, list[Row]]:
        """The clusters that touch each representative."""
        rows: dict[int, list[Row]] = {int(site): [] for site in self._representatives}
        for each in self.interactions:
            width = each.clusters.shape[1]
            shape = next(iter(each.values.values())).shape
            values = np.zeros((len(self.features), *shape), np.int64)
            for name, numbers in each.values.items():
                values[self.features.index(name)] = numbers
            touched = np.isin(each.clusters, self._representatives)
            for cluster, column in zip(*np.nonzero(touched), strict=True):
                sites = each.clusters[cluster].tolist()
                others = tuple(sites[:column] + sites[column + 1 :])
                order = [0, 1 + column, *(1 + k for k in range(width) if k != column)]
                rows[sites[column]].append(Row(others, values.transpose(order)))
        return rows

    @cached_property
    def _kinds(self) -> tuple[list[list[Block]], list[int]]:
        """The different blocks, and which of them each representative has: inside of an open
        lattice most sites have equal ones."""
        kinds: dict[tuple[Any, ...], int] = {}
        numbers, different = [], []
        for blocks in self._blocks:
            key = tuple((b.weights, b.values.shape, b.values.tobytes()) for b in blocks)
            if key not in kinds:
                kinds[key] = len(kinds)
                different.append(blocks)
            numbers.append(kinds[key])
        return different, numbers

    @cached_property
    def tables(self) -> LocalTables:
        """The blocks as arrays; what they add at a point is :meth:`table`."""
        lattice, basis = self.lattice, self.lattice.geometry.sublattices
        shape = np.array(lattice.shape)
        different, numbers = self._kinds
        kind = np.empty(lattice.sites, np.int64)
        length = np.zeros(lattice.sites, np.int64)
        moved = []
        for copies, blocks, number in zip(self._copies, self._blocks, numbers, strict=True):
            members = np.array([m for block in blocks for m in block.members], np.int64)
            here = np.array(np.unravel_index(copies[0] // basis, lattice.shape))
            steps = np.array(np.unravel_index(members // basis, lattice.shape)) - here[:, None]
            cells = np.array(np.unravel_index(copies // basis, lattice.shape))
            reached = (cells[:, :, None] + steps[:, None, :]) % shape[:, None, None]
            sites = np.ravel_multi_index(tuple(reached), lattice.shape) * basis + members % basis
            kind[copies], length[copies] = number, len(members)
            moved.append((copies, sites))
        first = np.concatenate([[0], np.cumsum(length)[:-1]])
        every = np.empty(int(length.sum()), np.int32)
        for copies, sites in moved:
            every[first[copies][:, None] + np.arange(sites.shape[1])] = sites
        flat = [block for blocks in different for block in blocks]
        weights = [[w for block in blocks for w in block.weights] for blocks in different]
        sizes = [block.values.shape[1] ** 2 * block.codes for block in flat]
        return LocalTables(
            kind=kind,
            members=every,
            first=first,
            blocks=np.cumsum([0, *map(len, different)]),
            size=np.array([len(block.members) for block in flat], np.int64),
            codes=np.array([block.codes for block in flat], np.int64),
            offset=np.cumsum([0, *sizes[:-1]], dtype=np.int64),
            weights=np.array([w for own in weights for w in own], np.int32),
            weight_first=np.cumsum([0, *map(len, weights[:-1])], dtype=np.int64),
        )

    def table(self, couplings: Floats, temperature: float) -> tuple[Floats, bool]:
        """What the blocks add at one point.

        Returns
        -------
        table
            For each block (old species, new species, codes), flat: the Boltzmann factor of the
            change from the old species to the new one or, if a product of factors might leave the
            range of floating-point numbers, its energy.
        factors
            Whether the table has factors.
        """
        parts, largest = [], []
        for blocks in self._kinds[0]:
            changes = [_changes(block, couplings) for block in blocks]
            parts += [change.ravel() for change in changes]
            largest.append(sum(float(np.abs(change).max()) for change in changes))
        energies = np.concatenate(parts)
        # An exchange multiplies the factors of two sites.
        if 2 * max(largest) / temperature > MOST_EXPONENT:
            return energies, False
        return exp_of(energies / -temperature), True


def _changes(block: Block, couplings: Floats) -> Floats:
    """Energy of the new species minus that of the old: (old, new, codes)."""
    energy = np.zeros(block.values.shape[1:])
    for coupling, values in zip(couplings, block.values, strict=True):
        energy += coupling * values
    changes: Floats = energy[None, :, :] - energy[:, None, :]
    return changes


def blocks_of(rows: Sequence[Row], species: Callable[[int], int], blank: Integers) -> list[Block]:
    """The blocks of a site.

    Parameters
    ----------
    rows
        The clusters that touch it.
    species
        The number of species that a site may hold.
    blank
        Zeros, (features, species of the site).
    """
    pairs: dict[bytes, list[Row]] = {}
    wide: list[list[Row]] = []
    for row in rows:
        if len(row.others) == 1 and species(row.others[0]) == 2:
            pairs.setdefault(row.values.tobytes(), []).append(row)
        else:
            _gather(wide, row, species, blank.shape[1])
    counted = []
    for alike in pairs.values():
        members = tuple(row.others[0] for row in alike)
        holding = [rows for rows in wide if set(members) <= set(_members(rows))]
        if holding:
            holding[0].extend(alike)
        else:
            numbers = np.arange(len(alike) + 1)
            zero, one = alike[0].values[..., :1], alike[0].values[..., 1:]
            values = zero * (len(alike) - numbers) + one * numbers
            counted.append(Block(members, (1,) * len(members), values))
    blocks = [*(_block(rows, species, blank) for rows in wide), *counted]
    merged = [Block((), (), blank[:, :, None])]
    for block in sorted(blocks, key=lambda block: block.codes):
        if merged[-1].codes * block.codes * blank.shape[1] ** 2 <= MOST_ENERGIES:
            merged[-1] = merged[-1].merged(block)
        else:
            merged.append(block)
    return merged


def _members(rows: Sequence[Row]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(site for row in rows for site in row.others))


def _gather(wide: list[list[Row]], row: Row, species: Callable[[int], int], own: int) -> None:
    """Add a cluster to the first that stay few enough arrangements with it."""
    for rows in wide:
        codes = np.prod([species(site) for site in _members([*rows, row])], dtype=object)
        if codes * own * own <= MOST_ENERGIES:
            rows.append(row)
            return
    wide.append([row])


def _block(rows: Sequence[Row], species: Callable[[int], int], blank: Integers) -> Block:
    """One block of clusters, whose code has a number for each arrangement of its members."""
    members = _members(rows)
    shape = [species(site) for site in members]
    values = np.zeros((*blank.shape, *shape), np.int64)
    for row in rows:
        places = [members.index(site) for site in row.others]
        order = np.argsort(places)
        axes = [q if place in places else 1 for place, q in enumerate(shape)]
        values += row.values.transpose(0, 1, *(2 + order)).reshape(*blank.shape, *axes)
    # The last member runs fastest.
    weights = tuple(code_weights(shape).tolist())
    return Block(members, weights, values.reshape(*blank.shape, -1))
