"""What an energy is made of, for any number of species: clusters of sites and tables of values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latticescape.physics.lattices.lattice import Lattice, Sites
from latticescape.physics.models.model import Floats, Model, Orbit, Points

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interaction:
    """Clusters of one kind on a lattice, and what each adds to the features.

    Attributes
    ----------
    clusters
        Site numbers, (clusters, sites of a cluster) int32, each cluster once.
    values
        For each feature, the addition for the species of the cluster's sites, one axis a site.
    """

    clusters: Sites
    values: Mapping[str, Integers]


class SpeciesModel(Protocol):
    """A model as the kernel of any species reads it."""

    def species(self, lattice: Lattice) -> tuple[tuple[str, ...], ...]:
        """The names of the species that each site of the basis may hold."""

    def spins(self, species: int) -> Floats:
        """The order parameter of each species, (components, species)."""

    def pools(self, lattice: Lattice) -> tuple[str, ...]:
        """The name of the sublattice of each site of the basis: moves exchange sites of one, and
        :meth:`numbers` has a row for each, in the order of the basis."""

    def interactions(self, lattice: Lattice, used: Collection[str]) -> list[Interaction]:
        """The interactions on a lattice, for the names of the parameters in use."""

    def coefficients(self, points: Points, features: Sequence[str]) -> Floats:
        """Energy per unit of each feature, (points, features)."""

    def numbers(self, points: Points, lattice: Lattice) -> Integers | None:
        """The conserved number of sites of each species on each sublattice, (points, sublattices,
        species), sublattices in the order of :meth:`pools`; None if they are not conserved.
        """


@dataclass(frozen=True)
class BinaryModel:
    """A :class:`Model` of two species, whose values depend on the number of species-1 sites only,
    as a :class:`SpeciesModel`."""

    model: Model

    def species(self, lattice: Lattice) -> tuple[tuple[str, ...], ...]:
        return (("0", "1"),) * lattice.geometry.sublattices

    def spins(self, species: int) -> Floats:
        return np.array([[-1.0, 1.0]])

    def pools(self, lattice: Lattice) -> tuple[str, ...]:
        return ("",) * lattice.geometry.sublattices

    def interactions(self, lattice: Lattice, used: Collection[str]) -> list[Interaction]:
        return [_by_species(orbit) for orbit in self.model.orbits(lattice, used)]

    def coefficients(self, points: Points, features: Sequence[str]) -> Floats:
        return self.model.coefficients(points, features)

    def numbers(self, points: Points, lattice: Lattice) -> Integers | None:
        ones = self.model.n_species1(points, lattice)
        return None if ones is None else np.stack([lattice.sites - ones, ones], -1)[:, None, :]


def _by_species(orbit: Orbit) -> Interaction:
    ones = np.indices((2,) * orbit.clusters.shape[1]).sum(axis=0)
    return Interaction(
        orbit.clusters, {name: np.array(v, np.int64)[ones] for name, v in orbit.values.items()}
    )
