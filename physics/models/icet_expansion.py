"""Cluster expansions that were fitted with icet."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from latticescape.physics.errors import RequestError
from latticescape.physics.extras import optional_imports
from latticescape.physics.lattices.lattice import Lattice, crystal
from latticescape.physics.models.cluster_expansion import ClusterExpansion, Term
from latticescape.physics.models.fitted_expansion import DIGITS, fitted_model


@optional_imports()
def expansion_from_icet(
    expansion: Any, size: int | Sequence[int], *, free: Sequence[str] = (), **settings: Any
) -> tuple[Lattice, ClusterExpansion]:
    """Lattice and model of a cluster expansion that was fitted with icet.

    Every parameter of the expansion becomes one of the model: ``J_0`` is the energy of an atom
    without interactions, ``J_1`` and so on follow ``cluster_space.as_list``. E is icet's prediction
    times the number of atoms, in the unit of the fit; T is k_B times the temperature in that unit.

    Parameters
    ----------
    expansion
        An icet ``ClusterExpansion`` of an energy per atom.
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
        The primitive structure; sites that may hold the same species are one sublattice.
    model
        A :class:`latticescape.ClusterExpansion`.

    Raises
    ------
    RequestError
        If the object is not a cluster expansion of icet, or a free parameter is unknown.

    References
    ----------
    Ångqvist et al., Adv. Theory Simul. 2, 1900015 (2019), 10.1002/adts.201900015.

    Examples
    --------
    >>> expansion_from_icet("expansion.ce", 8)
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the object is not a cluster expansion of icet (came: str; ...
    """
    if not hasattr(expansion, "get_cluster_space_copy"):
        raise RequestError(
            "the object is not a cluster expansion of icet",
            came=type(expansion).__name__,
            allowed="an icet.ClusterExpansion",
            hint='icet.ClusterExpansion.read("expansion.ce")',
        )
    space = expansion.get_cluster_space_copy()
    structure = space.primitive_structure
    species = [
        tuple(_symbol(number) for number, _ in sorted(numbers.items(), key=lambda item: item[1]))
        for numbers in space.species_maps
    ]
    names = ["-".join(own) for own in species]
    places = structure.get_scaled_positions(wrap=False)
    lattice = crystal(size, structure.cell[:], places, sublattice=names)
    # A single site is always like itself: 1 an atom.
    terms = [Term(site=True, value="like"), *_terms(space, species)]
    return lattice, fitted_model(names, species, terms, expansion.parameters, free, settings)


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return str(chemical_symbols[number])


def _terms(space: Any, species: Sequence[tuple[str, ...]]) -> Iterator[Term]:
    """A term for each element of the cluster vector but the first."""
    sites = len(species)
    for index in range(len(space.orbit_list)):
        orbit = space.orbit_list.get_orbit(index)
        places = orbit.representative_cluster.lattice_sites
        cluster = [[*map(int, place.unitcell_offset), int(place.index)] for place in places]
        own = [species[row[-1]] for row in cluster]
        for element in orbit.cluster_vector_elements:
            # icet averages over the clusters of the orbit, and predicts energies per atom.
            share = sites / len(orbit) / len(element["site_permutations"])
            values = share * _products(space, [len(names) for names in own], element)
            table = {
                ",".join(arrangement): float(value)
                for arrangement, value in zip(product(*own), values.ravel(), strict=True)
            }
            yield Term(cluster, value=table)


def _products(space: Any, sizes: Sequence[int], element: Any) -> np.ndarray:
    """Products of cluster functions, summed over the orders of the sites that are equivalent."""
    functions, total = element["multicomponent_vector"], np.zeros(sizes)
    for order in element["site_permutations"]:
        factors = [
            [
                space.evaluate_cluster_function(sizes[order[site]], functions[order[site]], kind)
                for kind in range(size)
            ]
            for site, size in enumerate(sizes)
        ]
        part = np.ones(())
        for factor in factors:
            part = np.multiply.outer(part, np.array(factor))
        total += part
    return np.round(total, DIGITS) + 0.0
