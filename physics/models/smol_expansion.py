"""Cluster expansions that were fitted with smol."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.geometry import Geometry
from latticescape.physics.lattices.lattice import Lattice, crystal
from latticescape.physics.models.cluster_expansion import ClusterExpansion, Term
from latticescape.physics.models.fitted_expansion import DIGITS, fitted_model

Floats = npt.NDArray[np.float64]

# Fractional coordinates of one site agree this well.
TOLERANCE = 1e-3


def expansion_from_smol(
    expansion: Any, size: int | Sequence[int], *, free: Sequence[str] = (), **settings: Any
) -> tuple[Lattice, ClusterExpansion]:
    """Lattice and model of a cluster expansion that was fitted with smol.

    Every coefficient of the expansion becomes a parameter of the model: ``J_0`` is the energy of a
    primitive cell without interactions, ``J_1`` and so on follow ``expansion.coefs``. E is smol's
    prediction for the whole lattice, in the unit of the fit; T is k_B times the temperature in that
    unit.

    Parameters
    ----------
    expansion
        A smol ``ClusterExpansion``, without Ewald or other external terms.
    size
        How many primitive cells, along every axis or along each.
    free
        Names of parameters that are left to be swept or fitted, such as ``["J_2"]``.
    **settings
        As for :class:`latticescape.ClusterExpansion`: ``ensemble``, T, compositions, chemical
        potentials.

    Returns
    -------
    lattice
        The primitive structure; sites that may hold the same species are one sublattice. Vacancies
        are the species ``vacancy``; others keep their names with the oxidation state, ``Li+``.
    model
        A :class:`latticescape.ClusterExpansion`.

    Raises
    ------
    RequestError
        If the object is not a cluster expansion of smol, has external terms, its clusters are not
        those of the structure's symmetry, or a free parameter is unknown.

    References
    ----------
    Barroso-Luque et al., J. Open Source Softw. 7, 4504 (2022), 10.21105/joss.04504.

    Examples
    --------
    >>> expansion_from_smol("expansion.json", 8)
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the object is not a cluster expansion of smol (came: str; ...
    """
    if not hasattr(expansion, "cluster_subspace"):
        raise RequestError(
            "the object is not a cluster expansion of smol",
            came=type(expansion).__name__,
            allowed="a smol.cofe.ClusterExpansion",
            hint='smol.io.load_work("expansion.mson")["ClusterExpansion"]',
        )
    space = expansion.cluster_subspace
    if space.external_terms:
        raise RequestError(
            "the expansion has external terms, which are no sums over clusters",
            came=", ".join(type(term).__name__ for term in space.external_terms),
            allowed="an expansion without external terms",
            hint="the same fit without EwaldTerm",
        )
    places = np.asarray(space.structure.frac_coords, float)
    species = _species(space, places)
    names = ["-".join(own) for own in species]
    lattice = crystal(size, space.structure.lattice.matrix, places, sublattice=names)
    # Once in a primitive cell: a single site is always like itself.
    here = [[0] * (places.shape[1] + 1)]
    constant = Term(here, symmetry="translations", value="like")
    terms = [constant, *_terms(space, places, species, lattice.geometry)]
    return lattice, fitted_model(names, species, terms, expansion.coefs, free, settings)


def _species(space: Any, places: Floats) -> list[tuple[str, ...]]:
    """The species of each site of the basis, in the order of the cluster functions."""
    found = [tuple(map(_name, site.species)) for site in space.structure]
    for orbit in space.orbits:
        for cluster in orbit.clusters:
            for basis, coords in zip(orbit.site_bases, cluster.frac_coords, strict=True):
                found[_site(coords, places)[-1]] = tuple(map(_name, basis.site_space))
    return found


def _name(specie: Any) -> str:
    return "vacancy" if type(specie).__name__ == "Vacancy" else str(specie)


def _site(coords: Floats, places: Floats) -> list[int]:
    """The steps to the cell of a site, and its number in the basis."""
    off = np.asarray(coords, float) - places
    distance = np.abs(off - np.rint(off)).max(axis=1)
    site = int(np.argmin(distance))
    if distance[site] > TOLERANCE:
        raise RequestError(
            "a cluster of the expansion is on no site of its primitive structure",
            came=np.round(coords, 4).tolist(),
            allowed="fractional coordinates " + "; ".join(map(str, places.round(4).tolist())),
        )
    return [*map(int, np.rint(off[site])), site]


def _terms(
    space: Any, places: Floats, species: Sequence[tuple[str, ...]], geometry: Geometry
) -> Iterator[Term]:
    """A term for each element of the correlation vector but the first."""
    for orbit in space.orbits:
        cluster = [_site(coords, places) for coords in orbit.base_cluster.frac_coords]
        own = [species[row[-1]] for row in cluster]
        ((clusters, _),) = Term(cluster).orbits(geometry)
        if len(clusters) != orbit.multiplicity:
            raise RequestError(
                "an orbit of the expansion does not have the symmetry of its structure",
                came=f"{orbit.multiplicity} clusters like {cluster} in a primitive cell",
                allowed=f"{len(clusters)}",
                hint="the primitive structure without oxidation states or site properties that "
                "break its symmetry",
            )
        for tensor in orbit.correlation_tensors:
            # smol averages over the clusters of the orbit.
            values = np.round(tensor / orbit.multiplicity, DIGITS) + 0.0
            table = {
                ",".join(arrangement): float(value)
                for arrangement, value in zip(product(*own), values.ravel(), strict=True)
            }
            yield Term(cluster, value=table)
