"""Local spectra of an image: sliding windows, their spots and stripes."""

from analysis.spectra.periods import lattice_period
from analysis.spectra.spots import spots, stripes
from analysis.spectra.windows import sliding_fft

__all__ = [
    "lattice_period",
    "sliding_fft",
    "spots",
    "stripes",
]
