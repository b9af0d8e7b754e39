"""−2 ln L of counts that overlap: the distance of their score from that of other parameters.

N overlapping neighbourhoods are not N draws, and no likelihood is known for them. But the score,
the few sums of √p along which the parameters move the histogram, is known for any parameters from
the simulation, and so is its covariance: the distance in its units is −2 ln L of the score, with
all bends of the way from parameters to histograms (a synthetic likelihood; Wood, Nature 466, 1102
(2010)).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from analysis.inference.deviance import part_of
from analysis.inference.fit import Located
from analysis.inference.information import root_histograms
from analysis.inference.interpolation import HIGH, Interpolation, interpolation

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScoreDistance:
    """The distance over the grid.

    Attributes
    ----------
    away
        (points of the grid, directions): difference of the score from that of the best point, in
        standard deviations.
    between
        The interpolation of its square.
    """

    away: Floats
    between: Interpolation

    def minima(self, draws: int, chance: np.random.Generator) -> Floats:
        """Best points of experiments drawn anew, (draws, parameters)."""
        drawn = chance.standard_normal((draws, self.away.shape[1]))
        apart = self.away[self.between.chosen][None] - drawn[:, None]
        return self.between.minimum(np.sum(apart**2, axis=-1))


def score_distance(scape: xr.Dataset, fit: Located) -> ScoreDistance | None:
    """The distance of the score from that of the best point, over the grid of a landscape.

    None if neighbourhoods do not overlap, or there are several minima, which no score at one of
    them tells apart.
    """
    told = fit.told
    if told.overlap != "simulated" or len(fit.minima) > 1 or not fit.basis.shape[1]:
        return None
    away = _scores(scape, fit) * fit.half @ fit.basis
    unit = np.outer(fit.half, fit.half)
    bend, spread = fit.curvature * unit, fit.covariance / unit
    scatter = fit.basis.T @ (bend @ spread @ bend) @ fit.basis
    away = np.linalg.solve(np.linalg.cholesky(scatter), away.T).T
    # Far off the score may come back to where it was; the whole histogram does not.
    widest = np.linalg.eigvals(fit.basis.T @ (spread @ bend) @ fit.basis).real.max()
    least = float(fit.between.value(fit.point)[0])
    square = np.maximum(np.sum(away**2, axis=1), (told.values.ravel() - least) / widest)
    noise = fit.basis.T @ (fit.monte_carlo / unit) @ fit.basis
    share = np.trace(np.linalg.solve(fit.basis.T @ spread @ fit.basis, noise)) / len(noise)
    errors = 1e-3 + 2 * np.sqrt(max(share, 0) * np.maximum(square, 0))
    shape = told.values.shape
    between = interpolation(told.axes, square.reshape(shape), errors.reshape(shape), high=HIGH)
    return ScoreDistance(away, between)


def _scores(scape: xr.Dataset, fit: Located) -> Floats:
    """Scores of the grid's histograms less that of the best point's, (points, parameters)."""
    told = fit.told
    one = scape.isel(dict.fromkeys(told.fixed, 0))
    q = one["probability"].transpose(part_of(scape), *told.names, "configuration").values
    best, slopes = root_histograms(scape, told, fit.between, fit.point)
    found = np.zeros((told.values.size, len(fit.point)))
    for d, number in enumerate(told.numbers):
        root = np.sqrt(q[d].reshape(-1, q.shape[-1])) - best[d]
        found += 4 * number * root @ slopes[d].T
    return found
