from .analysis.counts.classes import classes_of as classes_of
from .analysis.counts.counting import count_atoms as count_atoms
from .analysis.counts.counting import count_measured as count_measured
from .analysis.counts.counting import observed_counts as observed_counts
from .analysis.counts.distances import statistical_distance as statistical_distance
from .analysis.counts.short_range_order import short_range_order as short_range_order
from .analysis.images.atoms.finding import find_atoms as find_atoms
from .analysis.images.measurement import measure as measure
from .analysis.images.neighborhoods import neighborhoods as neighborhoods
from .analysis.images.reading import read_image as read_image
from .analysis.images.sites.lattice_fit import fit_sites as fit_sites
from .analysis.images.species import assign_species as assign_species
from .analysis.images.spectra.spots import spots as spots
from .analysis.images.spectra.spots import stripes as stripes
from .analysis.images.spectra.windows import sliding_fft as sliding_fft
from .analysis.images.unmixing.mixture import count_endmembers as count_endmembers
from .analysis.images.unmixing.mixture import unmix as unmix
from .analysis.inference.calibration import calibrate as calibrate
from .analysis.inference.comparison.comparison import bic as bic
from .analysis.inference.comparison.comparison import compare as compare
from .analysis.inference.comparison.evidence import bayes_factors as bayes_factors
from .analysis.inference.comparison.evidence import leave_one_out as leave_one_out
from .analysis.inference.comparison.p_values import p_values as p_values
from .analysis.inference.estimation.bootstrap import Bootstrap as Bootstrap
from .analysis.inference.estimation.bootstrap import bootstrap as bootstrap
from .analysis.inference.estimation.fit import Fit as Fit
from .analysis.inference.estimation.fit import fit as fit
from .analysis.inference.estimation.posterior import joint_region as joint_region
from .analysis.inference.estimation.posterior import posterior as posterior
from .analysis.inference.landscapes.interpolation import interpolate as interpolate
from .analysis.inference.landscapes.landscape import landscape as landscape
from .analysis.inference.landscapes.landscape import random_mixing as random_mixing
from .analysis.inference.landscapes.sources import combine as combine
from .analysis.inference.landscapes.sources import profile_landscape as profile_landscape
from .analysis.inference.landscapes.sources import slab_landscape as slab_landscape
from .analysis.inference.landscapes.sources import slab_landscapes as slab_landscapes
from .analysis.inference.pseudo_likelihood.guess import Guess as Guess
from .analysis.inference.pseudo_likelihood.guess import guess as guess
from .analysis.inference.refinement.proposal import Proposal as Proposal
from .analysis.inference.refinement.proposal import propose as propose
from .analysis.inference.reweighting.reweighting import reweight as reweight
from .analysis.inference.reweighting.reweighting import reweighted_landscape as reweighted_landscape
from .analysis.inference.sample_size import Accumulator as Accumulator
from .analysis.inference.sample_size import sample_size as sample_size
from .analysis.kinetics.boltzmann import arrhenius as arrhenius
from .analysis.kinetics.boltzmann import site_energies as site_energies
from .analysis.kinetics.tracks import hop_rates as hop_rates
from .analysis.phases.crossings import binder_crossing as binder_crossing
from .analysis.phases.crossings import finite_size_scaling as finite_size_scaling
from .analysis.phases.diagram import phase_diagram as phase_diagram
from .analysis.phases.disorder import disorder_average as disorder_average
from .analysis.phases.disorder import spin_overlap as spin_overlap
from .analysis.phases.ordering import ordering as ordering
from .analysis.snapshots import snapshot as snapshot
from .deploy.clusters.connect import connect as connect
from .deploy.study.study import Study as Study
from .deploy.study.study import study as study
from .physics.errors import RequestError as RequestError
from .physics.kernels.kernel import Schedule as Schedule
from .physics.kernels.lattice_kernel import sample as sample
from .physics.kernels.observables import Samples as Samples
from .physics.kinetics.adatoms import Adatoms as Adatoms
from .physics.kinetics.trajectories import Trajectory as Trajectory
from .physics.kinetics.trajectories import trajectory as trajectory
from .physics.lattices.clusters import clusters_within as clusters_within
from .physics.lattices.configurations import Configurations as Configurations
from .physics.lattices.configurations import configurations as configurations
from .physics.lattices.configurations import count_configurations as count_configurations
from .physics.lattices.lattice import LATTICES as LATTICES
from .physics.lattices.lattice import Lattice as Lattice
from .physics.lattices.lattice import bcc as bcc
from .physics.lattices.lattice import chain as chain
from .physics.lattices.lattice import crystal as crystal
from .physics.lattices.lattice import cubic as cubic
from .physics.lattices.lattice import diamond as diamond
from .physics.lattices.lattice import fcc as fcc
from .physics.lattices.lattice import hcp as hcp
from .physics.lattices.lattice import honeycomb as honeycomb
from .physics.lattices.lattice import kagome as kagome
from .physics.lattices.lattice import oblique as oblique
from .physics.lattices.lattice import rectangular as rectangular
from .physics.lattices.lattice import square as square
from .physics.lattices.lattice import triangular as triangular
from .physics.lattices.site_classes import SiteClasses as SiteClasses
from .physics.lattices.structures import lattice_from_structure as lattice_from_structure
from .physics.lattices.structures import offered_species as offered_species
from .physics.models.alloys import PairAlloy as PairAlloy
from .physics.models.alloys import SolidSolution as SolidSolution
from .physics.models.alloys import ThreeBodyAlloy as ThreeBodyAlloy
from .physics.models.cluster_expansion import ClusterExpansion as ClusterExpansion
from .physics.models.cluster_expansion import Term as Term
from .physics.models.icet_expansion import expansion_from_icet as expansion_from_icet
from .physics.models.ising import Ising as Ising
from .physics.models.model import Model as Model
from .physics.models.model import Parameter as Parameter
from .physics.models.smol_expansion import expansion_from_smol as expansion_from_smol
from .physics.models.spin_models import BlumeCapel as BlumeCapel
from .physics.models.spin_models import Clock as Clock
from .physics.models.spin_models import LatticeGas as LatticeGas
from .physics.models.spin_models import Potts as Potts
from .physics.registry import MODELS as MODELS
from .physics.slab.lattice import Slab as Slab
from .physics.slab.lattice import slab as slab
from .physics.slab.model import SegregationSlab as SegregationSlab
from .physics.structure_factor import structure_factor as structure_factor
from .physics.variables import Variable as Variable
from .physics.variables import unpack_species as unpack_species
from .sweeps.execution.extend import extend as extend
from .sweeps.execution.run import IncompleteError as IncompleteError
from .sweeps.execution.run import run as run
from .sweeps.execution.submit import cancel as cancel
from .sweeps.execution.submit import submit as submit
from .sweeps.functions.function import FunctionKernel as FunctionKernel
from .sweeps.functions.function import kernel as kernel
from .sweeps.spec.designs import latin_hypercube as latin_hypercube
from .sweeps.spec.designs import sobol as sobol
from .sweeps.spec.plan import Plan as Plan
from .sweeps.spec.plan import measure_rate as measure_rate
from .sweeps.spec.plan import plan as plan
from .sweeps.spec.sweep import Sweep as Sweep
from .sweeps.store.catalogue import StoreSummary as StoreSummary
from .sweeps.store.catalogue import catalogue as catalogue
from .sweeps.store.consolidate import Consolidated as Consolidated
from .sweeps.store.consolidate import consolidate as consolidate
from .sweeps.store.export import Exported as Exported
from .sweeps.store.export import export as export
from .sweeps.store.label import Label as Label
from .sweeps.store.label import label as label
from .sweeps.store.merge import Merged as Merged
from .sweeps.store.merge import merge as merge
from .sweeps.store.status import Status as Status
from .sweeps.store.status import status as status
from .sweeps.store.store import open_sweep as open_sweep
from .sweeps.store.verify import verify as verify

