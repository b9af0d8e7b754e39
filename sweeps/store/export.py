"""``export``: a store as a netCDF file, as a CSV table, or as an RO-Crate with both."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.extras import optional_imports
from latticescape.physics.provenance import package_version
from latticescape.physics.store_contents import check_array
from latticescape.physics.variables import BOOKKEEPING, RESTART, SPINS, STATES, VARIABLES
from latticescape.sweeps.store.arrays import DAMAGE
from latticescape.sweeps.store.atomic_write import atomic_write, check_parent, fsync, is_free
from latticescape.sweeps.store.crate import METADATA, Crate
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.object_store import is_url
from latticescape.sweeps.store.store import DONE, Store

if TYPE_CHECKING:
    import pandas as pd
    import zarr

Format = Literal["netcdf", "csv", "ro-crate"]

# A variable with one further dimension becomes so many columns of a table at most.
MAX_COLUMNS = 1024

# Attributes of a store that describe its files, not its results.
OF_FILES = ("coordinates", "block_shape", "store_id")

# Attributes of an array that say what it holds.
ATTRIBUTES = ("long_name", "units", "formula", "flag_values", "flag_meanings")

# Types of pandas for whole numbers and booleans that may be missing, by the kind of NumPy.
NULLABLE = {"b": "boolean", "i": "Int64", "u": "UInt64"}

# A text that begins so is a formula for a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Exported:
    """An exported store.

    Attributes
    ----------
    store, path
        The store, and the new file or folder.
    points, done
        The number of points of the sweep, and of those done.
    bytes
        The size of the new files.
    left_out
        Variables that are not in the table, since they are no columns.
    """

    store: str
    path: str
    points: int
    done: int
    bytes: int
    left_out: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All fields as one flat JSON object."""
        return asdict(self)


def export(
    store: StorePath,
    out: str | Path,
    to: Format = "netcdf",
    *,
    author: str = "",
    license: str = "",  # noqa: A002
) -> Exported:
    """Write the results of a store into a file for other programs.

    Parameters
    ----------
    store
        The store of a sweep, a folder or URL.
    out
        The new file, or the new folder of an RO-Crate. It is written whole or not at all.
    to
        ``"netcdf"``: all variables with units, axes and provenance, for xarray, MATLAB, R, Julia.
        ``"csv"``: a row per point, with the parameters, the state, all variables that are one
        number per point, and a column for each bin of histograms, such as ``histogram_3``.
        ``"ro-crate"``: a folder with both, the spec, and their description in
        ``ro-crate-metadata.json`` (RO-Crate 1.1), for repositories such as Zenodo.
    author, license
        For an RO-Crate: who made it, and the URL of the licence under which it may be used.

    Returns
    -------
    Exported
        What was written. Points that are not done are NaN (0 in whole numbers of a netCDF file);
        ``state`` is "pending", "failed" or "poisoned" for them.

    Raises
    ------
    RequestError
        If there is no store of a sweep, it is damaged, the format is unknown, or ``out`` exists or
        cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from latticescape import Ising, Schedule, Sweep, run, square
    >>> folder = tempfile.mkdtemp()
    >>> sweep = Sweep(square(4), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2), seed=1)
    >>> ds = run(sweep, f"{folder}/ising.zarr", "inline")
    >>> exported = export(f"{folder}/ising.zarr", f"{folder}/ising.csv", "csv")
    >>> table = pd.read_csv(exported.path)
    >>> [*table.columns[:4]], bool((table.energy == ds.energy).all())
    (['T', 'state', 'energy', 'energy_se'], True)
    """
    path = _checked(out, to)
    if to != "ro-crate" and (author or license):
        raise RequestError(
            "author and licence are written into an RO-Crate only",
            came=f"--to {to}",
            allowed="--to ro-crate",
            hint=f"latticescape export {store} crate --to ro-crate",
        )
    if license and not license.startswith(("https://", "http://")):
        raise RequestError(
            "the licence is not a URL",
            came=license,
            allowed="the address of the licence's text",
            hint="--license https://spdx.org/licenses/CC-BY-4.0",
        )
    if to != "csv":
        with optional_imports():
            import h5netcdf  # noqa: F401 - before anything is read
    source = Results(Store(store))
    source.store.check_axes()
    left_out = source.left_out if to == "csv" else ()
    with atomic_write(path) as draft:
        if to == "ro-crate":
            draft.mkdir()
            _write_crate(source, draft, author, license)
        elif to == "csv":
            _write_csv(source, draft)
        else:
            _write_netcdf(source, draft)
        files = [draft] if draft.is_file() else [*draft.iterdir()]
        size = sum(file.stat().st_size for file in files)
        fsync(files, below=draft.parent)
    done = int((source.states == DONE).sum())
    return Exported(str(store), str(path), source.states.size, done, size, left_out)


