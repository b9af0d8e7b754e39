"""From a landscape to parameters, and how sure they are."""

from analysis.inference.fit import Fit, best_fit
from analysis.inference.flat_directions import FlatDirection
from analysis.inference.interpolation import Interpolation, interpolate
from analysis.inference.markov_chains import ConvergenceError, posterior
from analysis.inference.regions import joint_region
from analysis.inference.resampling import Bootstrap, bootstrap

__all__ = [
    "Bootstrap",
    "ConvergenceError",
    "Fit",
    "FlatDirection",
    "Interpolation",
    "best_fit",
    "bootstrap",
    "interpolate",
    "joint_region",
    "posterior",
]
