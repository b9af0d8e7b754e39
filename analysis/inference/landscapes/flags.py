"""Which points of a landscape are not equilibrated, and which of them matter for a fit."""

import numpy as np
import xarray as xr

from latticescape.physics.variables import EQUILIBRATED

CURE = "a longer equilibration_mcs, or tempering_mcs, cures them"

# −2 ln L of the points that a fit uses, above the lowest.
USED = 12.0


def equilibration_notes(landscape: xr.Dataset) -> tuple[str, ...]:
    """A sentence that counts the points which are not equilibrated, if there are any.

    A point counts as used by the fit if its −2 ln L = 4 N S² is at most 12 above the lowest.

    Parameters
    ----------
    landscape
        A landscape, with ``equilibrated`` if its sweep has it.

    Examples
    --------
    >>> landscape = xr.Dataset(
    ...     {"s2_total": ("T", [0.1, 0.2, np.nan]), "n": ("image", [100]),
    ...      "equilibrated": ("T", [False, True, False])}, {"T": [1.0, 2.0, 3.0]})
    >>> equilibration_notes(landscape)[0][:66]
    '1 of 2 points are not equilibrated; the fit uses 1 of them: a long'
    """
    if EQUILIBRATED not in landscape:
        return ()
    total = landscape["s2_total"]
    computed = np.isfinite(total)
    flagged = computed & ~landscape[EQUILIBRATED]
    number = int(flagged.sum())
    if not number:
        return ()
    used = flagged & (4 * landscape["n"].sum() * (total - total.min()) <= USED)
    points = f"{number} of {int(computed.sum())} points are not equilibrated"
    if number == int(computed.sum()):
        return (f"no point is equilibrated, so that no error can be trusted: {CURE}",)
    return (f"{points}; the fit uses {int(used.sum())} of them: {CURE}",)