@dataclass(frozen=True)
class Column:
    """A variable or coordinate of a store.

    Attributes
    ----------
    array, dims, attrs
        Its array, the names of its dimensions, and its unit and meaning.
    """

    array: "zarr.Array[Any]"
    dims: tuple[str, ...]
    attrs: dict[str, Any]


class Results:
    """The results of a store, without those of points that are not done.

    They are read by the metadata on disk, since a store of a user's function does not hold the
    function that declares them.

    Parameters
    ----------
    store
        The opened store.

    Attributes
    ----------
    states
        The state of every point, in the shape of the grid.
    dims
        The dimensions of the grid.
    axes, variables, coordinates
        What the store holds by name; coordinates are those of further dimensions.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.states = store, store.states()
        self.dims = tuple(store.columns)
        self.axes: dict[str, Column] = {}
        self.variables: dict[str, Column] = {}
        self.coordinates: dict[str, Column] = {}
        sizes = dict(zip(self.dims, store.shape, strict=True))
        marks = {variable.name for variable in BOOKKEEPING}
        order = {name: place for place, name in enumerate(VARIABLES)}
        arrays = store.arrays()
        for name in sorted(arrays, key=lambda name: order.get(name, len(order))):
            array = arrays[name]
            dims = tuple(getattr(array.metadata, "dimension_names", None) or ())
            named = len(dims) == array.ndim and all(map(_is_name, (name, *dims)))
            if not named or any(
                sizes.setdefault(dim, size) != size
                for dim, size in zip(dims, array.shape, strict=True)
            ):
                raise damage(store, f"{name} has other dimensions than the other arrays", dims)
            attrs = {k: v for k in ATTRIBUTES if _is_plain(v := array.attrs.get(k))}
            column = Column(array, dims, attrs)
            if name in store.axes:
                self.axes[name] = column
            elif dims[: len(self.dims)] == self.dims:
                if name in marks | {RESTART}:
                    continue
                if array.dtype.kind not in "biufc":
                    raise damage(store, f"{name} holds no numbers", array.dtype)
                self.variables[name] = column
            elif len(dims) == 1:
                self.coordinates[name] = column

    def read(self, column: Column) -> npt.NDArray[Any]:
        """All values of a variable or coordinate.

        Raises
        ------
        RequestError
            If they cannot be read, or are too large for the memory.
        """
        name = column.array.basename
        check_array(self.store.location.contents, name, loaded=True)
        try:
            return np.asarray(column.array[...])
        except DAMAGE as error:
            raise damage(self.store, f"{name} cannot be read", error) from error

    def parts(self, name: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """The values of a variable by name; those of a complex one as two real variables.

        Of points that are not done they are NaN, or 0 if they are whole numbers.
        """
        values = self.read(self.variables[name])
        values[self.states != DONE] = np.nan if values.dtype.kind in "fc" else 0
        if values.dtype.kind == "c":
            yield f"{name}_real", values.real
            yield f"{name}_imag", values.imag
        else:
            yield name, values

    @property
    def left_out(self) -> tuple[str, ...]:
        """Variables that are not in a table."""
        return tuple(name for name in self.variables if not self.columns_of(name))

    def columns_of(self, name: str) -> int:
        """How many columns of a table a variable becomes, 0 if it is left out."""
        further = self.variables[name].array.shape[len(self.dims) :]
        number = further[0] if further else 1
        return 0 if name == SPINS or len(further) > 1 or number > MAX_COLUMNS else number

    @property
    def provenance(self) -> dict[str, int | str]:
        """Where the results come from."""
        attrs = {n: v for n, v in self.store.group.attrs.items() if n not in OF_FILES}
        return {n: v if isinstance(v, int | str) else json.dumps(v) for n, v in attrs.items()}


def _is_name(text: object) -> bool:
    return isinstance(text, str) and text.isidentifier()


def _is_plain(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(some, int | str) for some in values)


def damage(store: Store, what: str, came: object) -> RequestError:
    """The error for a store that cannot be exported."""
    return RequestError(
        f"the store {store.path} is damaged: {what}",
        came=came,
        allowed="a store without damage",
        hint=f"latticescape verify {store.path} --repair, and latticescape run",
    )


def _checked(out: str | Path, to: str) -> Path:
    """The path of the export, checked."""
    if to not in get_args(Format):
        raise RequestError(
            "unknown format of an export",
            came=to,
            allowed=" | ".join(get_args(Format)),
            hint="--to netcdf",
        )
    suffix = {"netcdf": ".nc", "csv": ".csv"}.get(to, "")
    if is_url(out):
        raise RequestError(
            "a store can only be exported to a disk",
            came=out,
            allowed="a path",
            hint=f"latticescape export STORE results{suffix} --to {to}",
        )
    path = Path(out)
    if not is_free(path) or (suffix and path.exists()):
        raise RequestError(
            f"{path} already exists",
            allowed="a new path",
            hint=f"latticescape export STORE another{suffix} --to {to}",
        )
    check_parent(path)
    return path


def _write_netcdf(source: Results, file: Path) -> None:
    """Write one variable after the other, so that only one of them is in memory."""
    import xarray as xr  # lazy: slow, and only needed here

    coordinates: dict[str, Any] = {
        name: (dim, _text(values), source.axes[name].attrs if name in source.axes else {})
        for dim, columns in source.store.columns.items()
        for name, values in columns.items()
    }
    for name, column in source.coordinates.items():
        coordinates[name] = (column.dims, _text(source.read(column)), column.attrs)
    (state,) = (variable for variable in BOOKKEEPING if variable.name == "state")
    history = f"exported by latticescape {package_version()} on {_today()}"
    xr.Dataset(
        {"state": (source.dims, source.states, state.attrs)},
        coordinates,
        {**source.provenance, "history": history},
    ).to_netcdf(file, engine="h5netcdf")
    for variable, column in source.variables.items():
        for name, values in source.parts(variable):
            data = {name: (column.dims, values, column.attrs)}
            xr.Dataset(data).to_netcdf(file, mode="a", engine="h5netcdf")


def _text(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.astype(object) if values.dtype.kind in "TU" else values


def _write_csv(source: Results, file: Path) -> None:
    _table(source).to_csv(file, index=False, na_rep="NaN")


def _table(source: Results) -> "pd.DataFrame":
    """A row per point, the last axis fastest."""
    import pandas as pd  # lazy: slow, and only needed here

    columns: dict[str, Any] = {}
    places = np.indices(source.states.shape).reshape(source.states.ndim, -1)
    for place, by_name in zip(places, source.store.columns.values(), strict=True):
        for name, values in by_name.items():
            formulas = [v for v in values if isinstance(v, str) and v.startswith(FORMULA)]
            if formulas:
                raise RequestError(
                    f"a spreadsheet would run a value of {name} as a formula",
                    came=repr(formulas[0]),
                    allowed="words that begin with a letter or digit",
                    hint="--to netcdf",
                )
            columns[name] = values[place]
    states = source.states.ravel()
    columns["state"] = np.array(STATES, object)[states]
    for variable, held in source.variables.items():
        if not source.columns_of(variable):
            continue
        for name, values in source.parts(variable):
            rows = values.reshape(states.size, -1)
            one = held.dims == source.dims
            names = [name] if one else [f"{name}_{n}" for n in range(rows.shape[1])]
            for column, single in zip(names, rows.T, strict=True):
                series = pd.Series(single)
                nullable = NULLABLE.get(single.dtype.kind)
                if nullable and (states != DONE).any():
                    series = series.astype(nullable).mask(states != DONE)  # type: ignore[call-overload]
                columns[column] = series
    return pd.DataFrame(columns)


def _write_crate(source: Results, folder: Path, author: str, license_url: str) -> None:
    _write_netcdf(source, folder / "results.nc")
    _write_csv(source, folder / "points.csv")
    (folder / "spec.toml").write_text(str(source.store.group.attrs["spec"]), encoding="utf-8")
    measured = {n: column.attrs for n, column in {**source.axes, **source.variables}.items()}
    crate = Crate(source.store, measured, source.states, author, license_url, _today())
    text = json.dumps(crate.metadata(folder), indent=2, ensure_ascii=False)
    (folder / METADATA).write_text(f"{text}\n", encoding="utf-8")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
