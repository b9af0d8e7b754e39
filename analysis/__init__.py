"""Images and simulated Datasets in; distances, parameters and model comparisons out."""

from analysis.dimensions import count_endmembers
from analysis.distances import statistical_distance
from analysis.inference import Fit, best_fit
from analysis.landscape import landscape, random_mixing
from analysis.observed import count_atoms, observed_counts
from analysis.selection import compare
from analysis.spectra import sliding_fft
from analysis.spots import spots, stripes
from analysis.unmixing import unmix

__all__ = [
    "Fit",
    "best_fit",
    "compare",
    "count_atoms",
    "count_endmembers",
    "landscape",
    "observed_counts",
    "random_mixing",
    "sliding_fft",
    "spots",
    "statistical_distance",
    "stripes",
    "unmix",
]
