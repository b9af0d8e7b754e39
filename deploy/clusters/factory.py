"""Clusters that a function of the user's makes: Dask Gateway, Coiled, SSHCluster and others."""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from distributed import Client
from distributed.deploy.cluster import Cluster

from latticescape.deploy.clusters.clients import wait_for_worker
from latticescape.deploy.clusters.profiles import Factory
from latticescape.physics.errors import RequestError

RESULT = "a dask.distributed Cluster or Client that is not asynchronous"


@contextmanager
def factory_client(profile: Factory, *, persistent: bool = False) -> Iterator[Client]:
    """A client of the cluster that a function makes; what it made is closed with the block.

    Parameters
    ----------
    profile
        The function, its arguments and the number of workers.
    persistent
        Refuse a Cluster, which ends with this process.

    Raises
    ------
    RequestError
        If there is no such function, it fails or returns no cluster, or no worker comes.
    """
    name, function = profile.cluster, _function(profile.cluster)
    try:
        made = function(**profile.options)
    except Exception as error:
        raise _failed(name, error) from None
    if inspect.iscoroutine(made):
        made.close()
    # Dask Gateway's cluster is no Cluster, but has the same methods.
    is_cluster = isinstance(made, Cluster) or hasattr(made, "get_client")
    if (not isinstance(made, Client) and not is_cluster) or getattr(made, "asynchronous", False):
        raise RequestError(
            f"{name} returned no cluster",
            came=type(made).__name__,
            allowed=RESULT,
            hint="return LocalCluster(n_workers=2), without async",
        )
    with ExitStack() as stack:
        stack.enter_context(made)
        if is_cluster and persistent:
            raise RequestError(
                f"the cluster of {name} would end with this process",
                allowed="a function that returns a Client of a scheduler that keeps running",
                hint='return Client("tls://host:8786")',
            )
        client = stack.enter_context(_scaled(made, profile)) if is_cluster else made
        wait_for_worker(client, profile.wait_minutes, lambda: f"the cluster of {name}")
        yield client


def _function(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{module_name}.".startswith(f"{missing}."):
            raise _failed(name, error) from None
        raise RequestError(
            f"there is no module {missing}",
            came=name,
            allowed="MODULE:FUNCTION on your import path",
            hint=f"PYTHONPATH=FOLDER latticescape …, with {missing}.py in FOLDER",
        ) from None
    function = getattr(module, attribute, None)
    if not callable(function):
        public = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise RequestError(
            f"the module {module_name} has no function {attribute}",
            came=name,
            allowed=" | ".join(public) or None,
            hint=f"--cluster {module_name}:{public[0]}" if public else None,
        )
    return function


def _scaled(cluster: Any, profile: Factory) -> Client:
    """A client of a cluster that has been asked for its workers."""
    if profile.minimum_workers is not None:
        cluster.adapt(minimum=profile.minimum_workers, maximum=profile.workers)
    elif profile.workers is not None:
        cluster.scale(profile.workers)
    if isinstance(cluster, Cluster):
        return Client(cluster, set_as_default=False)
    client: Client = cluster.get_client(set_as_default=False)
    return client


def _failed(name: str, error: Exception) -> RequestError:
    return RequestError(
        f"{name} failed",
        came=f"{type(error).__name__}: {error}",
        allowed=f"a function that returns {RESULT}",
        hint=f'python -c "import {name.partition(":")[0]}"',
    )
