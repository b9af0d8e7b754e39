"""A battery of tests of random numbers, as a simulation uses them.

Numbers are whole, 32 bits, (steps, points, lanes): what consecutive site updates of every point's
64 replicas draw; or real ones of mean 0 and variance 1, of any distribution. Each test returns z,
standard normal if the numbers are independent (and, whole ones, uniform).
"""

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.stats import chi2, norm, poisson

from tests.support.plane_table import LANES

Numbers = npt.NDArray[np.uint32]
Deviates = npt.NDArray[np.float32]
Z = npt.NDArray[np.float64]

# How often one honest check would be refused.
FALSE_ALARM = 1e-6
BITS = 32
CELL_BITS = 6
BIRTHDAYS = 4096
SITE_UPDATES = 4096
RANKED_PLANES = (0, 5, 6, 11, 31)


def departure(z: Z) -> str:
    """Why z are no standard normal numbers, or nothing: the largest, or their mean square.

    The limits are for independent z; sets of correlated ones must be nearly so, as the
    correlations of all pairs are.
    """
    most = float(np.abs(z).max())
    if not most < (limit := float(norm.isf(FALSE_ALARM / 4 / z.size))):
        return f"|z| = {most:.2f}, allowed {limit:.2f}"
    square = float(np.sum(np.square(z)))
    low, high = (float(edge(FALSE_ALARM / 4, z.size)) for edge in (chi2.ppf, chi2.isf))
    if not low < square < high:
        return f"rms z = {(square / z.size) ** 0.5:.5f} of {z.size}"
    return ""


def bit_balance(u: Numbers) -> Z:
    """Every bit is set half the time, over all streams and in each."""
    steps, flat = len(u), u.reshape(len(u), -1)
    ones = np.stack([((flat >> np.uint32(k)) & np.uint32(1)).sum(axis=0) for k in range(BITS)])
    z = (2.0 * ones - steps) / np.sqrt(steps)
    return np.concatenate([z.sum(axis=1) / np.sqrt(flat.shape[1]), z.ravel()])


def equidistribution(u: Numbers) -> Z:
    """Numbers fall equally into cells by their first 8 and 16 bits, and by 16 later ones."""
    cells = [u >> np.uint32(24)]
    cells += [(u >> np.uint32(shift)) & np.uint32(0xFFFF) for shift in (16, 10, 6)]
    return np.array([_equal_cells(c, bits) for c, bits in zip(cells, (8, 16, 16, 16), strict=True)])


def neighbour_pairs(u: Numbers) -> Z:
    """Pairs of neighbouring lanes, points and steps fall equally into 64 × 64 cells."""
    cell = u >> np.uint32(BITS - CELL_BITS)
    pairs = [(np.moveaxis(cell, axis, 0)[1:], np.moveaxis(cell, axis, 0)[:-1]) for axis in range(3)]
    return np.array([_equal_cells(a << np.uint32(CELL_BITS) | b, 2 * CELL_BITS) for a, b in pairs])


def stream_correlations(x: Deviates) -> Z:
    """Correlation of every pair of streams: all lanes of all points."""
    streams = x.reshape(len(x), -1)
    streams = streams - streams.mean(axis=0)
    streams /= np.sqrt(np.square(streams).sum(axis=0))
    return _pairs(streams.T @ streams) * np.sqrt(len(x) - 1)


def lane_correlations(x: Deviates) -> Z:
    """Covariance of every pair of lanes, over all points."""
    lanes = x.reshape(-1, x.shape[2])
    return _pairs(lanes.T @ lanes) / np.sqrt(len(lanes))


def point_correlations(x: Deviates) -> Z:
    """Covariance of every pair of points in the same lane, over all lanes."""
    points = np.moveaxis(x, 1, 2).reshape(-1, x.shape[1])
    return _pairs(points.T @ points) / np.sqrt(len(points))