__all__ = [
    "LATTICES",
    "MODELS",
    "Accumulator",
    "Adatoms",
    "BlumeCapel",
    "Bootstrap",
    "Clock",
    "ClusterExpansion",
    "Configurations",
    "Consolidated",
    "Exported",
    "Fit",
    "FunctionKernel",
    "Guess",
    "IncompleteError",
    "Ising",
    "Label",
    "Lattice",
    "LatticeGas",
    "Merged",
    "Model",
    "PairAlloy",
    "Parameter",
    "Plan",
    "Potts",
    "Proposal",
    "RequestError",
    "Samples",
    "Schedule",
    "SegregationSlab",
    "SiteClasses",
    "Slab",
    "SolidSolution",
    "Status",
    "StoreSummary",
    "Study",
    "Sweep",
    "Term",
    "ThreeBodyAlloy",
    "Trajectory",
    "Variable",
    "arrhenius",
    "assign_species",
    "bayes_factors",
    "bcc",
    "bic",
    "binder_crossing",
    "bootstrap",
    "calibrate",
    "cancel",
    "catalogue",
    "chain",
    "classes_of",
    "clusters_within",
    "combine",
    "compare",
    "configurations",
    "connect",
    "consolidate",
    "count_atoms",
    "count_configurations",
    "count_endmembers",
    "count_measured",
    "crystal",
    "cubic",
    "diamond",
    "disorder_average",
    "expansion_from_icet",
    "expansion_from_smol",
    "export",
    "extend",
    "fcc",
    "find_atoms",
    "finite_size_scaling",
    "fit",
    "fit_sites",
    "guess",
    "hcp",
    "honeycomb",
    "hop_rates",
    "interpolate",
    "joint_region",
    "kagome",
    "kernel",
    "label",
    "landscape",
    "latin_hypercube",
    "lattice_from_structure",
    "leave_one_out",
    "measure",
    "measure_rate",
    "merge",
    "neighborhoods",
    "oblique",
    "observed_counts",
    "offered_species",
    "open_sweep",
    "ordering",
    "p_values",
    "phase_diagram",
    "plan",
    "posterior",
    "profile_landscape",
    "propose",
    "random_mixing",
    "read_image",
    "rectangular",
    "reweight",
    "reweighted_landscape",
    "run",
    "sample",
    "sample_size",
    "short_range_order",
    "site_energies",
    "slab",
    "slab_landscape",
    "slab_landscapes",
    "sliding_fft",
    "snapshot",
    "sobol",
    "spin_overlap",
    "spots",
    "square",
    "statistical_distance",
    "status",
    "stripes",
    "structure_factor",
    "study",
    "submit",
    "trajectory",
    "triangular",
    "unmix",
    "unpack_species",
    "verify",
]
