"""``catalogue``: the stores below a folder, without opening anything that is not checked first."""

import logging
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import zarr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latticescape.physics.errors import RequestError, shortened
from latticescape.physics.store_contents import DERIVED, ROOT, check_group
from latticescape.sweeps.store.label import read_label
from latticescape.sweeps.store.location import Folder
from latticescape.sweeps.store.object_store import is_url
from latticescape.sweeps.store.status import Status, status_of
from latticescape.sweeps.store.store import Store

# Stores lie in folders of projects, not deeper.
MAX_DEPTH = 12

# Tables of a spec that name what was simulated: a lattice and a model, or a function.
TABLES = ("lattice", "model", "kernel")


Kind = Literal["landscape", "fit", "calibration", "measurement", "segmentation", "phase diagram"]

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Estimate(BaseModel):
    """The estimate of a parameter, and its standard error; None if it has none."""

    model_config = _FROZEN

    value: float
    se: float | None = None


class Derived(BaseModel):
    """What a command writes about a zarr group that it derived from sweeps or images.

    Attributes
    ----------
    kind
        What it is.
    axes
        The number of values along its dimensions.
    created
        When it was made, in the format of ISO 8601.
    sweep
        The digest of the sweep it was made from; "" if it was made from none.
    best_fit
        The parameters that fit best.
    """

    model_config = _FROZEN

    kind: Kind
    axes: dict[str, int] = {}
    created: str = ""
    sweep: str = ""
    best_fit: dict[str, Estimate] = Field(default={}, max_length=100)


@dataclass(frozen=True)
class StoreSummary:
    """A store in a catalogue.

    Attributes
    ----------
    store
        Its path.
    bytes_stored
        Size of its files.
    kind
        "sweep", or what a command derived: "landscape", "fit", "measurement", "segmentation" or
        "phase diagram"; "" if it cannot be read.
    error
        Why it cannot be read, "" if it can; if not, nothing else is known.
    lattice, model, kernel
        Tables of its spec; None where it has none.
    axes
        The number of values along each axis of its grid.
    created
        When it was created, in the format of ISO 8601.
    sweep
        The digest of the sweep that it is, or was made from.
    best_fit
        The value and standard error of each parameter that a landscape or fit holds; of a sweep,
        those of the newest landscape or fit in the same catalogue that was made from it.
    status
        How much of a sweep is done, and who works on it.
    tags, note
        What people wrote about it, see :func:`label`.
    """

    store: str
    bytes_stored: int
    kind: str = ""
    error: str = ""
    lattice: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    kernel: Mapping[str, Any] | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    created: str = ""
    sweep: str = ""
    best_fit: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    status: Status | None = None
    tags: tuple[str, ...] = ()
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The summary as one JSON object, that of its status included."""
        facts = asdict(self)
        progress = facts.pop("status") or {}
        active = self.status is not None and self.status.active
        return {**facts, **progress, "store": self.store, "active": active}


def catalogue(folder: str | Path) -> list[StoreSummary]:
    """Summarize every store in a folder and the folders below it, sorted by path.

    Landscapes, fits, measurements and phase diagrams that commands wrote are listed too. Hidden
    folders and symbolic links to folders are left out, and a store is not searched for other
    stores. What looks like a store and cannot be read is listed with the reason: a damaged store, a
    zarr group of something else, or one that holds what latticescape does not write.

    Parameters
    ----------
    folder
        The folder; a store is listed itself.

    Raises
    ------
    RequestError
        If it is not a folder of this machine.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Ising, Schedule, Sweep, plan, square
    >>> from latticescape.sweeps.store.store import create
    >>> folder = Path(tempfile.mkdtemp())
    >>> sweep = Sweep(square(8), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2))
    >>> _ = create(folder / "project" / "ising.zarr", sweep, plan(sweep))
    >>> (found,) = catalogue(folder)
    >>> found.model, found.axes, found.status.points, found.status.done
    ({'kind': 'ising'}, {'T': 2}, 2, 0)
    """
    top = Path(folder)
    if is_url(folder) or not top.is_dir():
        missing = not is_url(folder) and not top.exists()
        raise RequestError(
            f"there is no folder {folder}" if missing else f"{folder} is not a folder",
            came=None if missing else "a URL" if is_url(folder) else "a file",
            allowed="a folder of this machine that holds stores",
            hint="latticescape list runs",
        )
    if not os.access(top, os.R_OK | os.X_OK):
        raise RequestError(
            f"cannot read the folder {folder}",
            came="Permission denied",
            allowed="a folder you may read",
            hint="latticescape list runs",
        )
    return _fitted([_summary(path) for path in _stores(top)])


def _fitted(found: list[StoreSummary]) -> list[StoreSummary]:
    """Sweeps with the newest best fit that was made from them."""
    made = sorted((s for s in found if s.kind != "sweep" and s.best_fit), key=lambda s: s.created)
    newest = {summary.sweep: summary.best_fit for summary in made if summary.sweep}
    return [
        replace(summary, best_fit=newest[summary.sweep])
        if summary.kind == "sweep" and summary.sweep in newest
        else summary
        for summary in found
    ]


def _stores(top: Path) -> Iterator[Path]:
    """Folders that hold the metadata of a zarr group, sorted."""
    for name, folders, files in os.walk(top):
        path = Path(name)
        if ROOT in files or ROOT in folders:
            folders.clear()
            yield path
        elif len(path.relative_to(top).parts) == MAX_DEPTH:
            folders.clear()
        else:
            folders[:] = sorted(some for some in folders if not some.startswith("."))


def _summary(path: Path) -> StoreSummary:
    size = Folder(path).bytes_stored()
    try:
        derived = _derived(path)
        if derived is not None:
            facts = derived.model_dump()
            return StoreSummary(str(path), size, **facts)
        store = Store(path)
        shape = store.shape  # checks the spec
        spec = tomllib.loads(str(store.group.attrs["spec"]))
        return StoreSummary(
            str(path),
            size,
            "sweep",
            **{name: spec[name] for name in TABLES if isinstance(spec.get(name), dict)},
            axes=dict(zip(spec["grid"], shape, strict=True)),
            created=shortened(store.group.attrs.get("created", "")),
            sweep=shortened(store.digest),
            status=status_of(store),
            **read_label(store.records).model_dump(),
        )
    except RequestError as error:
        return StoreSummary(str(path), size, error=str(error))
    except Exception as error:
        # A stranger's store: what zarr and its codecs raise depends on what is there.
        logging.getLogger("latticescape").debug("%s cannot be read", path, exc_info=error)
        reason = f"{path} cannot be read ({shortened(error)})"
        return StoreSummary(str(path), size, error=reason)


def _derived(path: Path) -> Derived | None:
    """What a command wrote about a group; None if nothing, as in the store of a sweep."""
    try:
        check_group(path)
        attrs = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False).attrs
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # which is said by the store of a sweep that cannot be opened
    if DERIVED not in attrs:
        return None
    try:
        return Derived.model_validate(attrs[DERIVED])
    except ValidationError as error:
        raise RequestError(
            f"{path} is damaged: the attribute {DERIVED} cannot be read",
            came=shortened(attrs[DERIVED], 80),
            hint="make it again, by the command that wrote it",
        ) from error
