"""Who is let in over TLS, and who is not; what each sees is told in secure-a-cluster.md."""

import itertools
import os
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import psutil
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from distributed import Security
from distributed.core import rpc
from distributed.protocol.pickle import dumps

from latticescape.deploy import connect
from latticescape.deploy.cli.main import main
from latticescape.deploy.clusters.authority import make_certificates
from latticescape.deploy.clusters.certificates import Certificates, Role
from latticescape.physics.errors import RequestError
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.workers import at_address, check_workers
from tests.support.processes import ROOT, address_in, dask, eventually
from tests.support.runs import SPEC, assert_same_bits

PAGE = (ROOT / "docs" / "howto" / "secure-a-cluster.md").read_text()
LOCAL = ("--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of the cluster's authority in tls and expired; those of another in rogue."""
    folder = tmp_path_factory.mktemp("security")
    key, new = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key
    # The same key and serial number, and thus the same name, make the same authority.
    for name, days in ("tls", 365), ("expired", 0):
        keys = itertools.chain([key], (new(ec.SECP256R1()) for _ in itertools.count()))
        with (
            mock.patch.object(ec, "generate_private_key", lambda _, keys=keys: next(keys)),
            mock.patch.object(x509, "random_serial_number", return_value=7),
        ):
            make_certificates(folder / name, days=days)
    make_certificates(folder / "rogue")
    return folder


@pytest.fixture(scope="module")
def own(folder: Path) -> Certificates:
    return Certificates.in_folder(folder / "tls")


@pytest.fixture(scope="module")
def mixed(folder: Path, own: Certificates) -> Certificates:
    """The right authority is trusted, and what is shown is of another."""
    return Certificates(own.authority, Certificates.in_folder(folder / "rogue").pairs)


@pytest.fixture(scope="module")
def shown(folder: Path, own: Certificates) -> Callable[[str, Role], Certificates]:
    """Certificates that a process of a role presents, while it trusts the right authority."""
    kinds = {
        "the client's": lambda role: own.pairs["client"],
        "another authority's": lambda role: Certificates.in_folder(folder / "rogue").pairs[role],
        "expired": lambda role: Certificates.in_folder(folder / "expired").pairs[role],
    }
    return lambda kind, role: Certificates(own.authority, {role: kinds[kind](role)})


@pytest.fixture(scope="module")
def address(folder: Path, own: Certificates) -> Iterator[str]:
    """A scheduler with one worker, over TLS."""
    file = folder / "scheduler.json"
    scheduler = ("scheduler", "--port", "0", "--scheduler-file", str(file), *LOCAL)
    with dask(*scheduler, environment=own.environment, log=folder / "scheduler.log"):
        address = address_in(file)
        worker = dask("worker", address, "--nthreads", "1", *LOCAL, environment=own.environment)
        with worker, at_address(address, security=own.security) as client:
            client.wait_for_workers(1, timeout=300)
            yield address


@pytest.fixture
def scene(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a spec and both sets of certificates."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ising.toml").write_text(SPEC)
    for name in ("tls", "rogue", "expired"):
        (tmp_path / name).symlink_to(folder / name)
    return tmp_path


OTHER = 'tls = "rogue"'
FORGED = 'tls = { ca_file = "tls/ca.pem", cert = "rogue/client.pem", key = "rogue/client-key.pem" }'


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (OTHER, "do not trust each other (came: CERTIFICATE_VERIFY_FAILED"),
        ("", "no certificates for tls://"),
    ],
    ids=["another authority", "no certificate"],
)
def test_a_rogue_client_is_refused(address: str, scene: Path, profile: str, words: str) -> None:
    (scene / "lab.toml").write_text(f'kind = "address"\naddress = "{address}"\n{profile}\n')
    assert_refused("lab.toml", words)


