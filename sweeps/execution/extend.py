"""``extend``: more samples or a longer equilibration for all points of a store; more points."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.run import Cluster, IncompleteError, Report, execute
from latticescape.sweeps.spec.sweep import POINT, Sweep
from latticescape.sweeps.store.atomic_write import fsync, report_unwritable
from latticescape.sweeps.store.label import Label, label, read_label
from latticescape.sweeps.store.location import StorePath, locate
from latticescape.sweeps.store.object_store import is_url
from latticescape.sweeps.store.status import check_idle
from latticescape.sweeps.store.store import Store, open_sweep

if TYPE_CHECKING:
    import xarray as xr


def extend(
    store: StorePath,
    cluster: Cluster = None,
    *,
    samples: int | None = None,
    equilibration_mcs: int | None = None,
    until: Mapping[str, float] | None = None,
    points: Any = None,
    out: StorePath | None = None,
    block_points: int | None = None,
    progress: bool = True,
) -> "xr.Dataset":
    """Give every point of a store more samples or a longer equilibration, or add points to it.

    Points of the store go on from where they stopped. The result has the same bits as a sweep that
    had the longer schedule and all points from the beginning.

    Parameters
    ----------
    store
        Folder of a store, or its URL.
    cluster
        Where to compute; see :func:`run`.
    samples
        The new total number of samples of every point.
    equilibration_mcs
        The new total number of Monte Carlo steps before the first sample. The samples so far then
        belong to the equilibration, if it contains all of them; if not, every point begins anew.
    until
        Targets for the errors, with ``max_samples``; see :class:`Schedule`. If the store has
        targets already, these replace those of the same names.
    points
        Points to be added to a sweep of points on no grid, in any form that :class:`Sweep` takes.
        More values of an axis of a grid need a new store: ``run(sweep.extended({…}), new,
        base=store)``.
    out
        A new store; ``store`` stays as it is. By default the longer store replaces it once every
        point is done. A store in a bucket needs ``out``.
    block_points
        Maximum number of points in a block; changes no bit of the result.
    progress
        Show a progress bar in a terminal or notebook.

    Returns
    -------
    Dataset
        The longer store, lazy; see :func:`open_sweep`.

    Raises
    ------
    RequestError
        If there is no store, its points cannot go on, the schedule is not longer, or a scheduler
        works on the store.
    IncompleteError
        If some points are not done; the same call continues.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Ising, Schedule, Sweep, run, square
    >>> store = tempfile.mkdtemp() + "/ising.zarr"
    >>> sweep = Sweep(square(4), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2), seed=1)
    >>> short = run(sweep, store).load()
    >>> int(extend(store, samples=20).histogram.sum() / short.histogram.sum())
    4
    """
    asked = {"samples": samples, "equilibration_mcs": equilibration_mcs, "until": until}
    extension = Extension.of(store, {**asked, "points": points}, out)
    report = extension.finished(
        execute(
            extension.sweep,
            extension.target,
            cluster,
            base=extension.base,
            block_points=block_points,
            progress=progress,
        )
    )
    if not report.complete:
        raise IncompleteError(report)
    return open_sweep(report.store)


@dataclass(frozen=True)
class Extension:
    """A sweep with a longer schedule or more points, and the store in which it is computed.

    Attributes
    ----------
    store
        The store to be extended.
    sweep
        Its sweep, with the longer schedule or more points.
    target
        Where the longer sweep is computed: ``out``; a hidden folder next to the store; or the store
        itself if it has the schedule already.
    replaces
        Whether the target replaces the store at the end.
    """

    store: StorePath
    sweep: Sweep
    target: StorePath
    replaces: bool = False

    @classmethod
    def of(
        cls,
        store: StorePath,
        asked: Mapping[str, Any],
        out: StorePath | None = None,
    ) -> "Extension":
        """Check a request, and complete an earlier extension that was killed at its very end.

        Parameters
        ----------
        store, out
            As for :func:`extend`.
        asked
            Its parameters ``samples``, ``equilibration_mcs``, ``until`` and ``points``, or some of
            them.

        Raises
        ------
        RequestError
            As :func:`extend`.
        """
        longer = {n: value for n, value in asked.items() if value is not None and value != {}}
        if not longer:
            raise RequestError(
                "nothing to extend by",
                allowed="samples, equilibration, until, or points",
                hint=f"latticescape extend {store} --samples 1000",
            )
        if not is_url(store):
            _complete_replacement(Path(store))
        opened = Store(store)
        if "until" in longer:
            before = opened.sweep.schedule.targets
            longer["until"] = {**({} if before is None else before.table), **longer["until"]}
        points = longer.pop("points", None)
        sweep = opened.sweep.lengthened(**longer) if longer else opened.sweep
        if points is not None:
            sweep = sweep.extended({POINT: points})
            longer["points"] = f"{sweep.points} in all"
        if out is not None:
            return cls(store, sweep, out)
        if sweep.digest == opened.digest:
            return cls(store, sweep, store)
        if is_url(store):
            raise RequestError(
                f"a store in a bucket cannot be replaced as a whole: {store}",
                allowed="another store for the result",
                hint=f"latticescape extend {store} --samples N --out {store}-longer",
            )
        check_idle(opened)
        target = _sibling(Path(store), "extending")
        _check_same_target(target, sweep, longer)
        return cls(store, sweep, target, replaces=True)

    @property
    def base(self) -> StorePath | None:
        """The store from whose points the longer sweep goes on."""
        return None if self.target == self.store else self.store

    def finished(self, report: Report) -> Report:
        """The report of the computation; the store is replaced if every point is done.

        Tags and the note of the store go with it; those that ``out`` has already are kept.

        Raises
        ------
        RequestError
            If a scheduler works on the store that would be replaced.
        """
        if not self.replaces:
            if self.base is not None and read_label(Store(self.target).records) == Label():
                self._copy_label()
            return report
        if report.complete:
            check_idle(Store(self.store))
            self._copy_label()
            with report_unwritable(self.store):
                _replace(Path(self.store), Path(self.target))
        return replace(report, store=str(self.store))

    def _copy_label(self) -> None:
        kept = read_label(Store(self.store).records)
        if kept != Label():
            label(self.target, tags=kept.tags, note=kept.note)


def _sibling(store: Path, ending: str) -> Path:
    """A hidden folder in the same folder as a store."""
    folder = store.resolve()
    return folder.with_name(f".{folder.name}.{ending}")


def _replace(store: Path, new: Path) -> None:
    """Put a new store in the place of another; see :func:`_complete_replacement`."""
    folder, old = store.resolve(), _sibling(store, "replaced")
    folder.rename(old)
    new.rename(folder)
    fsync([folder], below=folder.parent)
    shutil.rmtree(old)


def _complete_replacement(store: Path) -> None:
    """Do what a process that was killed while it replaced the store has left to do."""
    folder, old, new = store.resolve(), _sibling(store, "replaced"), _sibling(store, "extending")
    if not old.exists():
        return
    with report_unwritable(store):
        if not folder.exists():
            (new if new.exists() else old).rename(folder)
        if old.exists():
            shutil.rmtree(old)


def _check_same_target(target: Path, sweep: Sweep, longer: Mapping[str, Any]) -> None:
    """Refuse to extend by another amount than an extension that has begun."""
    if locate(target).is_free():
        return
    begun = Store(target).sweep
    if begun.digest != sweep.digest:
        there = {n: begun.schedule.table.get(n) for n in longer if n != "points"}
        if "points" in longer:
            there["points"] = f"{begun.points} in all, of which some are others"
        raise RequestError(
            "an extension by another amount has begun, and is not finished",
            came=", ".join(f"{name} = {value}" for name, value in longer.items()),
            allowed=", ".join(f"{name} = {value}" for name, value in there.items()),
            hint=f"the same amount, or remove the folder {target}",
        )
