"""Images and simulated Datasets in; distances, parameters and model comparisons out."""

from analysis.distances import statistical_distance
from analysis.inference import Fit, best_fit
from analysis.landscape import landscape, random_mixing
from analysis.observed import count_atoms, observed_counts
from analysis.selection import compare

__all__ = [
    "Fit",
    "best_fit",
    "compare",
    "count_atoms",
    "landscape",
    "observed_counts",
    "random_mixing",
    "statistical_distance",
]
