"""Reading a spec file: from its tables to the parts of a sweep."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import Schedule
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import USUAL
from latticescape.physics.lattices.structures import lattice_from_structure
from latticescape.physics.registry import LATTICES, MODELS, lattice_of
from latticescape.sweeps.functions.function import FunctionKernel
from latticescape.sweeps.functions.kernel_schema import KernelTable
from latticescape.sweeps.schema import Choice, Table, parse_toml
from latticescape.sweeps.spec.designs import KINDS, read_points

# Values are checked where a sweep is made in Python too: by Sweep, Axis, Schedule, the lattices and
# the models. The schemas check what only a file can have wrong: its tables and keys.


class SweepTable(Table):
    """``[sweep]``."""

    seed: Any = Field(default=0, examples=[2026])
    keep: Any = Field(default=(), examples=[["samples"]])
    classes: Any = Field(default=USUAL, examples=["translations"])
    extendable: Any = Field(default=True, examples=[False])


class LatticeTable(Table):
    """``[lattice]``."""

    kind: Annotated[str, Choice(LATTICES)] = Field(default="", examples=["square"])
    size: Any = Field(examples=[64])
    boundary: Any = Field(default=None, examples=[["periodic", "open"]])
    cell: Any = Field(default=None, examples=[[[1.0, 0.0], [0.0, 1.3]]])
    basis: Any = Field(default=None, examples=[[[0.0, 0.0], [0.5, 0.5]]])
    sublattice: Any = Field(default=None, examples=[["A", "B"]])
    ratio: Any = Field(default=None, examples=[1.3])
    angle: Any = Field(default=None, examples=[80])
    layers: Any = Field(default=None, examples=[4])
    structure: Any = Field(default=None, examples=["perovskite.cif"])

    @model_validator(mode="after")
    def _has_kind_or_cell(self) -> "LatticeTable":
        if not self.kind and self.cell is None and self.structure is None:
            raise RequestError(
                "[lattice] lacks the key kind",
                allowed=" | ".join(LATTICES),
                hint='kind = "square", cell = [[1.0, 0.0], [0.0, 1.3]] or structure = "x.cif"',
            )
        return self


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
    rule: Any = Field(default="auto", examples=["heat_bath"])
    demon_period: Any = Field(default=8, examples=[8])
    until: Any = Field(default=None, examples=[{"energy_se": 1e-4, "max_samples": 10000}])


class DesignTable(Table):
    """``[design]``: points that fill ranges, one of each parameter."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, Choice(KINDS)] = Field(examples=["sobol"])
    number: Any = Field(examples=[256])
    seed: Any = Field(default=0, examples=[1])


class ModelSpec(Table):
    """A spec file of a lattice model."""

    sweep: SweepTable = Field(default_factory=SweepTable)
    lattice: LatticeTable
    model: ModelTable
    grid: dict[str, Any] = Field(default_factory=dict)
    points: Any = None
    design: DesignTable | None = None
    schedule: ScheduleTable


class FunctionSpec(Table):
    """A spec of a user's function, as a store keeps it."""

    sweep: SweepTable = Field(default_factory=SweepTable)
    grid: dict[str, Any]
    kernel: KernelTable


def parts_of(text: str, folder: Path | None = None) -> dict[str, Any]:
    """The arguments of a :class:`Sweep`, from the text of a spec file.

    Only a spec in a folder may name a table of points, relative to it: reading the spec of a store
    opens no file.

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
    grid = tables.get("grid")
    parts: dict[str, Any] = {"grid": grid, **spec.sweep.model_dump()}
    if isinstance(spec, FunctionSpec):
        return {"kernel": FunctionKernel.of_table(tables["kernel"]), **parts}
    parts["points"] = _points(tables, folder)
    if grid is None and parts["points"] is None:
        raise RequestError(
            "the spec lacks the table grid",
            allowed="a grid, points or a design",
            hint="[grid] with T = [2.0, 2.5], or points = [{ T = 2.0 }, { T = 2.5 }]",
        )
    lattice = _lattice(tables["lattice"], folder)
    kind = MODELS[tables["model"].pop("kind")]
    try:
        model = kind.of_table(tables["model"])
    except RequestError as error:
        raise error.within("[model]") from None
    return {"lattice": lattice, "model": model, "schedule": Schedule(**tables["schedule"]), **parts}


def _lattice(table: dict[str, Any], folder: Path | None) -> Lattice:
    """The lattice of a spec, from its table or from a structure file in the spec's folder."""
    if "structure" not in table:
        return lattice_of(table)
    rest = {name: value for name, value in table.items() if name not in ("structure", "size")}
    if folder is None or rest.keys() - {"boundary"} or not isinstance(table["structure"], str):
        raise RequestError(
            "a structure file is the whole lattice of a spec file"
            if folder is not None
            else "the spec names a structure file, but was not read from a file",
            came=f"structure = {table['structure']!r}, {', '.join(rest)}".rstrip(", "),
            allowed="structure, size and boundary in a spec file; or cell and basis",
            hint='structure = "perovskite.cif"',
        )
    boundary = table.get("boundary")
    return lattice_from_structure(folder / table["structure"], table["size"], boundary=boundary)


def _points(tables: dict[str, Any], folder: Path | None) -> Any:
    """The points of a spec, from itself, a table or a design; None if it has a grid only."""
    points, design = tables.get("points"), tables.get("design")
    if points is not None and design is not None:
        raise RequestError("the spec has points and a design", allowed="one of them, and a grid")
    if design is not None:
        ranges = {
            name: ends for name, ends in design.items() if name not in DesignTable.model_fields
        }
        return KINDS[design["kind"]](ranges, design["number"], design.get("seed", 0))
    if not isinstance(points, str):
        return points
    if folder is None:
        raise RequestError(
            "the spec names a table of points, but is no file",
            came=points,
            allowed="the points themselves: points = [{ T = 2.0 }, { T = 2.5 }]",
        )
    return read_points(folder / points)
