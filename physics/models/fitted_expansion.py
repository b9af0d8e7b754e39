"""What cluster expansions that were fitted elsewhere have in common."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from latticescape.physics.errors import RequestError
from latticescape.physics.models.cluster_expansion import ClusterExpansion, Term

# Digits of a value, so that equal products of cluster functions are equal.
DIGITS = 14


def fitted_model(
    names: Sequence[str],
    species: Sequence[tuple[str, ...]],
    terms: Iterable[Term],
    parameters: Sequence[float],
    free: Sequence[str],
    settings: Mapping[str, Any],
) -> ClusterExpansion:
    """The model of a fitted expansion, whose parameters are fixed unless they are free.

    Parameters
    ----------
    names, species
        The sublattice, and the species, of each site of the basis.
    terms
        Of J_0, J_1, ….
    parameters
        Their values.
    free
        Names of the parameters that are left to be swept.
    settings
        As for :class:`ClusterExpansion`.

    Raises
    ------
    RequestError
        If a free parameter is unknown.
    """
    named = {f"J_{number}": term for number, term in enumerate(terms)}
    if unknown := sorted(set(free) - named.keys()):
        raise RequestError(
            "the expansion has no such parameter",
            came=", ".join(unknown),
            allowed=f"J_0 to J_{len(named) - 1}",
        )
    fixed = dict(zip(named, map(float, parameters), strict=True))
    one = species[0] if len(set(species)) == 1 else dict(zip(names, species, strict=True))
    kept = {name: value for name, value in fixed.items() if name not in free}
    return ClusterExpansion(one, named, **{**kept, **settings})
