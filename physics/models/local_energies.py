"""How features change with the species of one site, as the classes of configurations tell it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import Configurations
from latticescape.physics.lattices.lattice import CRYSTAL, Lattice
from latticescape.physics.lattices.site_classes import ClassRows, SiteClasses, class_rows
from latticescape.physics.models.cluster_expansion import ClusterExpansion
from latticescape.physics.models.interactions import BinaryModel, Integers, SpeciesModel
from latticescape.physics.models.model import Floats, Model, ParametricModel, features_of

Classes = Configurations | SiteClasses

# Cells that no cluster of a preset model reaches beyond.
REACH = 8


@dataclass(frozen=True)
class Surroundings:
    """All arrangements of a site of the basis and its neighbours.

    Attributes
    ----------
    sites
        The site and its neighbours, (1 + neighbours,).
    classes
        Class of every arrangement, one axis of species for each of these sites.
    pairs
        For every neighbour that shares a cluster with the site: the sites of its own surroundings,
        the neighbour first.
    """

    sites: Integers
    classes: Integers
    pairs: tuple[Integers, ...]


@dataclass(frozen=True)
class LocalFeatures:
    """How features change if the centre of a class becomes another species.

    Attributes
    ----------
    surroundings
        Of every site of the basis.
    pools
        For every site of the basis, the number of the sublattice whose composition is conserved as
        one.
    features
        Names of the features that act.
    change
        (classes, species, features): zero for the centre's own species.
    becomes
        The class that the change makes, (classes, species); −1 for a species that the centre may
        not hold.
    undetermined
        Features that depend on more than the class: on sites beyond the neighbours, or on how they
        are arranged within the class.
    """

    surroundings: tuple[Surroundings, ...]
    pools: tuple[int, ...]
    features: tuple[str, ...]
    change: Floats
    becomes: Integers
    undetermined: frozenset[str]


def local_features(model: ParametricModel, classes: Classes, used: frozenset[str]) -> LocalFeatures:
    """The changes of a model's features, from the clusters through one site.

    Parameters
    ----------
    model
        A model on a lattice of two or more species, without random bonds.
    classes
        The classes of local configurations.
    used
        Names of the parameters in use, fixed or to be fitted.

    Raises
    ------
    RequestError
        If the model is another one, or does not support the lattice.

    Examples
    --------
    >>> from latticescape import PairAlloy, configurations
    >>> both = frozenset({"w1", "w2"})
    >>> local = local_features(PairAlloy(), configurations("square"), both)
    >>> local.change[:6, 1, local.features.index("unlike_1")].tolist()
    [4.0, 2.0, 0.0, 0.0, -2.0, -4.0]
    >>> sorted(local.undetermined)
    ['unlike_2']
    """
    disorder = isinstance(model, Model) and model.bond_disorder is not None
    if disorder or not isinstance(model, Model | ClusterExpansion):
        raise RequestError(
            "the energy of a site does not follow from its neighbours",
            came=f"{model.kind}, with random bonds" if disorder else model.kind,
            allowed="Ising models without random bonds, alloys, and cluster expansions",
        )
    lattice = _roomy_lattice(model, classes)
    rows, basis = class_rows(lattice, classes), lattice.geometry.sublattices
    general: SpeciesModel = BinaryModel(model) if isinstance(model, Model) else model
    interactions = general.interactions(lattice, used)
    features = model.acting(used, features_of(interactions))
    names = tuple(name for name in features_of(interactions) if name in features)
    acting = [one for one in interactions if features & set(one.values)]
    undetermined: set[str] = set()
    found, sums = [], []
    for site in range(basis):
        sites = _around(rows, site)
        held = [
            2 if isinstance(classes, Configurations) else len(classes.species[one % basis])
            for one in sites
        ]
        species = np.indices(held).reshape(len(sites), -1)
        strides = rows.strides[site][rows.strides[site] > 0]
        codes = rows.classes[rows.first[site] + strides @ species].astype(np.int64)
        total, partners = np.zeros((len(names), codes.size)), set[int]()
        for interaction in acting:
            through = interaction.clusters[(interaction.clusters == site).any(axis=1)]
            place = np.argmax(through[..., None] == sites, axis=-1)
            if np.any(sites[place] != through):
                undetermined.update(features & set(interaction.values))
                continue
            partners.update(through.ravel().tolist())
            for name in features & set(interaction.values):
                values = interaction.values[name]
                total[names.index(name)] += sum(values[tuple(species[own])] for own in place)
        pairs = tuple(_around(rows, other) for other in sites[1:].tolist() if other in partners)
        found.append(Surroundings(sites, codes.reshape(held), pairs))
        sums.append(total.reshape(len(names), *held))
    becomes, change, varying = _changes(found, sums, len(classes))
    undetermined.update(np.array(names)[varying].tolist())
    own = general.pools(lattice)
    return LocalFeatures(
        tuple(found),
        tuple(sorted(set(own)).index(pool) for pool in own),
        names,
        change,
        becomes,
        frozenset(undetermined),
    )


def _around(rows: ClassRows, site: int) -> Integers:
    """A site of a periodic lattice and its neighbours."""
    sites = np.array([site, *rows.around[site]], np.int64)
    return np.asarray(sites[rows.strides[site] > 0])


def _changes(
    found: Sequence[Surroundings], sums: Sequence[Floats], classes: int
) -> tuple[Integers, Floats, npt.NDArray[np.bool_]]:
    """What a new species of the centre makes of each class, the change of the features, and which
    features change differently within a class."""
    most, features = max(one.classes.shape[0] for one in found), len(sums[0])
    becomes = np.full((classes, most), -1)
    change = np.zeros((classes, most, features))
    varying = np.zeros(features, bool)
    for compare in (False, True):
        for one, total in zip(found, sums, strict=True):
            for centre, other in np.ndindex((one.classes.shape[0],) * 2):
                own = one.classes[centre].ravel()
                difference = (total[:, other] - total[:, centre]).reshape(features, own.size).T
                if compare:
                    varying |= (np.abs(change[own, other] - difference) > 1e-9).any(axis=0)
                else:
                    becomes[own, other] = one.classes[other].ravel()
                    change[own, other] = difference
    return becomes, change, varying


def _roomy_lattice(model: ParametricModel, classes: Classes) -> Lattice:
    """A periodic lattice on which clusters and neighbourhoods do not reach around."""
    extent = REACH
    if isinstance(model, ClusterExpansion):
        rows = [np.ptp(np.array(t.cluster), axis=0) for t in model.terms.values() if t.cluster]
        extent = max([extent, *(int(row.max()) for row in rows)])
    if isinstance(classes, Configurations):
        return Lattice(classes.kind, extent + 2)
    steps = [step.cells for site in range(len(classes.species)) for step in classes.steps(site)]
    ring = int(np.abs(steps).max())
    size = max(extent, ring) + ring + 1
    if classes.kind == CRYSTAL:
        return Lattice(CRYSTAL, size, crystal=classes.geometry)
    return Lattice(classes.kind, size)
