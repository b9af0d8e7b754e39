"""Instructions of one update of a register's lanes, counted in the code and by the processor.

In the code
    The shortest way once around the kernel's loop, in the assembly that Numba wrote: what every
    update takes. The rare planes of a comparison, behind jumps, come on top.
By the processor
    Instructions retired over a whole run, measuring included, by Linux's perf_event, where the
    machine has the counter. Virtual ones often have none.
"""

import ctypes
import math
import os
import platform
import re
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from benchmarks.kernels import CASES, Case
from benchmarks.timing import one_core
from latticescape.physics.kernels.lattice_kernel import parameters_used
from latticescape.physics.kernels.multispin import exchange
from latticescape.physics.kernels.multispin import heat_bath as single_flip
from latticescape.physics.kernels.multispin.batches import MultispinTables
from latticescape.physics.kernels.multispin.simd import WORDS, aligned, native_width
from latticescape.physics.kernels.multispin.thresholds import seed_state, threshold_planes
from latticescape.physics.models.model import REPLICAS, features_of

READABLE = platform.machine() in ("x86_64", "AMD64")

# Large enough that shells do not meet around the torus: the tables have their usual columns.
SIZE = 6

# perf_event_open(2): kinds of event, and its system call's number.
INSTRUCTIONS = (0, 1)
TASK_CLOCK = (1, 1)
USER_SPACE = 0b11 << 5
SYSTEM_CALL = {"x86_64": 298, "aarch64": 241}


@dataclass(frozen=True)
class Count:
    """Instructions of a kernel's loop.

    Attributes
    ----------
    loop, vector
        In the code: all of them, and those on vector registers.
    retired
        By the processor, None where it does not tell.
    """

    loop: int
    vector: int
    retired: float | None


def count(case: Case, *, strides: int = 20) -> Count:
    """Instructions of one update of a case's kernel."""
    turn = shortest_turn(loop_assembly(case))
    work = case.work()
    work.run(strides)
    events = counted(lambda: work.run(strides))
    updates = strides * work.updates / (REPLICAS * len(native_width()))
    vector = sum(map(on_vectors, turn))
    return Count(len(turn), vector, None if events is None else events / updates)


def loop_assembly(case: Case) -> str:
    """The assembly of a case's kernel, compiled anew: Numba shows none of what it loads."""
    kernel, arguments = _call(case.at(SIZE))
    fresh = numba.jit(**kernel.targetoptions)(kernel.py_func)
    fresh(*arguments)
    text: str = fresh.inspect_asm(fresh.signatures[0])
    return text


def _call(case: Case) -> tuple[Any, tuple[Any, ...]]:
    """The kernel of a case and arguments of the right kinds, whatever their values."""
    used = parameters_used(case.model, case.point)
    orbits = case.model.orbits(case.lattice, used)
    tables = MultispinTables(case.lattice, orbits, case.model.acting(used, features_of(orbits)))
    spins = aligned((case.lattice.sites, WORDS))
    state = seed_state(np.ones((WORDS, 4), np.uint64))
    if case.model.move == "exchange":
        bonds = tables.bonds
        rules = exchange.acceptance_filter(
            bonds, np.ones((len(bonds.magnitudes), WORDS)), np.ones(WORDS)
        )
        order, terms = exchange.first_order()[0], rules.terms[0]
        kinds = (rules.width, rules.sizes, rules.edges)
        return exchange.exchange, (
            spins, bonds.rows, terms, rules.turned, state, order, 0, 1, *kinds,
        )  # fmt: skip
    classes = math.prod(z + 1 for z in tables.sizes)
    up = np.full((classes, WORDS), 0.4 if case.model.fixed_parameters.get("H") else 0.5)
    table = single_flip.rule(threshold_planes(up), tables.sizes)
    return single_flip.heat_bath, single_flip.arguments(
        spins, tables.visits, table, state, 0, 1, single_flip.UNSIGNED
    )


