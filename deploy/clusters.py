"""From a name to a Dask client: this machine, or a running scheduler."""

from contextlib import AbstractContextManager

from distributed import Client

from physics.errors import RequestError
from sweeps.workers import at_address, embedded


def connect(
    cluster: str = "local", *, workers: int | None = None, threads: int = 1
) -> AbstractContextManager[Client]:
    """A Dask client by name, for as long as the block lasts.

    Parameters
    ----------
    cluster
        ``"local"``: worker processes on this machine, gone at the end. Or the address of a running
        scheduler, ``"tcp://host:port"``, which goes on.
    workers, threads
        Of ``"local"``: worker processes (default: one a core) and threads of each.

    Raises
    ------
    RequestError
        If the name is unknown, or nothing answers at the address.

    Examples
    --------
    >>> with connect("local", workers=1) as client:
    ...     client.submit(sum, [1, 2]).result()
    3
    """
    if cluster == "local":
        return embedded(workers, threads)
    if "://" in cluster:
        return at_address(cluster)
    raise RequestError(
        "unknown cluster",
        came=cluster,
        allowed="local | tcp://host:port | tls://host:port",
        hint="--cluster local",
    )
