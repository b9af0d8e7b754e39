"""``unless_lost``: what a client raises once its scheduler is lost is no news."""

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client


@contextmanager
def unless_lost(client: Client) -> Iterator[None]:
    """Ask a scheduler something that nobody needs to know if it is lost meanwhile.

    A client that has given its scheduler up raises what the moment makes of it: RuntimeError from a
    closed pool, AttributeError from an address that is gone, or that a future is cancelled.
    """
    try:
        yield
    except Exception:
        if client.status == "running":
            raise