def test_a_forged_certificate_is_refused(address: str, scene: Path) -> None:
    """The server closes as it sends its alert: sometimes the client finds it closed first."""
    (scene / "lab.toml").write_text(f'kind = "address"\naddress = "{address}"\n{FORGED}\n')
    reported = refused("lab.toml")
    words = ("TLSV1_ALERT_UNKNOWN_CA", "the connection was closed during the handshake")
    both = [f"do not trust each other (came: {word}" for word in words]
    assert [word for word in both if word in reported], reported
    assert [word for word in both if f"`{word}`" not in PAGE] == []


def test_an_expired_client_is_refused(
    address: str, scene: Path, shown: Callable[[str, Role], Certificates]
) -> None:
    """By itself, before it connects, if a profile names its certificate; else by the scheduler."""
    (scene / "lab.toml").write_text(f'kind = "address"\naddress = "{address}"\ntls = "expired"\n')
    assert_refused("lab.toml", "expired on")
    words = "ALERT_CERTIFICATE_EXPIRED|the connection was closed during the handshake"
    security = shown("expired", "client").security
    with pytest.raises(RequestError, match=words), at_address(address, security=security):
        pass
    assert "`SSLV3_ALERT_CERTIFICATE_EXPIRED`" in PAGE


def test_a_client_without_encryption_is_refused(address: str, scene: Path) -> None:
    plain = address.replace("tls:", "tcp:")
    assert_refused(plain, "no scheduler answers at tcp://", "Connection reset by peer")
    assert not (scene / "new").exists()


def assert_refused(cluster: str, *words: str) -> None:
    """A run ends with one line of these words, all of which the page tells."""
    line = refused(cluster)
    assert [word for word in words if word not in line] == [], line
    assert [word for word in words if f"`{word}`" not in PAGE] == []


def refused(cluster: str) -> str:
    """The one line with which a run ends, with code 2."""
    command = ["run", "ising.toml", "--store", "new/s.zarr", "--cluster", cluster]
    result = CliRunner().invoke(main, command, prog_name="latticescape")
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_a_program_that_shows_no_certificate_is_refused(address: str, own: Certificates) -> None:
    """The scheduler itself says so, whatever the other side is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(own.authority)
    parts = urlsplit(address)
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=10) as plain,
        context.wrap_socket(plain) as secured,
        pytest.raises(ssl.SSLError) as caught,
    ):
        secured.recv(1)
    assert caught.value.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert f"`{caught.value.reason}`" in PAGE


@pytest.mark.slow
def test_workers_without_a_valid_certificate_never_join(
    address: str,
    folder: Path,
    own: Certificates,
    shown: Callable[[str, Role], Certificates],
    tmp_path: Path,
    calm: Path,
) -> None:
    """A run goes on without them; each ends, and the scheduler's log has the reason."""
    plain = address.replace("tls:", "tcp:")
    options = ("--death-timeout", "1", "--no-nanny", *LOCAL)
    comers = [
        (address, shown("another authority's", "worker").environment),
        (address, shown("expired", "worker").environment),
        (address, {}),
        (plain, {}),
    ]
    log = folder / "scheduler.log"
    with ExitStack() as stack:
        workers = [
            stack.enter_context(dask("worker", where, *options, environment=environment))
            for where, environment in comers
        ]
        client = stack.enter_context(at_address(address, security=own.security))
        report = execute(Sweep.from_toml(SPEC), tmp_path / "s.zarr", client, progress=False)
        assert (report.complete, report.workers) == (True, 1)
        assert [worker.wait(300) for worker in workers] == [1, 1, 1, 1]
        assert len(client.nthreads()) == 1
    assert_same_bits(calm, tmp_path / "s.zarr")
    for reason in ("unable to get local issuer certificate", "certificate has expired"):
        eventually(lambda reason=reason: reason in log.read_text())  # type: ignore[misc]
        assert f"`{reason}`" in PAGE


