"""``python -m benchmarks fuzz``: call every command with damaged inputs."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest import mock

import click
from click.testing import CliRunner

from benchmarks.fuzz.damage import FOLDER, LINK, Edit, apply_damages, draw_damages, pick
from benchmarks.fuzz.inputs import NEW, VERBS, Verb, make_inputs
from latticescape.deploy.cli.main import main
from latticescape.sweeps.execution.inline import InlineSession

MEMORY = Path("/dev/shm")
# Seconds of this process; a command that only waits gets ten times as many by the clock.
SECONDS = 60
PATIENCE = 10 * SECONDS

ALARMS = (signal.SIGPROF, signal.SIGALRM)

# What a command may allocate; a process that takes more gets a MemoryError.
MEMORY_BYTES = 8 * 2**30

# How a damaged input may be answered: done, points missing or damaged, refused.
CODES = (0, 1, 2)

Files = dict[str, bytes]


class Hang(BaseException):
    """The command takes longer than allowed."""


@dataclass
class Tally:
    """What the cases came to.

    Attributes
    ----------
    cases, codes
        Number of cases by command, and by exit code.
    problems
        What went wrong, by kind: how often, and the first case.
    slowest
        Seconds of the slowest case, and its command.
    """

    cases: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    problems: dict[str, tuple[int, str]] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")

    def add(self, problem: str, case: str) -> None:
        """Count a problem."""
        number, first = self.problems.get(problem, (0, case))
        self.problems[problem] = number + 1, first

    def text(self) -> str:
        """The tally, for people."""
        codes = ", ".join(
            f"{number} of exit code {code}" for code, number in sorted(self.codes.items())
        )
        lines = [
            f"{self.cases.total()} cases of {len(self.cases)} commands: {codes}",
            f"slowest: {self.slowest[0]:.1f} s, {self.slowest[1]}",
            f"problems: {sum(number for number, _ in self.problems.values())}",
        ]
        for problem, (number, case) in sorted(self.problems.items(), key=lambda item: -item[1][0]):
            lines.append(f"\n{number} x {problem}\n  first: {case}")
        return "\n".join(lines)


@contextlib.contextmanager
def prepared(verbs: Sequence[Verb] = VERBS, *, processes: bool = False) -> Iterator[Path]:
    """A folder of the sound inputs of commands; one worker in this process serves them all.

    Parameters
    ----------
    verbs
        The commands.
    processes
        Commands are started as processes of their own, with clusters of their own.
    """
    folder = Path(tempfile.mkdtemp(prefix="fuzz", dir=MEMORY if MEMORY.is_dir() else None))
    inputs, before = folder / "inputs", Path.cwd()
    inputs.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(os.chdir, before)
        stack.enter_context(mock.patch("latticescape.analysis.app.browser.serve"))
        if not processes:
            stack.enter_context(
                mock.patch("latticescape.sweeps.execution.workers.embedded", _embedded)
            )
        os.chdir(inputs)
        make_inputs(inputs, {name for verb in verbs for name in (*verb.inputs, *verb.also)})
        yield inputs


def _embedded(*_: object, **__: object) -> InlineSession:
    """Stand in for an embedded cluster, which every command would start anew."""
    return InlineSession()


def play(
    inputs: Path,
    cases: Iterable[int],
    verbs: Sequence[Verb] = VERBS,
    *,
    seed: int = 2026,
    processes: bool = False,
    tally: Tally | None = None,
    tell: Callable[[int], object] = lambda played: None,
) -> Tally:
    """Play cases, each of which follows from the seed and its number.

    Parameters
    ----------
    inputs
        The folder of sound inputs.
    cases
        Numbers of the cases.
    verbs
        Commands to call.
    seed
        The seed.
    processes
        Start each command as a process of its own.
    tally
        To count in; by default a new one.
    tell
        Called after each case with the number of cases.
    """
    tally = Tally() if tally is None else tally
    weighted = [verb for verb in verbs for _ in range(verb.weight)]
    contents = {verb: _read(inputs, verb.inputs) for verb in verbs}
    for case in cases:
        rng = Random(f"{seed} {case}")
        verb = pick(rng, weighted)
        damages = draw_damages(contents[verb], rng)
        changes = apply_damages(damages, contents[verb])
        play_one(inputs, verb, changes, tally, case=case, processes=processes)
        tell(tally.cases.total())
    return tally


def play_one(
    inputs: Path,
    verb: Verb,
    changes: Mapping[str, Edit],
    tally: Tally,
    *,
    case: int,
    processes: bool = False,
) -> None:
    """Play one case: change copies of the inputs, call the command, and look at what it did."""
    folder = Path(tempfile.mkdtemp(prefix="case", dir=inputs.parent))
    try:
        for name in (*verb.inputs, *verb.also):
            source = inputs / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, folder / name)
        for name, content in changes.items():
            _write(folder / name, content)
        before = _read(folder, [path.name for path in folder.iterdir()])
        os.chdir(folder)
        begin = time.perf_counter()
        code, problem = (_process if processes else _in_process)(verb.line)
        seconds = time.perf_counter() - begin
        after = _read(folder, [path.name for path in folder.iterdir()])
        shown = f"{case}: latticescape {verb.line} with {_shown(changes)}"
        for found in (problem, *_traces(verb, code, before, after)):
            if found:
                tally.add(found, shown)
        tally.cases[verb.line] += 1
        tally.codes[code] += 1
        tally.slowest = max(tally.slowest, (seconds, shown))
    finally:
        os.chdir(inputs)
        shutil.rmtree(folder, ignore_errors=True)


def _in_process(line: str) -> tuple[int, str]:
    """Exit code and problem of a command in this process."""

    def hang(*_: object) -> None:
        raise Hang

    before = [signal.signal(number, hang) for number in ALARMS]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(PATIENCE)
    try:
        result = CliRunner().invoke(main, line.split())
    except Hang:
        return -1, f"hangs: {line.split()[0]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in zip(ALARMS, before, strict=True):
            signal.signal(number, handler)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "latticescape" in frame.filename] or frames
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}"
        return result.exit_code, f"traceback at {where}: {type(error).__name__}: {str(error)[:150]}"
    return result.exit_code, _of_output(line, result.exit_code, result.output, result.stderr)


def _process(line: str) -> tuple[int, str]:
    """Exit code and problem of a command in a process of its own."""
    command = [sys.executable, "-m", "latticescape", *line.split()]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return -1, f"hangs: {line.split()[0]}"
    return result.returncode, _of_output(line, result.returncode, result.stdout, result.stderr)


def _of_output(line: str, code: int, output: str, errors: str) -> str:
    if code not in CODES:
        return f"exit code {code}: {line.split()[0]}"
    if "Traceback (most recent" in output + errors:
        return f"traceback in the output: {line.split()[0]}: {(output + errors)[-200:]}"
    if code == 2 and "Error:" not in errors:
        return f"no reason: {line.split()[0]}"
    return ""


def _traces(verb: Verb, code: int, before: Files, after: Files) -> Iterator[str]:
    """What a command changed and left behind."""
    name = verb.line.split()[0]

    def written(path: str) -> bool:
        return path.partition("/")[0] in verb.writes

    for path in before:
        if not written(path) and after.get(path) != before[path]:
            yield f"changed: {name}"
            break
    for path in after:
        kept = code != 2 and path.startswith(NEW)
        if path not in before and not written(path) and not kept:
            yield f"left: {name}: {path.partition('/')[0]}"
            break


def _read(folder: Path, names: Sequence[str]) -> Files:
    found = {}
    for name in sorted(names):
        top = folder / name
        paths = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in paths:
            if path.is_file() and not path.is_symlink():
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def _write(path: Path, content: Edit) -> None:
    """Change a file, whose age stays: a record that was written just now is a sign of life."""
    before = path.stat() if path.is_file() else None
    if path.is_symlink() or path.is_file():
        path.unlink()
    if content == FOLDER:
        path.mkdir(exist_ok=True)
    elif content == LINK:
        path.symlink_to("/etc/hostname")
    elif isinstance(content, bytes):
        path.write_bytes(content)
        if before is not None:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _shown(changes: Mapping[str, Edit]) -> str:
    """What was changed, and how."""
    shown = []
    for name, content in changes.items():
        text = content if isinstance(content, str) else "nothing" if content is None else ""
        if isinstance(content, bytes):
            start = content[:60].decode(errors="replace")
            text = f"{len(content)} bytes {start!r}"
        shown.append(f"{name}: {text}")
    return "; ".join(shown)


@click.command()
@click.option("--cases", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--first", type=click.IntRange(min=0), default=0, help="Number of the first case.")
@click.option("--only", multiple=True, help="Commands, such as status; not all.")
@click.option("--seed", default=2026, show_default=True)
@click.option("--processes", is_flag=True, help="Start each command as a process of its own.")
def fuzz(cases: int, first: int, only: tuple[str, ...], seed: int, processes: bool) -> None:
    """Call every command with damaged inputs: no traceback, no hang, nothing left or changed.

    A command may take a minute and 8 GiB.
    """
    verbs = [verb for verb in VERBS if not only or verb.line.split()[0] in only]
    numbers = range(first, first + cases)

    def tell(played: int) -> None:
        if played % 500 == 0:
            click.echo(f"{played} cases", err=True)

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    tally = Tally()
    with prepared(verbs, processes=processes) as inputs, contextlib.suppress(KeyboardInterrupt):
        play(inputs, numbers, verbs, seed=seed, processes=processes, tally=tally, tell=tell)
    click.echo(tally.text())
    sys.exit(1 if tally.problems else 0)
