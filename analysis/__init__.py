"""Images and simulated Datasets in; distances, parameters and model comparisons out."""

from analysis.accumulator import Accumulator
from analysis.atoms import find_atoms
from analysis.data_needed import data_needed
from analysis.disorder import disorder_average
from analysis.distances import statistical_distance
from analysis.images import read_image
from analysis.inference import (
    Bootstrap,
    Fit,
    best_fit,
    bootstrap,
    interpolate,
    joint_region,
    posterior,
)
from analysis.kinetics import arrhenius, hop_rates, site_energies
from analysis.landscape import landscape, random_mixing
from analysis.measurement import measure
from analysis.neighborhoods import neighborhoods
from analysis.observed import count_atoms, count_measured, observed_counts
from analysis.overlap import spin_overlap
from analysis.phase_diagram import binder_crossing, finite_size_scaling, ordering, phase_diagram
from analysis.refinement import Proposal, propose
from analysis.reweighting import reweight, reweighted_landscape
from analysis.selection import bayes_factors, bic, compare, leave_one_out, p_values
from analysis.sites import fit_sites
from analysis.slabs import slab_landscape, slab_landscapes
from analysis.sources import combine, profile_landscape
from analysis.species import assign_species
from analysis.spectra import sliding_fft, spots, stripes
from analysis.unmixing import count_endmembers, unmix

__all__ = [
    "Accumulator",
    "Bootstrap",
    "Fit",
    "Proposal",
    "arrhenius",
    "assign_species",
    "bayes_factors",
    "best_fit",
    "bic",
    "binder_crossing",
    "bootstrap",
    "combine",
    "compare",
    "count_atoms",
    "count_endmembers",
    "count_measured",
    "data_needed",
    "disorder_average",
    "find_atoms",
    "finite_size_scaling",
    "fit_sites",
    "hop_rates",
    "interpolate",
    "joint_region",
    "landscape",
    "leave_one_out",
    "measure",
    "neighborhoods",
    "observed_counts",
    "ordering",
    "p_values",
    "phase_diagram",
    "posterior",
    "profile_landscape",
    "propose",
    "random_mixing",
    "read_image",
    "reweight",
    "reweighted_landscape",
    "site_energies",
    "slab_landscape",
    "slab_landscapes",
    "sliding_fft",
    "spin_overlap",
    "spots",
    "statistical_distance",
    "stripes",
    "unmix",
]
