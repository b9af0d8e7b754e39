"""``Case``: one run that is disturbed at a random moment, and what became of its blocks."""

import random
import shutil
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import xarray as xr

from benchmarks.chaos.calls import BLOCK_POINTS, SAMPLES, Work, in_flight, recomputed
from benchmarks.chaos.sites import Daemons, Site
from benchmarks.chaos.strikes import KINDS, Kind, Scene, Strike
from benchmarks.chaos.user import Typed, User
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.inline import INLINE
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.store.store import Store

MOST_RUNS = 3

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """The so-many-th run of a kind."""

    kind: str
    number: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes
    ----------
    case
        Which it was.
    done, in_flight
        Blocks that were done at the moment, and that were begun and not done.
    lost
        Blocks that are not done at the end, or not with the bytes of the undisturbed run.
    damaged
        Blocks that the strike itself damaged.
    recomputed
        Computations of blocks that had been begun before.
    differing
        Variables with other bytes than in the undisturbed run.
    typed
        What the user typed and saw.
    seconds
        How long it took, all in all.
    trouble
        Why it could not be brought to its end, "" if it was.
    """

    case: Case
    done: int = 0
    in_flight: int = 0
    lost: int = 0
    damaged: int = 0
    recomputed: int = 0
    differing: tuple[str, ...] = ()
    typed: tuple[Typed, ...] = ()
    seconds: float = 0.0
    trouble: str = ""

    @property
    def same(self) -> bool:
        """Whether all results have the bytes of the undisturbed run."""
        return not self.trouble and set(self.differing) <= {"attempts"}

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**asdict(self), "same": self.same}


Tell = Callable[[Outcome], object]


def absent(kinds: Sequence[str]) -> dict[str, str]:
    """Kinds that cannot be tried on this machine, and why."""
    reasons = {name: KINDS[name].absent() for name in kinds}
    return {name: reason for name, reason in reasons.items() if reason}


def play_all(
    kinds: Sequence[str], runs: int, work: Work, *, seed: int, jobs: int, tell: Tell, folder: Path
) -> list[Outcome]:
    """All runs of these kinds, some at a time; each is told as it ends.

    Kinds that need a SLURM or a network share one, one run after the other; all others have as many
    clusters as there are jobs.
    """
    lanes: dict[tuple[type[Site], int], list[Case]] = {}
    for number in range(runs):
        for name in kinds:
            site = KINDS[name].site
            lane = number % jobs if site is Daemons else 0
            lanes.setdefault((site, lane), []).append(Case(name, number, seed))
    calm = undisturbed(work, folder / "calm")
    make_parts(work, folder / "calm", {KINDS[name].command for name in kinds})

    ended = threading.Event()

    def played(lane: tuple[type[Site], int]) -> list[Outcome]:
        site = lane[0](folder / f"{lane[0].__name__.lower()}{lane[1]}")
        return _played(site, lanes[lane], work, calm, folder / "calm", tell, ended)

    longest = sorted(lanes, key=lambda lane: -len(lanes[lane]))
    with ThreadPoolExecutor(jobs) as threads:
        try:
            return [outcome for some in threads.map(played, longest) for outcome in some]
        finally:
            ended.set()


def undisturbed(work: Work, folder: Path) -> Arrays:
    """What is in the store of a run that nothing happens to.

    Raises
    ------
    RuntimeError
        If it fails all the same.
    """
    store = folder / "s.zarr"
    _compute(Sweep.from_toml(work.spec), store)
    return _arrays(store)


def make_parts(work: Work, folder: Path, commands: Collection[str]) -> None:
    """Compute the stores that ``extend`` and ``merge`` read: half the samples; halves of the grid.

    Raises
    ------
    RuntimeError
        If one fails.
    """
    if "extend" in commands:
        _compute(Sweep.from_toml(work.with_samples(SAMPLES // 2)), folder / "short.zarr")
    if "merge" in commands:
        whole = Sweep.from_toml(work.spec)
        half = len(whole.axes["T"]) // 2
        for name, values in ("low", whole.axes["T"][:half]), ("high", whole.axes["T"][half:]):
            grid = {**whole.axes, "T": values}
            part = Sweep(whole.lattice, whole.model, grid, whole.schedule, whole.seed)
            _compute(part, folder / f"{name}.zarr")


def _compute(sweep: Sweep, store: Path) -> None:
    report = execute(sweep, store, INLINE, block_points=BLOCK_POINTS, progress=False)
    if not report.complete:
        raise RuntimeError(f"the undisturbed run failed: {report.error}")


def _played(
    site: Site,
    cases: Sequence[Case],
    work: Work,
    calm: Arrays,
    parts: Path,
    tell: Tell,
    ended: threading.Event,
) -> list[Outcome]:
    outcomes = list[Outcome]()
    try:
        with site:
            for case in cases:
                if ended.is_set():  # Ctrl-C: the other lanes are not to go on for half an hour
                    break
                folder = site.folder / f"{case.kind}-{case.number}"
                outcomes.append(play(case, site, work, calm, parts, folder))
                tell(outcomes[-1])
                if not outcomes[-1].trouble:
                    shutil.rmtree(folder)
    except OSError as error:  # the site itself cannot be started
        outcomes += [_stuck(case, error) for case in cases[len(outcomes) :]]
    return outcomes


def _stuck(case: Case, error: Exception) -> Outcome:
    return Outcome(case, trouble=f"{type(error).__name__}: {error}")


def play(case: Case, site: Site, work: Work, calm: Arrays, parts: Path, folder: Path) -> Outcome:
    """Run a sweep, strike, and have the user do what the documentation says."""
    kind, begin = KINDS[case.kind], time.monotonic()
    folder.joinpath("disk").mkdir(parents=True)
    rng = random.Random(f"{case.seed} {case.kind} {case.number}")
    scene = Scene(site, folder, folder / "disk" / "s.zarr", work, rng)
    spec = folder / "spec.toml"
    spec.write_text(work.spec)
    command = _typed(kind.command, spec, parts, scene.store, site.cluster)
    user = User(folder, site.environment, scene.store, command)
    site.calls.clear()
    strike = kind.strike(scene)
    with strike.prepared():
        try:
            outcome = _judged(case, scene, _struck(scene, strike, user, kind), calm)
        except (OSError, RuntimeError) as error:
            outcome = _stuck(case, error)
        finally:
            if scene.run:
                scene.run.program.kill()
    seconds = time.monotonic() - begin
    return replace(outcome, typed=tuple(user.typed), damaged=int(kind.verified), seconds=seconds)


def _typed(command: str, spec: Path, parts: Path, store: Path, cluster: str) -> list[str]:
    """The command that computes the store, with all that is typed after it."""
    there = ["--cluster", cluster, "--block-points", str(BLOCK_POINTS)]
    short, low, high = (str(parts / f"{name}.zarr") for name in ("short", "low", "high"))
    match command:
        case "extend":
            return ["extend", short, "--samples", str(SAMPLES), "--out", str(store), *there]
        case "merge":
            return ["merge", low, high, "--out", str(store)]
    return ["run", str(spec), "--store", str(store), *there]


@dataclass(frozen=True)
class _Moment:
    """Blocks that were done before the strike, and those in flight as it hit."""

    done: set[int]
    in_flight: set[int]


def _struck(scene: Scene[Any], strike: Strike[Any], user: User, kind: Kind) -> _Moment:
    scene.site.heal()
    scene.run = run = user.computes()
    strike.wait()
    done = scene.done()
    if not run.program.lives:
        raise RuntimeError(f"the run had ended at its moment, {len(done)} blocks done")
    strike.hit()
    moment = _Moment(done, in_flight(scene.site.calls.begun(scene.work), scene.done()))
    run.wait()
    strike.relieve()
    if kind.verified and user.verifies().wait().code:
        user.verifies(repair=True).wait()
    for _ in range(MOST_RUNS):
        if user.typed[-1].code:
            user.computes().wait()
    return moment


def _judged(case: Case, scene: Scene[Any], moment: _Moment, calm: Arrays) -> Outcome:
    found, store = _arrays(scene.store), Store(scene.store)
    differing = tuple(name for name in calm if calm[name].tobytes() != found[name].tobytes())
    done = store.done()
    lost = [
        block
        for block in store.blocks
        if not done[block.region].all()
        or any(
            calm[name][block.region].tobytes() != found[name][block.region].tobytes()
            for name in differing
            if name not in ("attempts", *store.sweep.axes)
        )
    ]
    return Outcome(
        case,
        done=len(moment.done),
        in_flight=len(moment.in_flight),
        lost=len(lost),
        recomputed=sum(recomputed(scene.site.calls.begun(scene.work)).values()),
        differing=differing,
    )


def _arrays(store: Path) -> Arrays:
    """Everything in a store; texts in so many letters each, so that bytes can be compared."""
    dataset = xr.open_zarr(store, chunks=None).load()
    return {
        str(name): values.values.astype("U200") if values.dtype.kind in "TO" else values.values
        for name, values in dataset.variables.items()
    }