@pytest.mark.slow
def test_a_run_with_refused_workers_alone_ends(
    own: Certificates, shown: Callable[[str, Role], Certificates], tmp_path: Path
) -> None:
    file = tmp_path / "scheduler.json"
    scheduler = ("scheduler", "--port", "0", "--scheduler-file", str(file), *LOCAL)
    expired = shown("expired", "worker").environment
    words = "has no workers .*the scheduler's log has those that it refused"
    with dask(*scheduler, environment=own.environment):
        address = address_in(file)
        with (
            dask("worker", address, "--no-nanny", *LOCAL, environment=expired),
            at_address(address, security=own.security) as client,
            pytest.raises(RequestError, match=words),
        ):
            check_workers(client, timeout=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("the client's", "certificate purpose"),
        ("another authority's", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
    ],
)
def test_a_scheduler_without_a_valid_certificate_is_refused(
    own: Certificates,
    shown: Callable[[str, Role], Certificates],
    tmp_path: Path,
    kind: str,
    reason: str,
) -> None:
    file = tmp_path / "scheduler.json"
    scheduler = ("scheduler", "--port", "0", "--scheduler-file", str(file), *LOCAL)
    words = rf"do not trust each other \(came: CERTIFICATE_VERIFY_FAILED: .*{reason}"
    with dask(*scheduler, environment=shown(kind, "scheduler").environment):
        address = address_in(file)
        with pytest.raises(RequestError, match=words), at_address(address, security=own.security):
            pass
    assert f"{reason}`" in PAGE


@pytest.mark.slow
@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_a_process_without_a_certificate_does_not_start(own: Certificates, role: str) -> None:
    place = ("tls://127.0.0.1:1",) if role == "worker" else ("--port", "0")
    environment = Certificates(own.authority, {}).environment
    with dask(role, *place, *LOCAL, environment=environment) as process:
        assert process.wait(300) == 1


@pytest.mark.slow
def test_a_stolen_client_certificate_makes_no_worker(
    own: Certificates, tmp_path: Path, calm: Path
) -> None:
    """One that joined before the run is removed by it, one that comes later at once."""
    stolen = Certificates(own.authority, {"worker": own.pairs["client"]})
    file = tmp_path / "scheduler.json"
    scheduler = ("scheduler", "--port", "0", "--scheduler-file", str(file), *LOCAL)
    options = ("--no-nanny", "--nthreads", "1", *LOCAL)
    with dask(*scheduler, environment=own.environment):
        address = address_in(file)
        worker = ("worker", address, *options)
        with (
            at_address(address, security=own.security) as client,
            dask(*worker, environment=own.environment),
            dask(*worker, environment=stolen.environment) as early,
        ):
            client.wait_for_workers(2, timeout=300)
            report = execute(Sweep.from_toml(SPEC), tmp_path / "s.zarr", client, progress=False)
            assert report.complete
            assert early.wait(20) == 0
            with dask(*worker, environment=stolen.environment) as late:
                assert late.wait(60) == 0
            assert len(client.nthreads()) == 1
    assert_same_bits(calm, tmp_path / "s.zarr")
    assert "`the certificate of a client cannot serve as that of a worker`" in PAGE


async def asked(address: str, handler: str, security: Security, path: Path) -> None:
    """Ask somebody to unpickle, and call, what makes a file."""
    options = {"connection_args": security.get_connection_args("client"), "timeout": 3}
    async with rpc(address, **options) as peer:
        await getattr(peer, handler)(function=dumps(path.touch), wait=True)


