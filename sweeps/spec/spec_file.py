"""Reading a spec file: from its tables to the parts of a sweep."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import Schedule
from latticescape.physics.registry import LATTICES, MODELS, lattice_of
from latticescape.sweeps.functions.function import FunctionKernel
from latticescape.sweeps.functions.kernel_schema import KernelTable
from latticescape.sweeps.schema import Choice, Table, parse_toml

# Values are checked where a sweep is made in Python too: by Sweep, Axis, Schedule, the lattices and
# the models. The schemas check what only a file can have wrong: its tables and keys.


class SweepTable(Table):
    """``[sweep]``."""

    seed: Any = Field(default=0, examples=[2026])
    keep: Any = Field(default=(), examples=[["samples"]])
    extendable: Any = Field(default=True, examples=[False])


class LatticeTable(Table):
    """``[lattice]``."""

    kind: Annotated[str, Choice(LATTICES)] = Field(examples=["square"])
    size: Any = Field(examples=[64])
    layers: Any = Field(default=None, examples=[4])


class ModelTable(Table):
    """``[model]``: its kind, and parameters that depend on it."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, Choice(MODELS)] = Field(examples=["pair_alloy"])


class ScheduleTable(Table):
    """``[schedule]``."""

    equilibration_mcs: Any = Field(examples=[2000])
    samples: Any = Field(examples=[500])
    stride_mcs: Any = Field(examples=[10])
    update: Any = Field(default="local", examples=["local"])
    tempering_mcs: Any = Field(default=0, examples=[10])
    until: Any = Field(default=None, examples=[{"energy_se": 1e-4, "max_samples": 10000}])


class ModelSpec(Table):
    """A spec file of a lattice model."""

    sweep: SweepTable = Field(default_factory=SweepTable)
    lattice: LatticeTable
    model: ModelTable
    grid: dict[str, Any]
    schedule: ScheduleTable


class FunctionSpec(Table):
    """A spec of a user's function, as a store keeps it."""

    sweep: SweepTable = Field(default_factory=SweepTable)
    grid: dict[str, Any]
    kernel: KernelTable


def parts_of(text: str) -> dict[str, Any]:
    """The arguments of a :class:`Sweep`, from the text of a spec file.

    Raises
    ------
    RequestError
        If it is not TOML, a key is unknown or missing, or a part cannot be made.

    Examples
    --------
    >>> parts_of("[grid]")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the spec lacks the table lattice ...
    """
    tables = parse_toml(text, "the spec", "T = [2.0, 2.5]")
    schema = FunctionSpec if "kernel" in tables else ModelSpec
    spec: FunctionSpec | ModelSpec = schema.read(tables, "the spec")
    parts = {"grid": tables["grid"], **spec.sweep.model_dump()}
    if isinstance(spec, FunctionSpec):
        return {"kernel": FunctionKernel.of_table(tables["kernel"]), **parts}
    lattice, kind = lattice_of(tables["lattice"]), MODELS[tables["model"].pop("kind")]
    try:
        for name in tables["model"]:
            if name not in kind.structures:
                kind.parameter(name)
        model = kind(**tables["model"])
    except RequestError as error:
        raise error.within("[model]") from None
    return {"lattice": lattice, "model": model, "schedule": Schedule(**tables["schedule"]), **parts}
