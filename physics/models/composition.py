"""A composition as a whole number of atoms."""

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError

COMPOSITION_TOLERANCE = 0.01


def whole_atoms(x: npt.NDArray[np.float64], sites: int) -> npt.NDArray[np.int64]:
    """The numbers of atoms nearest to compositions.

    Parameters
    ----------
    x
        Fractions, any shape.
    sites
        Of the lattice.

    Raises
    ------
    RequestError
        If one of them is met by no whole number within 0.01.

    Examples
    --------
    >>> whole_atoms(np.array([0.5, 0.626]), 64)
    array([32, 40])
    """
    count = np.rint(x * sites).astype(np.int64)
    off = np.abs(count / sites - x)
    if np.any(off > COMPOSITION_TOLERANCE):
        worst = float(x[np.argmax(off)])
        raise RequestError(
            f"x = {worst:g} is no whole number of atoms on {sites} sites "
            f"within {COMPOSITION_TOLERANCE}",
            came=f"nearest fraction {round(worst * sites) / sites:.4f}",
            allowed=f"a larger lattice, or a multiple of 1/{sites}",
            hint="size = 48",
        )
    return count
