"""Signals that end a process: like Ctrl-C, they let it cancel its jobs and remove its keys."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# Sent by a shell that closes; and by ``kill``, ``timeout`` and the limits of login nodes.
ENDING = (signal.SIGHUP, signal.SIGTERM)


@contextmanager
def orderly_end() -> Iterator[None]:
    """Raise ``SystemExit`` on these signals within the block, so that everything is closed.

    An ignored signal stays ignored, as under ``nohup``. The exit code is that of a shell: 128 plus
    the number of the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set signal handlers
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
    """Ignore signal handlers that are set within the block.

    For imports that would set a handler for the whole process, and fail outside its main thread.
    """
    set_handler = signal.signal
    signal.signal = lambda signalnum, handler: signal.getsignal(signalnum)
    try:
        yield
    finally:
        signal.signal = set_handler


def _end(number: int, _: object) -> NoReturn:
    # A second signal must not interrupt the cleanup that the first one started.
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