def test_nothing_is_unpickled_from_strangers(
    address: str, own: Certificates, mixed: Certificates, tmp_path: Path
) -> None:
    """Not by scheduler, worker or nanny; the same message of one who is known is obeyed by each."""
    with at_address(address, security=own.security) as client:
        ((worker, reported),) = client.scheduler_info()["workers"].items()
        peers = [(address, "run_function"), (worker, "run"), (reported["nanny"], "run")]
        for number, (where, handler) in enumerate(peers):
            plain = where.replace("tls:", "tcp:")
            for stranger, shown in ((plain, Security()), (where, mixed.security)):
                with pytest.raises(OSError, match=r"."):
                    client.sync(asked, stranger, handler, shown, tmp_path / f"stranger-{number}")
            client.sync(asked, where, handler, own.security, tmp_path / f"known-{number}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["known-0", "known-1", "known-2"]


def test_a_run_over_tls_gives_the_same_bytes(address: str, scene: Path, calm: Path) -> None:
    (scene / "lab.toml").write_text(f'kind = "address"\naddress = "{address}"\ntls = "tls"\n')
    command = ["run", "ising.toml", "--store", "tls.zarr", "--cluster", "lab.toml", "--quiet"]
    result = CliRunner().invoke(main, command, prog_name="latticescape")
    assert result.exit_code == 0, result.output
    assert_same_bits(calm, scene / "tls.zarr")


def listening() -> set[str]:
    """Addresses that this process and those it started listen at."""
    own = psutil.Process()
    sockets = [s for p in (own, *own.children(recursive=True)) for s in p.net_connections("inet")]
    return {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(("name", "scheme"), [("local", "tcp"), ("local-tls", "tls")])
def test_a_cluster_of_this_machine_listens_to_this_machine_alone(
    name: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dashboards included; and temporary certificates are gone at the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with connect(name, workers=1) as client:
        addresses = [client.scheduler.address, *client.nthreads()]
        assert {urlsplit(address).scheme for address in addresses} == {scheme}
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        assert listening() == {"127.0.0.1"}
        assert bool([*tmp_path.glob("latticescape-tls-*/*-key.pem")]) == (scheme == "tls")
    assert not list(tmp_path.glob("latticescape-tls-*"))


def test_keys_are_readable_by_their_owner_alone(folder: Path) -> None:
    """Also where everything else would be readable by all."""
    before = os.umask(0)
    try:
        make_certificates(folder / "open")
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "open").stat().st_mode) == 0o700
    files = sorted((folder / "open").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    names = [f"{role}{part}" for role in ("client", "scheduler", "worker") for part in ("-key", "")]
    assert [file.name for file in files] == sorted(
        ["ca.pem", "environment.sh", *(f"{name}.pem" for name in names)]
    )


def test_certificates_hold_the_hosts_and_no_key_of_the_authority(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls", hosts=["login1", "10.0.0.7"], days=30)
    shown = x509.load_pem_x509_certificate(made.pairs["scheduler"].cert.read_bytes())
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "login1"} <= set(names.get_values_for_type(x509.DNSName))
    assert "10.0.0.7" in map(str, names.get_values_for_type(x509.IPAddress))
    assert 30 <= (shown.not_valid_after_utc - shown.not_valid_before_utc).days < 31
    shown.verify_directly_issued_by(authority)
    keys = [path.read_bytes() for path in (tmp_path / "tls").glob("*-key.pem")]
    assert len(set(keys)) == 3


def test_certificates_that_do_not_fit_are_refused(folder: Path, own: Certificates) -> None:
    other = Certificates.in_folder(folder / "rogue").pairs["client"].key
    unfit = type(own.pairs["client"])(own.pairs["client"].cert, other)
    with pytest.raises(RequestError, match=r"client\.pem cannot be used .*KEY_VALUES_MISMATCH"):
        Certificates(own.authority, {"client": unfit}).checked(["client"])


def test_certificates_that_have_expired_are_refused(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls", days=0)
    with pytest.raises(RequestError, match=r"scheduler\.pem expired on .*cluster certificates"):
        made.checked(["scheduler"])


def test_the_environment_file_says_what_the_profile_says(folder: Path, own: Certificates) -> None:
    command = f". {folder}/tls/environment.sh && env --null"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    reported = dict(line.split("=", 1) for line in done.stdout.rstrip("\0").split("\0"))
    assert own.environment.items() <= reported.items()


def test_a_client_that_cannot_be_made_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with pytest.raises(RequestError, match="no certificates"), at_address("tls://127.0.0.1:1"):
        pass
    assert set(threading.enumerate()) <= before
