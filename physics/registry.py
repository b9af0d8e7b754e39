"""The lattices and models that a spec file may name, and the kernel of each model."""

from collections.abc import Callable, Mapping
from typing import Any

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import ModelKernel, Schedule
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.kinetics.adatoms import Adatoms
from latticescape.physics.kinetics.kernel import AdatomKernel
from latticescape.physics.lattices import lattice as lattices
from latticescape.physics.lattices.lattice import Lattice, LatticeMaker
from latticescape.physics.models.alloys import PairAlloy, SolidSolution, ThreeBodyAlloy
from latticescape.physics.models.ising import Ising
from latticescape.physics.models.model import ParametricModel
from latticescape.physics.slab.kernel import SlabKernel
from latticescape.physics.slab.lattice import KIND, slab
from latticescape.physics.slab.model import SegregationSlab

LATTICES: dict[str, LatticeMaker] = {**lattices.LATTICES, KIND: slab}

MODELS: dict[str, type[ParametricModel]] = {
    model.kind: model
    for model in (Ising, PairAlloy, ThreeBodyAlloy, SolidSolution, Adatoms, SegregationSlab)
}

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
        If a lattice other than a slab has layers, or a number is out of range.

    Examples
    --------
    >>> lattice_of({"kind": "slab", "size": 4, "layers": 3}).sites
    48
    """
    if "layers" in table and table["kind"] != KIND:
        raise RequestError(
            f"a {table['kind']} lattice has no layers",
            came=f"layers = {table['layers']!r}",
            allowed=f'layers of kind = "{KIND}"',
            hint="leave layers out",
        )
    return LATTICES[table["kind"]](**{name: v for name, v in table.items() if name != "kind"})


def kernel_for(
    lattice: Lattice,
    model: ParametricModel,
    schedule: Schedule,
    swept: tuple[str, ...],
    keep: tuple[str, ...] = (),
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
    return KERNELS.get(model.kind, LatticeKernel)(lattice, model, schedule, swept, keep)
