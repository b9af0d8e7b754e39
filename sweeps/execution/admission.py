"""Workers that a scheduler refuses: it cannot reach them, or their certificate is a client's."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

from distributed import Client, SchedulerPlugin

# The scheduler's events about workers it refused; how long it tries to reach one.
REFUSED = "latticescape-refused"
REACH_SECONDS = 10.0

# Why a scheduler is to refuse a worker, "" if it is not.
Check: TypeAlias = Callable[[Any, str], Awaitable[str]]


def refuse_workers(client: Client) -> dict[str, str]:
    """Let a scheduler refuse workers of no use, now and whenever one joins.

    A worker connects to its scheduler, so it can join although the scheduler cannot connect to it
    (a firewall, a container without an address of its own, a wrong ``--contact-address``). It would
    compute, and a client would wait for ever for what it has to say (dask/distributed#3798).

    TLS itself lets a worker join with the certificate of a client: who connects is a client for
    TLS, whatever it becomes.

    Best effort: a scheduler that refuses plugins is not affected.

    Parameters
    ----------
    client
        A client of the scheduler.

    Returns
    -------
    dict of str to str
        The workers that it refuses now, and why.
    """
    before, now = list[Any](), list[Any]()
    with suppress(Exception):
        before = list(client.get_events(REFUSED) or ())
        client.register_plugin(_admission_plugin())
        now = list(client.get_events(REFUSED) or ())
    return {event["worker"]: event["reason"] for _, event in now[len(before) :]}


def _admission_plugin() -> SchedulerPlugin:
    """The plugin. Its class and functions are local, so that they are pickled as code: the
    scheduler need not have this package installed."""
    topic, checks = REFUSED, (_role_check(), _reach_check())

    class AdmissionPlugin(SchedulerPlugin):  # type: ignore[misc]
        name = "latticescape-admission"
        idempotent = True

        def __init__(self) -> None:
            self.running: set[Any] = set()

        async def start(self, scheduler: Any) -> None:
            self.scheduler = scheduler
            await asyncio.gather(*map(self.examine, list(scheduler.workers)))

        def add_worker(self, scheduler: Any, worker: str) -> None:
            # Not awaited: the connection is handed over a moment after the worker is added.
            examination = asyncio.ensure_future(self.examine(worker))
            self.running.add(examination)
            examination.add_done_callback(self.running.discard)

        async def examine(self, worker: str) -> None:
            for check in checks:
                reason = await check(self.scheduler, worker)
                if reason and worker in self.scheduler.workers:
                    await self.refuse(worker, reason)
                    return

        async def refuse(self, worker: str, reason: str) -> None:
            logging.getLogger("distributed.scheduler").error("%s refused: %s", worker, reason)
            self.scheduler.log_event(topic, {"worker": worker, "reason": reason})
            stream = self.scheduler.stream_comms[worker]
            stream.send({"op": "close", "reason": reason})
            await self.scheduler.remove_worker(
                worker, stimulus_id=self.name, expected=True, close=False
            )
            await asyncio.sleep(1)
            if stream.comm:
                stream.comm.abort()

    return AdmissionPlugin()


def _role_check() -> Check:
    reason = "the certificate of a client cannot serve as that of a worker"

    async def check(scheduler: Any, worker: str) -> str:
        stream = scheduler.stream_comms.get(worker)
        for _ in range(100 if worker.startswith("tls://") else 0):
            if stream is None or stream.comm is not None:
                break
            await asyncio.sleep(0.05)
        if stream is None or stream.comm is None:
            return ""
        subject = (stream.comm.extra_info.get("peercert") or {}).get("subject", ())
        return reason if ("commonName", "latticescape client") in sum(subject, ()) else ""

    return check


def _reach_check() -> Check:
    seconds = REACH_SECONDS

    async def check(scheduler: Any, worker: str) -> str:
        from distributed.comm import connect

        try:
            comm = await connect(worker, timeout=seconds, **scheduler.connection_args)
        except OSError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            reason = getattr(cause, "strerror", None) or f"tried for {seconds:g} s"
            return f"the scheduler cannot connect to it: {reason}"
        await comm.close()
        return ""

    return check
