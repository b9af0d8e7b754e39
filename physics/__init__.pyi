from .errors import RequestError as RequestError
from .kernels.kernel import Schedule as Schedule
from .kernels.lattice_kernel import sample as sample
from .kernels.observables import Samples as Samples
from .kinetics.adatoms import Adatoms as Adatoms
from .kinetics.trajectories import Trajectory as Trajectory
from .kinetics.trajectories import trajectory as trajectory
from .lattices.clusters import clusters_within as clusters_within
from .lattices.configurations import Configurations as Configurations
from .lattices.configurations import configurations as configurations
from .lattices.configurations import count_configurations as count_configurations
from .lattices.lattice import LATTICES as LATTICES
from .lattices.lattice import Lattice as Lattice
from .lattices.lattice import bcc as bcc
from .lattices.lattice import chain as chain
from .lattices.lattice import crystal as crystal
from .lattices.lattice import cubic as cubic
from .lattices.lattice import diamond as diamond
from .lattices.lattice import fcc as fcc
from .lattices.lattice import hcp as hcp
from .lattices.lattice import honeycomb as honeycomb
from .lattices.lattice import kagome as kagome
from .lattices.lattice import oblique as oblique
from .lattices.lattice import rectangular as rectangular
from .lattices.lattice import square as square
from .lattices.lattice import triangular as triangular
from .lattices.site_classes import SiteClasses as SiteClasses
from .lattices.structures import lattice_from_structure as lattice_from_structure
from .lattices.structures import offered_species as offered_species
from .models.alloys import PairAlloy as PairAlloy
from .models.alloys import SolidSolution as SolidSolution
from .models.alloys import ThreeBodyAlloy as ThreeBodyAlloy
from .models.cluster_expansion import ClusterExpansion as ClusterExpansion
from .models.cluster_expansion import Term as Term
from .models.icet_expansion import expansion_from_icet as expansion_from_icet
from .models.ising import Ising as Ising
from .models.model import Model as Model
from .models.model import Parameter as Parameter
from .models.smol_expansion import expansion_from_smol as expansion_from_smol
from .models.spin_models import BlumeCapel as BlumeCapel
from .models.spin_models import Clock as Clock
from .models.spin_models import LatticeGas as LatticeGas
from .models.spin_models import Potts as Potts
from .registry import MODELS as MODELS
from .slab.lattice import Slab as Slab
from .slab.lattice import slab as slab
from .slab.model import SegregationSlab as SegregationSlab
from .structure_factor import structure_factor as structure_factor
from .variables import Variable as Variable
from .variables import unpack_species as unpack_species

__all__ = [
    "LATTICES",
    "MODELS",
    "Adatoms",
    "BlumeCapel",
    "Clock",
    "ClusterExpansion",
    "Configurations",
    "Ising",
    "Lattice",
    "LatticeGas",
    "Model",
    "PairAlloy",
    "Parameter",
    "Potts",
    "RequestError",
    "Samples",
    "Schedule",
    "SegregationSlab",
    "SiteClasses",
    "Slab",
    "SolidSolution",
    "Term",
    "ThreeBodyAlloy",
    "Trajectory",
    "Variable",
    "bcc",
    "chain",
    "clusters_within",
    "configurations",
    "count_configurations",
    "crystal",
    "cubic",
    "diamond",
    "expansion_from_icet",
    "expansion_from_smol",
    "fcc",
    "hcp",
    "honeycomb",
    "kagome",
    "lattice_from_structure",
    "oblique",
    "offered_species",
    "rectangular",
    "sample",
    "slab",
    "square",
    "structure_factor",
    "trajectory",
    "triangular",
    "unpack_species",
]
