"""Several hosts: the scheduler in one network namespace, a worker in each of two others."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy import connect
from deploy.certificates import Certificates, make_certificates
from physics.errors import RequestError
from sweeps import Sweep
from sweeps.run import execute
from sweeps.workers import at_address
from tests.processes import address_in, dask
from tests.runs import SPEC, assert_same_bits
from tests.virtual_slurm import PATH

IP = shutil.which("ip", path=PATH)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        IP is None or os.geteuid() != 0, reason="no root with ip: apt-get install iproute2"
    ),
]


def ip(command: str) -> None:
    subprocess.run([str(IP), *command.split()], check=True, capture_output=True)


@dataclass(frozen=True)
class Network:
    """Hosts behind one bridge; this process is at its end .254."""

    name: str
    prefix: str

    def enter(self, host: int) -> tuple[str, ...]:
        """The words before a command that is to run on a host."""
        return (str(IP), "netns", "exec", f"{self.name}{host}")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Three hosts, 1 to 3, gone at the end."""
    network = Network(f"ls{os.getpid() % 10**6}n", f"10.231.{os.getpid() % 250}")
    bridge = f"{network.name}b"
    with ExitStack() as stack:
        ip(f"link add {bridge} type bridge")
        stack.callback(ip, f"link del {bridge}")
        ip(f"addr add {network.prefix}.254/24 dev {bridge}")
        ip(f"link set {bridge} up")
        for host in (1, 2, 3):
            inside, end = f"{network.name}{host}", f"{network.name}v{host}"
            ip(f"netns add {inside}")
            stack.callback(ip, f"netns del {inside}")
            ip(f"link add {end} type veth peer name eth0 netns {inside}")
            ip(f"link set {end} master {bridge} up")
            ip(f"-n {inside} addr add {network.prefix}.{host}/24 dev eth0")
            ip(f"-n {inside} link set lo up")
            ip(f"-n {inside} link set eth0 up")
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
            client.wait_for_workers(2, timeout=60)
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
