"""The registry, and the kernels that implement the kernel protocol."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from latticescape import Sweep
from latticescape.physics import (
    MODELS,
    Adatoms,
    Ising,
    RequestError,
    Schedule,
    SegregationSlab,
    slab,
    square,
)
from latticescape.physics.errors import checked_integer
from latticescape.physics.kernels.kernel import Kernel, ModelKernel
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.physics.kinetics.kernel import AdatomKernel
from latticescape.physics.registry import kernel_for
from latticescape.physics.slab.kernel import SlabKernel

SCHEDULE = Schedule(10, 5, 2)
FILM = SegregationSlab(w_CL=1.65, w_LL=6.28, w_LO=-7.57)
KERNELS: dict[type[ModelKernel], ModelKernel] = {
    LatticeKernel: kernel_for(square(4), Ising(), SCHEDULE, ("T",)),
    SlabKernel: kernel_for(slab(4, 3), FILM, SCHEDULE, ("T",)),
    AdatomKernel: kernel_for(square(4), Adatoms(E_b=0.3, adatoms=1), SCHEDULE, ("T",)),
}
MEMBERS = [name for name in vars(Kernel) if not name.startswith("_")]


@pytest.mark.parametrize("kind", KERNELS, ids=lambda kind: kind.__name__)
def test_a_kernel_implements_every_member_of_the_protocol(kind: type[ModelKernel]) -> None:
    assert len(MEMBERS) >= 16
    assert type(KERNELS[kind]) is kind
    for name in MEMBERS:
        assert getattr(kind, name) is not getattr(Kernel, name), name


@pytest.mark.parametrize("kind", KERNELS, ids=lambda kind: kind.__name__)
def test_a_kernel_has_a_coordinate_for_every_dimension_of_its_variables(
    kind: type[ModelKernel],
) -> None:
    kernel = KERNELS[kind]
    for variable in kernel.variables:
        for dim in variable.dims:
            assert len(kernel.coordinates[dim][1]) == kernel.sizes[dim]


def test_the_slab_and_adatoms_are_no_lattice_kernels() -> None:
    assert not issubclass(SlabKernel, LatticeKernel)
    assert not issubclass(AdatomKernel, LatticeKernel)
    assert not hasattr(SegregationSlab, "orbits")


def test_every_model_is_listed_under_its_own_kind() -> None:
    assert all(model.kind == kind for kind, model in MODELS.items())
    assert {"ising", "adatoms", "segregation_slab"} <= MODELS.keys()


@dataclass(frozen=True)
class Spins(Ising):
    """A model as a package of a user may register it."""

    kind: ClassVar[str] = "spins"


def test_a_registered_model_of_another_package_is_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("spins", f"{__name__}:Spins", MODELS.group)
    wrong = EntryPoint("wrong", "math:pi", MODELS.group)
    monkeypatch.setattr(MODELS, "registered", {"spins": point, "wrong": wrong})
    monkeypatch.setattr(EntryPoint, "load", lambda own: {"spins": Spins, "wrong": 3.0}[own.name])
    sweep = Sweep(square(4), Spins(), {"T": [2.0]}, SCHEDULE)
    assert type(Sweep.from_toml(sweep.to_toml()).model) is Spins
    with pytest.raises(RequestError, match="is not a model"):
        _ = MODELS["wrong"]


def test_a_model_that_workers_do_not_know_is_refused() -> None:
    with pytest.raises(RequestError, match=r"do not know the model class Spins.*entry point"):
        Sweep(square(4), Spins(), {"T": [2.0]}, SCHEDULE)


def test_a_slab_model_needs_a_slab() -> None:
    with pytest.raises(RequestError, match="needs a slab"):
        kernel_for(square(4), FILM, SCHEDULE, ("T",))


@pytest.mark.parametrize("value", [0, 9, 2.0, True, "2", None])
def test_an_integer_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match=r"size is wrong .*whole number from 1 to 8"):
        checked_integer(value, 1, 8, "size is wrong")
