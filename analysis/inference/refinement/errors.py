"""How well the place of a landscape's minimum is known from the points there are."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from latticescape.analysis.inference.estimation.fit import Fit, Located
from latticescape.analysis.inference.landscapes.interpolation import Interpolation

Floats = npt.NDArray[np.float64]


def numerical_errors(found: Located) -> dict[str, float]:
    """Standard errors of the minimum's place by Monte Carlo noise and interpolation.

    Those of the Gaussian process, widened where points left out lie further off than it says;
    infinite where there are too few points to say.
    """
    between, names = found.between, found.told.names
    process, axes = between.process, len(names)
    terms = (axes + 1) * (axes + 2) // 2
    bend = process.derivatives(between.scaled(found.point[None]))[2][0]
    if len(process.points) <= 2 * terms or np.linalg.eigvalsh(bend)[0] <= 0:
        return dict.fromkeys(names, float("inf"))
    wide = max(1.0, left_out_scatter(between))
    every = list(found.fit.parameters)
    variances = np.diag(found.fit.monte_carlo_covariance)
    return {n: float(wide * np.sqrt(variances[every.index(n)])) for n in names}


def left_out_scatter(between: Interpolation) -> float:
    """Root mean square of (value − forecast from all others)/its error: 1 if the errors are right.

    Rasmussen and Williams, eqs. 5.10–5.12.
    """
    process = between.process
    inverse = solve_triangular(np.tril(process.factor[0]), np.eye(len(process.points)), lower=True)
    precision = (inverse**2).sum(axis=0)
    return float(np.sqrt(np.mean(process.weights**2 / precision)))


def data_errors(fit: Fit) -> dict[str, float]:
    """Standard errors by the number of counts, which no simulation makes smaller."""
    rest = np.diag(fit.covariance) - np.diag(fit.monte_carlo_covariance)
    return {n: float(np.sqrt(max(v, 0.0))) for n, v in zip(fit.parameters, rest, strict=True)}
