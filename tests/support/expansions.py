"""Energies of cluster expansions that were recorded elsewhere."""

from collections.abc import Sequence

import numpy as np

from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.cluster_expansion import ClusterExpansion
from latticescape.physics.models.model import features_of


def energies(lattice: Lattice, model: ClusterExpansion, arrangements: Sequence[str]) -> list[float]:
    """The energy of each arrangement, a digit a site that numbers its species."""
    interactions = model.interactions(lattice, ())
    features = features_of(interactions)
    fixed = {name: np.array([value]) for name, value in model.fixed_parameters.items()}
    couplings = model.coefficients(fixed, features)[0]
    found = []
    for arrangement in arrangements:
        species, energy = np.array(list(map(int, arrangement))), 0.0
        for each in interactions:
            for feature, table in each.values.items():
                sums = table[tuple(species[column] for column in each.clusters.T)].sum()
                energy += couplings[features.index(feature)] * sums
        found.append(energy)
    return found
