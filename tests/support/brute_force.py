"""Thermal averages of any species on a small lattice, by the sum over all arrangements."""

from itertools import product

import numpy as np
import numpy.typing as npt

from latticescape.physics import Lattice, SiteClasses
from latticescape.physics.kernels.observables import estimates
from latticescape.physics.lattices.configurations import Configurations
from latticescape.physics.lattices.site_classes import class_rows
from latticescape.physics.models.cluster_expansion import ClusterExpansion
from latticescape.physics.models.model import features_of

MOST_ARRANGEMENTS = 200_000


def arrangements(
    species: list[int], pools: list[npt.NDArray[np.int32]], numbers: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.uint8]:
    """All arrangements, (arrangements, sites); of these numbers of each species on each pool."""
    rows = np.array(list(product(*(range(q) for q in species))), np.uint8)
    if numbers is None:
        return rows
    fits = np.ones(len(rows), bool)
    for pool, wanted in zip(pools, numbers, strict=True):
        for kind, number in enumerate(wanted):
            fits &= (rows[:, pool] == kind).sum(axis=1) == number
    return rows[fits]


def exact_averages(
    model: ClusterExpansion,
    lattice: Lattice,
    point: dict[str, float],
    classes: Configurations | SiteClasses,
) -> dict[str, npt.NDArray[np.float64]]:
    """Per site, as a Dataset has them; ``features`` of the whole lattice, and ``configurations``.

    Energies are the sums over the model's clusters, which other tests hold against the geometry.
    """
    names = model.species(lattice)
    basis = len(names)
    own = [len(names[site % basis]) for site in range(lattice.sites)]
    assert np.prod(own, dtype=object) <= MOST_ARRANGEMENTS
    points = {name: np.array([value]) for name, value in {**model.fixed(point), **point}.items()}
    interactions = model.interactions(lattice, ())
    features = features_of(interactions)
    couplings = model.coefficients(points, features)[0]
    numbers = model.numbers(points, lattice)
    sublattice = np.tile(np.array(model.pools(lattice)), lattice.sites // basis)
    pools = [np.flatnonzero(sublattice == n) for n in dict.fromkeys(model.pools(lattice))]
    rows = arrangements(own, pools, None if numbers is None else numbers[0])
    values = np.zeros((len(rows), len(features)))
    for each in interactions:
        for name, table in each.values.items():
            added = table[tuple(rows[:, each.clusters[:, k]] for k in range(table.ndim))]
            values[:, features.index(name)] += added.sum(axis=1)
    energy = values @ couplings
    weights = np.exp(-(energy - energy.min()) / point["T"])
    p = weights / weights.sum()
    n = lattice.sites
    components = max(len(model.spins(q)) for q in own)
    order = np.zeros((components, len(rows)))
    for site, q in enumerate(own):
        spins = model.spins(q)
        order[: len(spins)] += spins[:, rows[:, site]]
    m, length = order[0] / n, np.linalg.norm(order, axis=0) / n
    e = energy / n
    moments = np.array([p @ v for v in (m, length, length**2, length**4, e, e**2)])
    table = class_rows(lattice, classes)
    codes = table.first + table.strides[:, 0] * rows[:, table.centers].astype(np.int64)
    for k in range(table.around.shape[1]):
        codes += table.strides[:, 1 + k] * rows[:, np.maximum(table.around[:, k], 0)]
    counts = np.zeros(len(classes))
    for column in range(codes.shape[1]):
        counts += np.bincount(table.classes[codes[:, column]], p, len(classes))
    return {
        **{k: np.asarray(v) for k, v in estimates(moments, n, point["T"]).items()},
        "features": p @ values,
        "configurations": counts / counts.sum(),
    }
