"""What was seen of a segregating surface: a TOML file that names tables of its three sources."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from latticescape.physics.errors import RequestError
from latticescape.physics.slab.lattice import KIND as SLAB
from latticescape.sweeps.store.location import StorePath

KEYS = {
    "SO": ("table", "column", "weight"),
    "SN": ("table", "column", "weight"),
    "PR": ("table", "column", "error", "convention", "weight"),
}
NEEDED = {"SO": ("table", "column"), "SN": ("table", "column"), "PR": ("table", "column", "error")}
GAUSSIAN = "gaussian"
PROFILE = "PR"
VARIABLES = ("histogram_replica", "composition", "ca_fraction", "ca_fraction_se")
HINT = '[SO], then table = "surface_counts.csv" and column = "with_oxygen"'


@dataclass(frozen=True)
class SlabSources:
    """The arguments of :func:`latticescape.slab_landscape` besides the sweep."""

    sources: Mapping[str, Any]
    weights: Mapping[str, float] | None
    convention: Any

    def landscape(self, simulated: xr.Dataset) -> xr.Dataset:
        """The landscape of a slab's sweep, of which no more is read than the sources need."""
        from latticescape.analysis.inference.landscapes.slabs import slab_landscape

        return slab_landscape(needed(simulated), **self.asked)

    def landscapes(self, models: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
        """Landscapes of several slabs' sweeps that can be compared."""
        from latticescape.analysis.inference.landscapes.slabs import slab_landscapes

        return slab_landscapes({n: needed(model) for n, model in models.items()}, **self.asked)

    @property
    def notes(self) -> list[str]:
        """Why some have no p-value, in sentences."""
        if self.weights:
            return ["no p-values: the weights are not those of the data, nor is N in the BIC"]
        found = ["N of hollows: the independent draws that they are worth"]
        if PROFILE in self.sources:
            levels = "S² of a layer that is many errors off levels off, and follows no χ²"
            found.append(f"no p-value of {PROFILE}, nor in total: {levels}")
        return found

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments by name, those that are not the defaults."""
        asked: dict[str, Any] = {"sources": dict(self.sources)}
        if self.weights:
            asked["weights"] = dict(self.weights)
        if self.convention != GAUSSIAN:
            asked["convention"] = self.convention
        return asked


def is_slab(simulated: xr.Dataset) -> bool:
    """Whether sources, not images, see what was simulated."""
    return bool(simulated.attrs.get("lattice") == SLAB)


def needed(simulated: xr.Dataset) -> xr.Dataset:
    """What the sources need of a slab's sweep, in memory.

    Raises
    ------
    RequestError
        If the composition is swept.
    """
    if "x" in simulated.dims:
        x = float(simulated["x"][0])
        raise RequestError(
            "the sources of a slab are of one composition",
            came=f"an axis x of {simulated.sizes['x']} values",
            allowed="one of them: a sweep with x in [model], not in [grid]",
            hint=f"x = {x:g} in [model], or compare … --at NAME.x={x:g}",
        )
    return simulated[[name for name in VARIABLES if name in simulated]].load()


def sources_for(store: StorePath | str, observed: Sequence[Path]) -> SlabSources:
    """The sources that were given for the store of a slab.

    Raises
    ------
    RequestError
        If what was given is not one file of sources, or as :func:`read_sources`.
    """
    if len(observed) != 1 or observed[0].suffix != ".toml":
        raise RequestError(
            f"the store {store} is of a slab, which is seen by several sources",
            came=" ".join(map(str, observed)),
            allowed="one file of sources",
            hint=f"sources.toml with {HINT}",
        )
    return read_sources(observed[0])


def slabs_among(models: Mapping[str, Any]) -> list[str]:
    """Names of the models that are sweeps of a slab."""
    return [n for n, model in models.items() if not isinstance(model, str) and is_slab(model)]


def slabs_to_compare(models: Mapping[str, Any], observed: Sequence[Path]) -> SlabSources | None:
    """The sources by which models are compared if they are slabs, and None if they are not.

    Parameters
    ----------
    models
        Sweeps' Datasets by name; anything else is of no slab.
    observed
        What was given as observed.

    Raises
    ------
    RequestError
        If some are slabs and some are not, or as :func:`sources_for`.
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
            "a slab is compared with slabs alone",
            came=", ".join(others),
            allowed="--model, each the store of a slab",
            hint="a sweep whose energies are 0, --model zero=runs/zero.zarr, for random cations",
        )
    return sources_for(f"of the model {slabs[0]}", observed)


def check_no_sources(
    store: StorePath | str, simulated: xr.Dataset, observed: Sequence[Path]
) -> None:
    """Refuse a file of sources for a store that is not of a slab."""
    if any(path.suffix == ".toml" for path in observed):
        raise RequestError(
            "a file of sources is of a slab",
            came=f"{store}, a sweep on {simulated.attrs.get('lattice', 'no lattice')}",
            allowed='a sweep of kind = "segregation_slab"',
            hint="a table of counts, or of atoms",
        )


def read_sources(path: Path) -> SlabSources:
    """The sources that a TOML file names.

    Parameters
    ----------
    path
        With one or more of the tables [SO], [SN] and [PR]; each has ``table``, a CSV file beside
        it, and ``column``. [PR] also has ``error``, a number or a column, and may have
        ``convention``. Either all have a ``weight`` or none.

    Raises
    ------
    RequestError
        If the file or a table cannot be read, or a key is unknown or missing.
    """
    named = _tables(path)
    found = {name: _source(name, keys, path.parent) for name, keys in named.items()}
    weights = {name: keys["weight"] for name, keys in named.items() if "weight" in keys}
    return SlabSources(found, weights or None, named.get(PROFILE, {}).get("convention", GAUSSIAN))


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        named = tomllib.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"cannot read the sources in {path}", came=error, hint=HINT) from None
    if not named:
        raise RequestError(f"{path} names no source", allowed=" | ".join(KEYS), hint=HINT)
    for name, keys in named.items():
        if name not in KEYS or not isinstance(keys, dict):
            raise RequestError(
                f"{path} names a source that a slab does not have",
                came=name,
                allowed=" | ".join(KEYS),
                hint=HINT,
            )
        unknown = [key for key in keys if key not in KEYS[name]]
        missing = [key for key in NEEDED[name] if key not in keys]
        if unknown or missing:
            raise RequestError(
                f"[{name}] of {path} "
                + (f"has an unknown key {unknown[0]}" if unknown else f"lacks {missing[0]}"),
                came=", ".join(keys) or "nothing",
                allowed=", ".join(KEYS[name]),
                hint=HINT,
            )
    return named


def _source(name: str, keys: Mapping[str, Any], folder: Path) -> Any:
    from latticescape.analysis.counts.tables import read_table

    table = read_table(folder / str(keys["table"]))

    def column(of: Any) -> Any:
        if of not in table:
            raise RequestError(
                f"the table {keys['table']} of [{name}] has no column {of}",
                came=", ".join(table.columns),
                allowed="one of these",
            )
        return table[of].tolist()

    values, error = column(keys["column"]), keys.get("error")
    if name != PROFILE:
        return values
    number = isinstance(error, (int, float))
    return {"value": values, "error": [error] * len(values) if number else column(error)}
