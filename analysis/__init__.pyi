from .counts.classes import classes_of as classes_of
from .counts.counting import count_atoms as count_atoms
from .counts.counting import count_measured as count_measured
from .counts.counting import observed_counts as observed_counts
from .counts.distances import statistical_distance as statistical_distance
from .counts.short_range_order import short_range_order as short_range_order
from .images.atoms.finding import find_atoms as find_atoms
from .images.measurement import measure as measure
from .images.neighborhoods import neighborhoods as neighborhoods
from .images.reading import read_image as read_image
from .images.sites.lattice_fit import fit_sites as fit_sites
from .images.species import assign_species as assign_species
from .images.spectra.spots import spots as spots
from .images.spectra.spots import stripes as stripes
from .images.spectra.windows import sliding_fft as sliding_fft
from .images.unmixing.mixture import count_endmembers as count_endmembers
from .images.unmixing.mixture import unmix as unmix
from .inference.calibration import calibrate as calibrate
from .inference.comparison.comparison import bic as bic
from .inference.comparison.comparison import compare as compare
from .inference.comparison.evidence import bayes_factors as bayes_factors
from .inference.comparison.evidence import leave_one_out as leave_one_out
from .inference.comparison.p_values import p_values as p_values
from .inference.estimation.bootstrap import Bootstrap as Bootstrap
from .inference.estimation.bootstrap import bootstrap as bootstrap
from .inference.estimation.fit import Fit as Fit
from .inference.estimation.fit import fit as fit
from .inference.estimation.posterior import joint_region as joint_region
from .inference.estimation.posterior import posterior as posterior
from .inference.landscapes.interpolation import interpolate as interpolate
from .inference.landscapes.landscape import landscape as landscape
from .inference.landscapes.landscape import random_mixing as random_mixing
from .inference.landscapes.sources import combine as combine
from .inference.landscapes.sources import profile_landscape as profile_landscape
from .inference.landscapes.sources import slab_landscape as slab_landscape
from .inference.landscapes.sources import slab_landscapes as slab_landscapes
from .inference.pseudo_likelihood.guess import Guess as Guess
from .inference.pseudo_likelihood.guess import guess as guess
from .inference.refinement.proposal import Proposal as Proposal
from .inference.refinement.proposal import propose as propose
from .inference.reweighting.reweighting import reweight as reweight
from .inference.reweighting.reweighting import reweighted_landscape as reweighted_landscape
from .inference.sample_size import Accumulator as Accumulator
from .inference.sample_size import sample_size as sample_size
from .kinetics.boltzmann import arrhenius as arrhenius
from .kinetics.boltzmann import site_energies as site_energies
from .kinetics.tracks import hop_rates as hop_rates
from .phases.crossings import binder_crossing as binder_crossing
from .phases.crossings import finite_size_scaling as finite_size_scaling
from .phases.diagram import phase_diagram as phase_diagram
from .phases.disorder import disorder_average as disorder_average
from .phases.disorder import spin_overlap as spin_overlap
from .phases.ordering import ordering as ordering
from .snapshots import snapshot as snapshot

__all__ = [
    "Accumulator",
    "Bootstrap",
    "Fit",
    "Guess",
    "Proposal",
    "arrhenius",
    "assign_species",
    "bayes_factors",
    "bic",
    "binder_crossing",
    "bootstrap",
    "calibrate",
    "classes_of",
    "combine",
    "compare",
    "count_atoms",
    "count_endmembers",
    "count_measured",
    "disorder_average",
    "find_atoms",
    "finite_size_scaling",
    "fit",
    "fit_sites",
    "guess",
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
    "sample_size",
    "short_range_order",
    "site_energies",
    "slab_landscape",
    "slab_landscapes",
    "sliding_fft",
    "snapshot",
    "spin_overlap",
    "spots",
    "statistical_distance",
    "stripes",
    "unmix",
]