def shortest_turn(assembly: str) -> list[str]:
    """The shortest closed path through x86 assembly that holds a vector instruction."""
    code, after = _flow(assembly)
    paths = (_around(after, start) for start, line in enumerate(code) if on_vectors(line))
    path = min((path for path in paths if path), key=len, default=[])
    return [code[step] for step in path]


def on_vectors(instruction: str) -> bool:
    """Whether it names a vector register."""
    return re.search(r"%[xyz]mm", instruction) is not None


def _flow(assembly: str) -> tuple[list[str], list[list[int]]]:
    """Instructions of the first function, and the numbers of those that may follow each."""
    code: list[str] = []
    places: dict[str, int] = {}
    for line in _first_function(assembly):
        if label := re.match(r"([.\w$]+):", line):
            places[label[1]] = len(code)
        elif re.match(r"\s+[a-z]", line):
            code.append(line.strip())
    after = []
    for number, instruction in enumerate(code):
        name, *operands = instruction.split()
        following = [] if name.startswith(("jmp", "ret")) else [number + 1]
        if name.startswith("j") and operands[0] in places:
            following.append(places[operands[0]])
        after.append([n for n in following if n < len(code)])
    return code, after


def _first_function(assembly: str) -> Iterator[str]:
    for line in assembly.splitlines():
        if re.match(r"\.?Lfunc_end0:", line):
            return
        yield line


def _around(after: list[list[int]], start: int) -> list[int]:
    """The shortest path from an instruction back to it, or none."""
    came: dict[int, int] = {}
    waiting = deque([start])
    while waiting and start not in came:
        here = waiting.popleft()
        for there in after[here]:
            if there not in came:
                came[there] = here
                waiting.append(there)
    if start not in came:
        return []
    path = [start]
    while (here := came[path[-1]]) != start:
        path.append(here)
    return [start, *path[:0:-1]]


def counted(run: Callable[[], object], event: tuple[int, int] = INSTRUCTIONS) -> int | None:
    """Events of this thread in user space while it runs something; None without such a counter."""
    file = _counter(event)
    if file < 0:
        return None
    try:
        before = _read(file)
        run()
        return _read(file) - before
    finally:
        os.close(file)


def _counter(event: tuple[int, int]) -> int:
    """A file that counts, or -1."""
    if sys.platform != "linux" or platform.machine() not in SYSTEM_CALL:
        return -1
    kind, config = event
    size = 64
    wanted = struct.pack("=IIQQQQQ16x", kind, size, config, 0, 0, 0, USER_SPACE)
    this_thread, any_core, no_group = 0, -1, -1
    call = ctypes.CDLL(None).syscall
    number = SYSTEM_CALL[platform.machine()]
    return int(call(number, ctypes.c_char_p(wanted), this_thread, any_core, no_group, 0))


def _read(file: int) -> int:
    found: int = struct.unpack("=Q", os.read(file, 8))[0]
    return found


def report(cases: Iterable[Case] = CASES) -> str:
    """A table of counts, by update and by lane of it, and the memory of a lane."""
    if not READABLE:
        return f"instructions are counted in x86 assembly alone, and this is {platform.machine()}"
    lanes = REPLICAS * len(native_width())
    with one_core():
        counts = [(case, count(case)) for case in cases]
    lines = [
        f"instructions of one update of {lanes} lanes: in the loop, on vectors, a lane; retired",
        *(_row(case, found, lanes) for case, found in counts),
    ]
    if any(found.retired is None for _, found in counts):
        lines.append("this machine gives no counter of retired instructions (perf_event)")
    return "\n".join(lines)


def _row(case: Case, found: Count, lanes: int) -> str:
    retired = "-" if found.retired is None else f"{found.retired:.0f}"
    return (
        f"{case.title:<30}{found.loop:6d}{found.vector:6d}{found.loop / lanes:7.2f}{retired:>7}"
        f"{case.lattice.sites / 8:8.0f} bytes a lane"
    )
