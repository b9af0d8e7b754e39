"""Hosts on this machine: network namespaces behind one bridge, and links that can be cut."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.support.virtual_slurm import PATH

IP = shutil.which("ip", path=PATH)


def absent() -> str:
    """Why there can be no such hosts here, "" if there can."""
    return "no root with ip: apt-get install iproute2" if IP is None or os.geteuid() != 0 else ""


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

    def cut(self, host: int) -> None:
        """Pull a host's cable out."""
        ip(f"link set {self.name}v{host} down")

    def mend(self, host: int) -> None:
        """Put it in again."""
        ip(f"link set {self.name}v{host} up")


@contextmanager
def virtual_network() -> Iterator[Network]:
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
