"""The lattices and models that a spec file may name, and the kernel of each model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import ModelKernel, Schedule
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.kinetics.adatoms import Adatoms
from latticescape.physics.kinetics.kernel import AdatomKernel
from latticescape.physics.lattices import lattice as lattices
from latticescape.physics.lattices.lattice import CRYSTAL, Lattice, LatticeMaker
from latticescape.physics.lattices.site_classes import USUAL, ClassChoice
from latticescape.physics.models.alloys import PairAlloy, SolidSolution, ThreeBodyAlloy
from latticescape.physics.models.cluster_expansion import ClusterExpansion
from latticescape.physics.models.ising import Ising
from latticescape.physics.models.model import ParametricModel
from latticescape.physics.models.spin_models import BlumeCapel, Clock, LatticeGas, Potts
from latticescape.physics.slab.kernel import SlabKernel
from latticescape.physics.slab.lattice import KIND, slab
from latticescape.physics.slab.model import SegregationSlab

LATTICES: dict[str, LatticeMaker] = {**lattices.LATTICES, CRYSTAL: lattices.crystal, KIND: slab}

# What to type for a key that a lattice needs.
HINTS = {
    "size": "size = 64",
    "cell": "cell = [[1.0, 0.0], [0.0, 1.3]]",
    "ratio": "ratio = 1.3",
    "angle": "angle = 80",
}


class Models(Mapping[str, type[ParametricModel]]):
    """The models by their kind: those of this package, and those that installed packages register
    as entry points of the group ``latticescape.models``, loaded when they are asked for."""

    group = "latticescape.models"

    def __init__(self, own: Sequence[type[ParametricModel]]) -> None:
        self.own = {model.kind: model for model in own}

    @cached_property
    def registered(self) -> dict[str, EntryPoint]:
        """The entry points of other packages, by kind."""
        found = {point.name: point for point in entry_points(group=self.group)}
        return {kind: point for kind, point in found.items() if kind not in self.own}

    def __getitem__(self, kind: str) -> type[ParametricModel]:
        if kind in self.own:
            return self.own[kind]
        loaded: Any = self.registered[kind].load()
        is_model = isinstance(loaded, type) and issubclass(loaded, ParametricModel)
        if not is_model or loaded.kind != kind:
            raise RequestError(
                f"the entry point {kind} of {self.group} is not a model",
                came=self.registered[kind].value,
                allowed="a subclass of latticescape.Model with the same kind",
            )
        model: type[ParametricModel] = loaded
        return model

    def __iter__(self) -> Iterator[str]:
        return iter((*self.own, *self.registered))

    def __len__(self) -> int:
        return len(self.own) + len(self.registered)


MODELS = Models(
    [
        Ising,
        PairAlloy,
        ThreeBodyAlloy,
        SolidSolution,
        ClusterExpansion,
        LatticeGas,
        Potts,
        Clock,
        BlumeCapel,
        Adatoms,
        SegregationSlab,
    ]
)


def check_registered(model: ParametricModel) -> None:
    """Raise a RequestError if a spec file cannot name the model, so that no worker can make it."""
    if MODELS.get(model.kind) is not type(model):
        raise RequestError(
            f"workers do not know the model class {type(model).__name__}",
            came=f"kind = {model.kind!r}",
            allowed=" | ".join(MODELS),
            hint="ClusterExpansion with terms of your own, or an installed package with an entry "
            f'point {model.kind} = "your_package:{type(model).__name__}" of {Models.group}',
        )


# Models with a kernel of their own; every other model runs under LatticeKernel.
KERNELS: dict[str, Callable[..., ModelKernel]] = {
    Adatoms.kind: AdatomKernel,
    SegregationSlab.kind: SlabKernel,
}


def lattice_of(table: Mapping[str, Any]) -> Lattice:
    """Make the lattice of a spec file's table, whose ``kind`` is known.

    Raises
    ------
    RequestError
        If the kind has no such key, or lacks one, or a number is out of range.

    Examples
    --------
    >>> lattice_of({"kind": "slab", "size": 4, "layers": 3}).sites
    48
    >>> lattice_of({"cell": [[1.0, 0.0], [0.0, 1.3]], "size": [4, 6]}).kind
    'crystal'
    """
    given = {name: value for name, value in table.items() if name != "kind" and value is not None}
    kind = str(table.get("kind") or CRYSTAL)
    accepted = signature(LATTICES[kind]).parameters
    for name, value in given.items():
        if name not in accepted:
            raise RequestError(
                f"a {kind} lattice has no {name}",
                came=f"{name} = {value!r}",
                allowed=", ".join(("kind", *accepted)),
                hint=f"leave {name} out",
            )
    for name, parameter in accepted.items():
        if parameter.default is parameter.empty and name not in given:
            raise RequestError(
                f"a {kind} lattice needs {name}",
                allowed=", ".join(("kind", *accepted)),
                hint=HINTS[name],
            )
    return LATTICES[kind](**given)


def kernel_for(
    lattice: Lattice,
    model: ParametricModel,
    schedule: Schedule,
    swept: tuple[str, ...],
    keep: tuple[str, ...] = (),
    classes: ClassChoice = USUAL,
) -> ModelKernel:
    """Make the kernel of a model on a lattice under a schedule.

    Raises
    ------
    RequestError
        If the model does not support the lattice, the schedule or a swept parameter.

    Examples
    --------
    >>> model = SegregationSlab(w_CL=1.65, w_LL=6.28, w_LO=-7.57)
    >>> kernel_for(slab(4, 4), model, Schedule(10, 5, 2), ("T",)).nominal_rate
    1000000000.0
    """
    kernel = KERNELS.get(model.kind, LatticeKernel)
    if classes != USUAL and kernel is not LatticeKernel:
        raise RequestError(
            f"the configurations of {model.kind} cannot be chosen",
            came=f"classes = {classes.spec}",
            allowed="models on a lattice: Ising, alloys and cluster expansions",
            hint="leave classes out",
        )
    return kernel(lattice, model, schedule, swept, keep, classes)
