"""Two kernels that are no lattice models, as a user would write them, and what is known of them.

References
----------
The logistic map: May, Nature 261, 459 (1976), 10.1038/261459a0. Percolation on a chain: Reynolds,
Stanley and Klein, J. Phys. A 10, L203 (1977), 10.1088/0305-4470/10/11/007.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from latticescape.physics import Parameter, Variable
from latticescape.sweeps import kernel

SIZES = np.arange(1, 6)


@kernel(
    Variable("lyapunov", units="1/step", long_name="Lyapunov exponent of the logistic map"),
    parameters=[Parameter("r", "growth rate", low=0, high=4, low_excluded=True)],
    seconds=1e-4,
)
@njit
def logistic(r, x0=0.2, steps: int = 2000):
    """Mean of log |f'(x)| along x -> r x (1 - x), after as many steps to forget the start."""
    x, total = x0, 0.0
    for step in range(2 * steps):
        x = r * x * (1 - x)
        if step >= steps:
            total += np.log(abs(r * (1 - 2 * x)) + 1e-300)
    return total / steps


def period_two(r: float) -> float:
    """The exponent where a cycle of two is stable, 3 < r < 1 + √6."""
    return float(np.log(abs(4 + 2 * r - r * r)) / 2)


@kernel(
    Variable("clusters", ("size",), units="1/site", long_name="clusters of a size per site"),
    Variable("clusters_se", ("size",), units="1/site", long_name="its standard error"),
    Variable("occupied", dtype="int64", units="site", long_name="occupied sites, all chains"),
    dims={"size": SIZES},
    parameters=[Parameter("p", "probability that a site is occupied", low=0, high=1)],
    seconds=1e-3,
)
def percolation(p, sites: int = 64, chains: int = 40, *, rng):
    """Clusters of neighbouring occupied sites on rings, each ring a chain of its own."""
    occupied = rng.random((chains, sites)) < p
    counts = np.array([runs(occupied, size).mean(axis=1) for size in SIZES])
    error = counts.std(axis=1, ddof=1) / np.sqrt(chains)
    return counts.mean(axis=1), error, int(occupied.sum())


def runs(occupied: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """Where an empty site is followed by exactly so many occupied ones."""
    found = ~occupied & ~np.roll(occupied, -size - 1, axis=1)
    for step in range(1, size + 1):
        found &= np.roll(occupied, -step, axis=1)
    return found


def cluster_numbers(p: float) -> npt.NDArray[np.float64]:
    """Exact: size occupied sites between two empty ones."""
    return p**SIZES * (1 - p) ** 2
