"""Observations on the command line: counts of images, or a TOML file of a slab's sources."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from pydantic import Field

from latticescape.physics.errors import RequestError
from latticescape.physics.slab.lattice import KIND as SLAB
from latticescape.sweeps.schema import Table, parse_toml, read_text
from latticescape.sweeps.store.location import StorePath

GAUSSIAN = "gaussian"
PROFILE = "PR"
VARIABLES = ("histogram_replica", "composition", "ca_fraction", "ca_fraction_se")
HINT = '[SO], then table = "surface_counts.csv" and column = "with_oxygen"'


class CountsTable(Table):
    """A source of counts: a column of a CSV file in the folder of the TOML file."""

    table: str = Field(description="the path of a CSV file", examples=["surface_counts.csv"])
    column: str = Field(description="a column of the CSV file", examples=["with_oxygen"])
    weight: float | None = Field(default=None, description="a number", examples=[1.0])


class ProfileTable(CountsTable):
    """The profile of the layers, with its errors."""

    error: float | str = Field(description="a number, or a column of the CSV file", examples=[0.02])
    convention: str = GAUSSIAN


class SourcesTable(Table):
    """The sources in a file; either all have a ``weight`` or none."""

    SO: CountsTable | None = None
    SN: CountsTable | None = None
    PR: ProfileTable | None = None


@dataclass(frozen=True)
class SlabSources:
    """The arguments of :func:`latticescape.slab_landscape` except the sweep."""

    sources: Mapping[str, Any]
    weights: Mapping[str, float] | None
    convention: Any

    def landscape(self, simulated: xr.Dataset) -> xr.Dataset:
        """The landscape of a slab's sweep; reads only the variables that the sources need."""
        from latticescape.analysis.inference.landscapes.sources import slab_landscape

        return slab_landscape(needed(simulated), **self.asked)

    def landscapes(self, models: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
        """Landscapes of several slabs' sweeps that can be compared."""
        from latticescape.analysis.inference.landscapes.sources import slab_landscapes

        return slab_landscapes({n: needed(model) for n, model in models.items()}, **self.asked)

    @property
    def notes(self) -> list[str]:
        """Sentences that explain N, and why some sources have no p-value."""
        if self.weights:
            return ["no p-values: the weights are not those of the data, nor is N in the BIC"]
        notes = ["N of hollows: their effective number of independent draws"]
        if PROFILE in self.sources:
            reason = "its S² saturates for layers that differ by many errors, and follows no χ²"
            notes.append(f"no p-value of {PROFILE}, nor in total: {reason}")
        return notes

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments by name, except those that are the defaults."""
        asked: dict[str, Any] = {"sources": dict(self.sources)}
        if self.weights:
            asked["weights"] = dict(self.weights)
        if self.convention != GAUSSIAN:
            asked["convention"] = self.convention
        return asked


def is_slab(simulated: xr.Dataset) -> bool:
    """Whether a sweep is of a slab, which is compared with sources and not with images."""
    return bool(simulated.attrs.get("lattice") == SLAB)


def needed(simulated: xr.Dataset) -> xr.Dataset:
    """The variables of a slab's sweep that the sources need, in memory.

    Raises
    ------
    RequestError
        If the composition is swept.
    """
    if "x" in simulated.dims:
        x = float(simulated["x"][0])
        raise RequestError(
            "the sources of a slab are of one composition, and the sweep has an axis x",
            hint=f"x = {x:g} in [model], or compare … --at NAME.x={x:g}",
        )
    return simulated[[name for name in VARIABLES if name in simulated]].load()


def observations_for(
    simulated: xr.Dataset,
    store: StorePath,
    observed: Sequence[Path],
    species: Sequence[str] | None = None,
) -> xr.Dataset | SlabSources:
    """The sources of a slab, or the counts of images on the lattice of any other sweep.

    Raises
    ------
    RequestError
        As :func:`sources_for`; or if a file of sources was passed for another sweep, the sweep is
        not of a lattice, or as ``observed_counts``.
    """
    from latticescape.analysis.counts.classes import classes_of
    from latticescape.analysis.counts.counting import observed_counts

    if is_slab(simulated):
        return sources_for(store, observed)
    check_no_sources(store, simulated, observed)
    check_lattice(simulated, store)
    names = species or species_of_spec(simulated)
    return observed_counts(observed, classes=classes_of(simulated), species=names)


def species_of_spec(simulated: xr.Dataset) -> tuple[str, ...] | None:
    """The names of two species that a sweep's model names for all sites; None of other models."""
    spec = tomllib.loads(str(simulated.attrs.get("spec", "")))
    names = spec.get("model", {}).get("species")
    return tuple(names) if isinstance(names, list) and len(names) == 2 else None


def landscape_function(
    observations: xr.Dataset | SlabSources,
) -> Callable[[xr.Dataset], xr.Dataset]:
    """A function from a sweep, or an extension of it, to its landscape of the observations."""
    from latticescape.analysis.inference.landscapes.landscape import landscape

    if isinstance(observations, SlabSources):
        return observations.landscape
    return partial(landscape, observed=observations)


def check_lattice(simulated: xr.Dataset, store: StorePath) -> None:
    """Refuse a sweep without configurations of a lattice."""
    if "lattice" not in simulated.attrs:
        raise RequestError(
            f"the store {store} is not of a lattice model", came=simulated.attrs.get("function")
        )


def sources_for(store: StorePath, observed: Sequence[Path]) -> SlabSources:
    """The sources that were passed for the store of a slab.

    Raises
    ------
    RequestError
        If not exactly one file of sources was passed, or as :func:`read_sources`.
    """
    if len(observed) != 1 or observed[0].suffix != ".toml":
        raise RequestError(
            f"the store {store} is of a slab, which needs one file of its sources",
            hint=f"sources.toml with {HINT}",
        )
    return read_sources(observed[0])


def slabs_among(models: Mapping[str, Any]) -> list[str]:
    """Names of the models that are sweeps of a slab."""
    return [n for n, model in models.items() if not isinstance(model, str) and is_slab(model)]


def slabs_to_compare(models: Mapping[str, Any], observed: Sequence[Path]) -> SlabSources | None:
    """The sources by which slabs are compared; None if no model is a slab.

    Parameters
    ----------
    models
        Datasets of sweeps by name; a model that is a text, such as ``"random"``, is not a slab.
    observed
        The observations that were passed.

    Raises
    ------
    RequestError
        If some models are slabs and others are not, or as :func:`sources_for`.
    """
    slabs = slabs_among(models)
    others = [name for name in models if name not in slabs]
    if not slabs:
        for name, model in models.items():
            if not isinstance(model, str):
                check_no_sources(f"the model {name}", model, observed)
        return None
    if others:
        raise RequestError(
            "a slab can only be compared with other slabs",
            came=", ".join(others),
            hint="a sweep whose energies are 0, --model zero=runs/zero.zarr, for random cations",
        )
    return sources_for(f"of the model {slabs[0]}", observed)


def check_no_sources(store: StorePath, simulated: xr.Dataset, observed: Sequence[Path]) -> None:
    """Refuse a file of sources for a store that is not of a slab."""
    if any(path.suffix == ".toml" for path in observed):
        raise RequestError(
            f"{store} is not of a slab, and has no sources", hint="a table of counts, or of atoms"
        )


def read_sources(path: Path) -> SlabSources:
    """Read a TOML file of sources, and the CSV files that it names.

    Parameters
    ----------
    path
        A file with one or more of the tables [SO], [SN] and [PR]; each has ``table``, a CSV file
        in the same folder, and ``column``. [PR] also has ``error``, a number or a column, and may
        have ``convention``. Either all have a ``weight`` or none.

    Raises
    ------
    RequestError
        If the file or a table cannot be read, or a key is unknown or missing.
    """
    text = read_text(path, "the sources in", HINT)
    try:
        tables = SourcesTable.read(parse_toml(text, "the file", HINT), "the file")
    except RequestError as error:
        raise error.within(str(path)) from None
    present = {name: source for name, source in tables if source is not None}
    if not present:
        raise RequestError(
            f"{path} names no source", allowed=" | ".join(SourcesTable.model_fields), hint=HINT
        )
    sources: dict[str, Any] = {}
    for name, source in present.items():
        sources[name] = values = _column(name, source, source.column, path.parent)
        if isinstance(source, ProfileTable):
            errors = [source.error] * len(values)
            if isinstance(source.error, str):
                errors = _column(name, source, source.error, path.parent)
            sources[name] = {"value": values, "error": errors}
    weights = {n: source.weight for n, source in present.items() if source.weight is not None}
    convention = GAUSSIAN if tables.PR is None else tables.PR.convention
    return SlabSources(sources, weights or None, convention)


def _column(name: str, source: CountsTable, column: str, folder: Path) -> list[Any]:
    from latticescape.analysis.counts.tables import read_table

    table = read_table(folder / source.table)
    if column not in table:
        raise RequestError(
            f"{source.table} of [{name}] has no column {column}", allowed=" | ".join(table.columns)
        )
    values: list[Any] = table[column].tolist()
    return values