def serial_correlations(x: Deviates) -> Z:
    """Covariance with the number so many steps later in the same stream, over all streams."""
    steps, streams = len(x), x.reshape(len(x), -1)
    spectrum = np.zeros(steps + 1)
    for part in np.array_split(streams, 8, axis=1):
        power = np.square(np.abs(fft.rfft(part, 2 * steps, axis=0)))
        spectrum += power.sum(axis=1, dtype=float)
    lags = np.arange(1, steps // 2 + 1)
    found: Z = fft.irfft(spectrum)[lags] / np.sqrt((steps - lags) * streams.shape[1])
    return found


def lane_sums(x: Deviates) -> Z:
    """The sum over lanes has the mean and the variance of independent lanes, at every point."""
    steps, _, lanes = x.shape
    total = x.sum(axis=2, dtype=float) / np.sqrt(lanes)
    kurtosis = np.mean(np.square(np.square(x)), axis=(0, 2), dtype=float) - 3
    spread = np.sqrt((2 + kurtosis / lanes) / steps)
    mean, variance = total.mean(axis=0), np.square(total).mean(axis=0)
    return np.concatenate([mean * np.sqrt(steps), (variance - 1) / spread])


def plane_correlations(u: Numbers) -> Z:
    """Covariance of any two planes in lanes of any distance, over all such pairs of lanes."""
    covariance = _plane_covariances(u).reshape(BITS, LANES, BITS, LANES)
    lane, half = np.arange(LANES), LANES // 2
    apart = [covariance[:, lane, :, (lane + d) % LANES].sum(axis=0) for d in range(half + 1)]
    opposite = covariance[:, lane[:half], :, lane[half:]].sum(axis=0)
    # At distances 0 and 32 the planes (j, k) and (k, j) are the same pairs of lanes.
    once = [*(part[np.tril_indices(BITS, -1)] for part in (apart[0], apart[half])), *apart[1:half]]
    sums = np.concatenate([part.ravel() for part in once]) / np.sqrt(LANES)
    return np.concatenate([sums, np.diagonal(opposite) / np.sqrt(half)])


def birthday_spacings(u: Numbers) -> Z:
    """Equal spacings among 4096 sorted numbers of one lane: Poisson with mean 4."""
    lanes = np.moveaxis(u, 2, 0).reshape(-1)
    days = np.sort(lanes[: len(lanes) // BIRTHDAYS * BIRTHDAYS].reshape(-1, BIRTHDAYS), axis=1)
    spacings = np.sort(np.diff(days, axis=1), axis=1)
    equal = int(np.sum(np.diff(spacings, axis=1) == 0))
    mean = len(days) * BIRTHDAYS**3 / (4 * 2.0**BITS)
    return np.array([normal_deviate(poisson.cdf(equal, mean), poisson.sf(equal - 1, mean))])


def matrix_ranks(u: Numbers) -> Z:
    """Ranks over GF(2) of 64 × 64 matrices: a plane of a point over 64 steps."""
    return np.array([_rank_test(_words(u, plane)) for plane in RANKED_PLANES])


# Tests of whole uniform numbers, and tests of correlations alone, of standard deviates.
DIGITS: tuple[Callable[[Numbers], Z], ...] = (
    bit_balance,
    equidistribution,
    neighbour_pairs,
    plane_correlations,
    birthday_spacings,
    matrix_ranks,
)
CORRELATIONS: tuple[Callable[[Deviates], Z], ...] = (
    stream_correlations,
    lane_correlations,
    point_correlations,
    serial_correlations,
    lane_sums,
)


def failures(u: Numbers, names: Collection[str] | None = None) -> dict[str, str]:
    """Which tests uniform numbers fail, and how: of the whole battery or of those named."""
    found = {t.__name__: departure(t(u)) for t in DIGITS if names is None or t.__name__ in names}
    return {name: reported for name, reported in found.items() if reported} | correlations(
        standard(u), names
    )


def correlations(x: Deviates, names: Collection[str] | None = None) -> dict[str, str]:
    """Which tests of correlations alone deviates of mean 0 and variance 1 fail, and how."""
    chosen = [t for t in CORRELATIONS if names is None or t.__name__ in names]
    found = {test.__name__: departure(test(x)) for test in chosen}
    return {name: reported for name, reported in found.items() if reported}


def standard(u: Numbers) -> Deviates:
    """Whole uniform numbers scaled to mean 0 and variance 1."""
    return (u.astype(np.float32) - np.float32(2.0**31)) * np.float32(12.0**0.5 / 2.0**32)


def later_bits_first(u: Numbers, bits: int) -> Numbers:
    """The numbers with their first bits moved to the end, so that tests look at the others."""
    return (u << np.uint32(bits)) | (u >> np.uint32(BITS - bits))


def normal_deviate(below: float, above: float) -> float:
    """A result as z, from the probabilities of at most and of at least so much."""
    return float(norm.isf(above) if above < below else norm.ppf(below))


def _pairs(matrix: Deviates) -> Z:
    return matrix[np.triu_indices_from(matrix, 1)].astype(float)


def _equal_cells(cells: Numbers, bits: int) -> float:
    counts = np.bincount(cells.ravel(), minlength=2**bits)
    expected = cells.size / 2**bits
    found = float(np.sum(np.square(counts - expected)) / expected)
    return normal_deviate(chi2.cdf(found, 2**bits - 1), chi2.sf(found, 2**bits - 1))


def _plane_covariances(u: Numbers) -> Deviates:
    """Covariances of (plane, lane) with (plane, lane), standard normal, over site updates."""
    draws = u.reshape(-1, LANES)[:SITE_UPDATES]
    shifts = np.arange(BITS - 1, -1, -1, dtype=np.uint32)
    bits = (draws[:, None, :] >> shifts[:, None]) & np.uint32(1)
    signs = bits.reshape(len(draws), -1).astype(np.float32) * 2 - 1
    covariances: Deviates = signs.T @ signs / np.float32(len(draws) ** 0.5)
    return covariances


def _words(u: Numbers, plane: int) -> npt.NDArray[np.uint64]:
    """A plane of all lanes as words, 64 consecutive steps a row."""
    bits = ((u >> np.uint32(BITS - 1 - plane)) & np.uint32(1)).astype(np.uint8)
    words = np.packbits(bits, axis=2).view(np.uint64)[:, :, 0]
    whole = len(u) // LANES * LANES
    return words[:whole].T.reshape(-1, LANES)


def _rank_test(matrices: npt.NDArray[np.uint64]) -> float:
    missing = np.minimum(LANES - _ranks(matrices), 2)
    full = np.prod(1 - 0.5 ** np.arange(1, LANES + 1))
    chances = np.array([full, 2 * full, 1 - 3 * full])
    expected = chances * len(matrices)
    found = float(np.sum(np.square(np.bincount(missing, minlength=3) - expected) / expected))
    return normal_deviate(chi2.cdf(found, 2), chi2.sf(found, 2))


def _ranks(matrices: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Ranks of many matrices at once, (matrices, 64) words, by Gaussian elimination."""
    rows, used = matrices.copy(), np.zeros(matrices.shape, bool)
    every = np.arange(len(rows))
    for column in range(LANES):
        has = ((rows >> np.uint64(column)) & np.uint64(1)).astype(bool)
        candidates = has & ~used
        pivot, found = candidates.argmax(axis=1), candidates.any(axis=1)
        has[every, pivot] = False
        rows ^= np.where(has & found[:, None], rows[every, pivot][:, None], np.uint64(0))
        used[every, pivot] |= found
    return used.sum(axis=1)
