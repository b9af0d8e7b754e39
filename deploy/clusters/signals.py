"""Signals that end a process: as Ctrl-C does, they let it cancel its jobs and remove its keys."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# What a shell that is closed sends, and what ``kill``, ``timeout`` and a login node's watchman do.
ENDING = (signal.SIGHUP, signal.SIGTERM)


@contextmanager
def orderly_end() -> Iterator[None]:
    """Within the block these signals raise ``SystemExit``, so that everything is closed.

    One that is ignored, as ``nohup`` has it, stays so. The exit code is a shell's: 128 and the
    signal's number.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, _end)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


@contextmanager
def kept_signals() -> Iterator[None]:
    """For imports that would say what a signal does in the whole process, and only in its main
    thread can."""
    said = signal.signal
    signal.signal = lambda signalnum, handler: signal.getsignal(signalnum)
    try:
        yield
    finally:
        signal.signal = said


def _end(number: int, _: object) -> NoReturn:
    # A second one must not interrupt what the first one began.
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
