"""Images and simulated Datasets in; distances, parameters and model comparisons out."""

from analysis.atoms import find_atoms
from analysis.distances import statistical_distance
from analysis.images import read_image
from analysis.inference import Bootstrap, Fit, best_fit, bootstrap, interpolate, posterior
from analysis.landscape import landscape, random_mixing
from analysis.measurement import measure
from analysis.neighborhoods import neighborhoods
from analysis.observed import count_atoms, count_measured, observed_counts
from analysis.refinement import Proposal, propose
from analysis.selection import compare
from analysis.sites import fit_sites
from analysis.sources import combine, profile_landscape
from analysis.species import assign_species
from analysis.spectra import sliding_fft, spots, stripes
from analysis.unmixing import count_endmembers, unmix

__all__ = [
    "Bootstrap",
    "Fit",
    "Proposal",
    "assign_species",
    "best_fit",
    "bootstrap",
    "combine",
    "compare",
    "count_atoms",
    "count_endmembers",
    "count_measured",
    "find_atoms",
    "fit_sites",
    "interpolate",
    "landscape",
    "measure",
    "neighborhoods",
    "observed_counts",
    "posterior",
    "profile_landscape",
    "propose",
    "random_mixing",
    "read_image",
    "sliding_fft",
    "spots",
    "statistical_distance",
    "stripes",
    "unmix",
]
