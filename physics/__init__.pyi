from .errors import RequestError as RequestError
from .kernels.kernel import Schedule as Schedule
from .kernels.lattice_kernel import sample as sample
from .kernels.observables import Samples as Samples
from .kinetics.adatoms import Adatoms as Adatoms
from .kinetics.trajectories import Trajectory as Trajectory
from .kinetics.trajectories import trajectory as trajectory
from .lattices.configurations import Configurations as Configurations
from .lattices.configurations import configurations as configurations
from .lattices.configurations import count_configurations as count_configurations
from .lattices.lattice import LATTICES as LATTICES
from .lattices.lattice import Lattice as Lattice
from .lattices.lattice import cubic as cubic
from .lattices.lattice import honeycomb as honeycomb
from .lattices.lattice import square as square
from .lattices.lattice import triangular as triangular
from .models.alloys import PairAlloy as PairAlloy
from .models.alloys import SolidSolution as SolidSolution
from .models.alloys import ThreeBodyAlloy as ThreeBodyAlloy
from .models.ising import Ising as Ising
from .models.model import Model as Model
from .models.model import Parameter as Parameter
from .registry import MODELS as MODELS
from .slab.lattice import Slab as Slab
from .slab.lattice import slab as slab
from .slab.model import SegregationSlab as SegregationSlab
from .structure_factor import structure_factor as structure_factor
from .variables import Variable as Variable

__all__ = [
    "LATTICES",
    "MODELS",
    "Adatoms",
    "Configurations",
    "Ising",
    "Lattice",
    "Model",
    "PairAlloy",
    "Parameter",
    "RequestError",
    "Samples",
    "Schedule",
    "SegregationSlab",
    "Slab",
    "SolidSolution",
    "ThreeBodyAlloy",
    "Trajectory",
    "Variable",
    "configurations",
    "count_configurations",
    "cubic",
    "honeycomb",
    "sample",
    "slab",
    "square",
    "structure_factor",
    "trajectory",
    "triangular",
]
