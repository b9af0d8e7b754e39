"""``Calls``: which blocks were begun, and when, as the kernel itself tells, outside the store."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from latticescape.sweeps import Sweep
from latticescape.sweeps.spec.plan import plan

BLOCK_POINTS = 4
BLOCK_SECONDS = 0.05

SPEC = """\
[sweep]
seed = 7
[lattice]
kind = "square"
size = 6
[model]
kind = "ising"
[grid]
T = {{ start = 1.5, stop = 3.5, num = {rows} }}
H = {{ start = -1.0, stop = 1.0, num = {columns} }}
[schedule]
equilibration_mcs = 20
samples = {samples}
stride_mcs = 2
"""
COLUMNS = 2 * BLOCK_POINTS
SAMPLES = 10

# A preload script of the workers. A block takes as long as it is held here, whatever else the
# machine does; warm-up, which measures twice, is neither delayed nor recorded. A line goes into the
# file by one system call, so that a kill leaves it complete or away.
PRELOAD = """
import os, time
from latticescape.physics.kernels.lattice_kernel import LatticeKernel

compute = LatticeKernel.__dict__.get("unrecorded", LatticeKernel.compute)

def tell(event, points):
    pairs = zip(points["T"].tolist(), points["H"].tolist())
    places = ";".join(f"{{t!r}},{{h!r}}" for t, h in pairs)
    line = f"{{time.time()}} {{os.getpid()}} {{event}} {{places}}\\n".encode()
    file = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line)
    finally:
        os.close(file)

def recorded(self, points, seeds, *watch):
    if self.schedule.samples <= 2:
        return compute(self, points, seeds, *watch)
    tell("start", points)
    time.sleep({seconds})
    found = compute(self, points, seeds, *watch)
    tell("end", points)
    return found

LatticeKernel.unrecorded, LatticeKernel.compute = compute, recorded  # a worker may run this twice
"""


@dataclass(frozen=True)
class Work:
    """The sweep that is disturbed: so many blocks of four points."""

    blocks: int

    @cached_property
    def spec(self) -> str:
        """As a file of ``latticescape run``."""
        return self.with_samples(SAMPLES)

    def with_samples(self, samples: int) -> str:
        """The same with so many samples of each point."""
        return SPEC.format(rows=self.blocks // 2, columns=COLUMNS, samples=samples)

    @cached_property
    def places(self) -> dict[tuple[float, float], int]:
        """The block of every point, by its T and H."""
        sweep = Sweep.from_toml(self.spec)
        return {
            (point["T"], point["H"]): block.number
            for block in plan(sweep, block_points=BLOCK_POINTS).blocks
            for point in sweep.coordinates(block.region)
        }


@dataclass(frozen=True)
class Call:
    """Points of a block that a process began to compute at a time, in seconds since 1970."""

    time: float
    process: int
    block: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Calls:
    """The log of all workers of a site."""

    log: Path

    def preload(self) -> str:
        """The script that has workers write it."""
        return PRELOAD.format(log=str(self.log), seconds=BLOCK_SECONDS)

    def clear(self) -> None:
        """Forget all calls."""
        self.log.unlink(missing_ok=True)

    def begun(self, work: Work) -> list[Call]:
        """Every call, in order."""
        return list(_begun(self.log.read_text(), work)) if self.log.exists() else []


def _begun(text: str, work: Work) -> Iterator[Call]:
    for line in text.splitlines():
        when, process, event, places = line.split()
        if event == "start":
            pairs = [place.split(",") for place in places.split(";")]
            points = tuple((float(t), float(h)) for t, h in pairs)
            yield Call(float(when), int(process), work.places[points[0]], points)


def in_flight(calls: Collection[Call], done: Collection[int]) -> set[int]:
    """Blocks that were begun and are not done."""
    return {call.block for call in calls} - set(done)


def recomputed(calls: Collection[Call]) -> Counter[int]:
    """How often each block was computed once more; one that was halved counts once a time."""
    tries = Counter((call.block, point) for call in calls for point in call.points)
    most: Counter[int] = Counter()
    for (block, _), times in tries.items():
        most[block] = max(most[block], times - 1)
    return +most
