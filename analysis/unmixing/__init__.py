"""Windows as mixtures of a few endmembers."""

from analysis.unmixing.abundances import abundances
from analysis.unmixing.dimensions import count_endmembers
from analysis.unmixing.mixture import unmix
from analysis.unmixing.nfindr import nfindr, simplex_volume

__all__ = [
    "abundances",
    "count_endmembers",
    "nfindr",
    "simplex_volume",
    "unmix",
]
