"""From a landscape to parameters, and how sure they are."""

from analysis.inference.fit import Fit, best_fit

__all__ = ["Fit", "best_fit"]
