"""``User``: who types commands, reads what they print, and does what it says."""

import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.processes import Program, until

# Nobody waits longer for a sweep of seconds, even where others use the machine: it hangs.
HANG_SECONDS = 600.0
HUNG = -1

# What differs between two runs in a message that is the same.
VARIANTS = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ (- )?", ""),
    (r"\b[\d.]+(?= (s\b|of\b|blocks?\b|computed))", "N"),
    (r"(tcp|tls|inproc)://[\w.:/-]+", "ADDRESS"),
    (r"\S+@\S+,", "USER@HOST,"),
    (r"\b(block|blocks) \d+", r"\1 N"),
    (r"\b\d+(?= (points|s ago))", "N"),
)


@dataclass(frozen=True)
class Typed:
    """A command that was typed, and what was seen of it.

    Attributes
    ----------
    words
        The command without what is the same each time.
    code
        Its exit code; a negative one is a signal's, or ``HUNG``.
    seen
        Lines on its error stream, numbers and paths made one.
    seconds
        How long it took.
    """

    words: str
    code: int
    seen: tuple[str, ...]
    seconds: float


@dataclass
class User:
    """A user with a terminal in a folder.

    Parameters
    ----------
    folder
        Where output is recorded.
    environment
        Variables of all commands.
    store
        The store that is computed.
    command
        The command that computes it, with all options; typed again after a failure.
    """

    folder: Path
    environment: Mapping[str, str]
    store: Path
    command: Sequence[str]
    typed: list[Typed] = field(default_factory=list)

    def computes(self) -> "Command":
        """Type the command, and do not wait for it."""
        return self._type(self.command[0], *self.command)

    def verifies(self, *, repair: bool = False) -> "Command":
        """Type ``latticescape verify``."""
        words = "verify --repair" if repair else "verify"
        return self._type(words, "verify", str(self.store), *["--repair"] * repair)

    def _type(self, words: str, *arguments: str) -> "Command":
        return Command(self, words, [sys.executable, "-m", "latticescape", *arguments])


class Command:
    """A command under way."""

    def __init__(self, user: User, words: str, command: list[str]) -> None:
        self.user, self.words, self.begin = user, words, time.monotonic()
        name = f"{len(user.typed)}-{words.replace(' ', '')}"
        self.errors = user.folder / f"{name}.err"
        self.program = Program(
            command, user.environment, user.folder / f"{name}.out", errors=self.errors
        )

    def wait(self) -> Typed:
        """Its end, recorded."""
        try:
            until(lambda: not self.program.lives, "end", HANG_SECONDS)
            code = self.program.process.returncode
        except TimeoutError:
            code = HUNG
        self.program.kill()
        typed = Typed(
            self.words,
            code,
            tuple(_generalized(self.errors.read_text(), self.user.store)),
            time.monotonic() - self.begin,
        )
        self.user.typed.append(typed)
        return typed


def _generalized(text: str, store: Path) -> list[str]:
    lines = []
    for line in text.replace(str(store), "STORE").splitlines():
        for pattern, name in VARIANTS:
            line = re.sub(pattern, name, line)
        lines += [line.strip()] if line.strip() else []
    return lines
