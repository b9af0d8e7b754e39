"""Several hosts: the scheduler in one network namespace, a worker in each of two others."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from latticescape.deploy import connect
from latticescape.deploy.clusters.authority import make_certificates
from latticescape.deploy.clusters.certificates import Certificates
from latticescape.physics.errors import RequestError
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.workers import at_address
from tests.support.processes import address_in, dask
from tests.support.runs import SPEC, assert_same_bits
from tests.support.virtual_network import Network, absent, virtual_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(absent()), reason=absent()),
]


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with virtual_network() as network:
        yield network


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("network") / "tls")


@pytest.fixture(scope="module")
def address(
    network: Network, own: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The scheduler of a cluster over three hosts and TLS."""
    file = tmp_path_factory.mktemp("scheduler") / "scheduler.json"
    shown = own.environment

    def arguments(host: int) -> tuple[str, ...]:
        return ("--host", f"{network.prefix}.{host}", "--dashboard-address", "127.0.0.1:0")

    scheduler = ("scheduler", "--port", "0", "--scheduler-file", str(file), *arguments(1))
    with ExitStack() as stack:
        stack.enter_context(dask(*scheduler, environment=shown, before=network.enter(1)))
        address = address_in(file)
        for host in (2, 3):
            worker = ("worker", address, "--nthreads", "1", *arguments(host))
            stack.enter_context(dask(*worker, environment=shown, before=network.enter(host)))
        with at_address(address, security=own.security) as client:
            client.wait_for_workers(2, timeout=300)
        yield address


def test_a_sweep_over_hosts_gives_the_same_bytes(
    network: Network, address: str, own: Certificates, tmp_path: Path, calm: Path
) -> None:
    profile = tmp_path / "lab.toml"
    folder = own.authority.parent
    profile.write_text(f'kind = "address"\naddress = "{address}"\ntls = "{folder}"\n')
    with connect(str(profile)) as client:
        assert client.scheduler.address.startswith(f"tls://{network.prefix}.1:")
        hosts = sorted(worker.rpartition(":")[0] for worker in client.nthreads())
        assert hosts == [f"tls://{network.prefix}.{host}" for host in (2, 3)]
        report = execute(
            Sweep.from_toml(SPEC), tmp_path / "hosts.zarr", client, block_points=1, progress=False
        )
    assert (report.computed, report.failed, report.workers) == (9, 0, 2)
    assert_same_bits(calm, tmp_path / "hosts.zarr")


def test_a_stranger_on_the_network_is_refused(address: str, tmp_path: Path) -> None:
    rogue = make_certificates(tmp_path / "rogue").security
    with pytest.raises(RequestError, match="do not trust"), at_address(address, security=rogue):
        pass
    plain = address.replace("tls:", "tcp:")
    with pytest.raises(RequestError, match="no scheduler answers"), at_address(plain):
        pass


def test_dashboards_are_not_on_the_network(
    network: Network, address: str, own: Certificates
) -> None:
    """Each answers on its own host alone, and there it does."""
    with at_address(address, security=own.security) as client:
        info = client.scheduler_info(n_workers=-1)
    boards = [(1, info["services"]["dashboard"])]
    boards += [
        (int(worker["host"].rpartition(".")[2]), worker["services"]["dashboard"])
        for worker in info["workers"].values()
    ]
    assert sorted(host for host, _ in boards) == [1, 2, 3]
    for host, port in boards:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((f"{network.prefix}.{host}", port), timeout=5)
        there = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)"
        subprocess.run([*network.enter(host), "python3", "-c", there], check=True)
