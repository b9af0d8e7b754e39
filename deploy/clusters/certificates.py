"""Certificates for mutual TLS: who of a cluster's own authority, and nobody else, is let in."""

import ipaddress
import platform
import shlex
import ssl
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from distributed.security import Security

from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.atomic_write import check_place, is_free, made_whole

Role: TypeAlias = Literal["scheduler", "worker", "client"]

ROLES: tuple[Role, ...] = ("scheduler", "worker", "client")
PARTS = ("cert", "key")
AUTHORITY = "ca.pem"
ENVIRONMENT = "environment.sh"
DAYS = 365

# A client is let in and lets nobody in: its certificate, stolen, makes no scheduler.
_USES = {
    "scheduler": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    "worker": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    "client": (ExtendedKeyUsageOID.CLIENT_AUTH,),
}


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, two PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Certificates:
    """The authority that is trusted, and what each role shows of itself."""

    authority: Path
    pairs: Mapping[Role, Pair]

    @classmethod
    def in_folder(cls, folder: Path) -> "Certificates":
        """Those that :func:`make_certificates` puts into a folder."""
        pairs = {role: Pair(folder / f"{role}.pem", folder / f"{role}-key.pem") for role in ROLES}
        return cls(folder / AUTHORITY, pairs)

    def of(self, *roles: Role) -> "Certificates":
        """Those of some roles only."""
        return Certificates(self.authority, {role: self.pairs[role] for role in roles})

    def checked(self, roles: Sequence[Role]) -> "Certificates":
        """These certificates, of these roles only.

        Raises
        ------
        RequestError
            If a file cannot be read, is no certificate, does not fit its key or the authority, or
            has expired; or if a key can be read by everybody.
        """
        for role in roles:
            _check(self.authority, self.pairs[role])
        return self.of(*roles)

    @property
    def options(self) -> dict[str, Any]:
        """As keywords of Dask's ``Security``, for processes that are told in JSON."""
        pairs = {
            f"tls_{role}_{part}": str(getattr(pair, part))
            for role, pair in self.pairs.items()
            for part in PARTS
        }
        return {"require_encryption": True, "tls_ca_file": str(self.authority), **pairs}

    @property
    def security(self) -> Security:
        """For Dask: nothing goes out or comes in that is not encrypted and authenticated."""
        return Security(**self.options)

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables, for processes that Dask's own commands start."""
        comm = "DASK_DISTRIBUTED__COMM__"
        pairs = {
            f"{comm}TLS__{role.upper()}__{part.upper()}": str(getattr(pair, part))
            for role, pair in self.pairs.items()
            for part in PARTS
        }
        return {
            f"{comm}REQUIRE_ENCRYPTION": "True",
            f"{comm}DEFAULT_SCHEME": "tls",
            f"{comm}TLS__CA_FILE": str(self.authority),
            **pairs,
        }


def make_certificates(
    folder: str | Path, *, hosts: Sequence[str] = (), days: int = DAYS
) -> Certificates:
    """Make an authority, and a certificate of it for scheduler, workers and client.

    The authority's own key is thrown away: nobody can make one more certificate that this cluster
    lets in. Dask compares no host names, only the authority, so it must be the cluster's own.

    Parameters
    ----------
    folder
        A new folder, readable by its owner alone. It gets ``ca.pem``, ``scheduler.pem``,
        ``scheduler-key.pem`` and so on, and ``environment.sh`` to be sourced before Dask's own
        commands.
    hosts
        Names and addresses to write into the certificates beside those of this machine.
    days
        How long they are good.

    Raises
    ------
    RequestError
        If the folder is there already or cannot be written, or a host is no name.

    Examples
    --------
    >>> import tempfile
    >>> made = make_certificates(tempfile.mkdtemp() + "/tls", hosts=["login1", "10.0.0.7"])
    >>> made.checked(["client"]).security.require_encryption
    True
    """
    out = Path(folder).absolute()
    if not is_free(out):
        raise RequestError(
            f"{out} is there already", allowed="a new folder", hint="--out another-folder"
        )
    names = [_host(name) for name in dict.fromkeys((*_own_hosts(), *hosts))]
    check_place(out)
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own, so that another authority is told as unknown, not as a forgery.
    authority = _name(f"authority {x509.random_serial_number():x}"[:40])
    with made_whole(out) as draft:
        draft.mkdir(mode=0o700)
        _write(draft / AUTHORITY, _pem(_authority(authority, authority_key, now, until)))
        for role in ROLES:
            key = ec.generate_private_key(ec.SECP256R1())
            draw = _certificate(authority, _name(role), key.public_key(), now, until)
            draw = draw.add_extension(x509.SubjectAlternativeName(names), critical=False)
            draw = draw.add_extension(x509.ExtendedKeyUsage(_USES[role]), critical=False)
            _write(draft / f"{role}.pem", _pem(draw.sign(authority_key, hashes.SHA256())))
            _write(draft / f"{role}-key.pem", _pem(key))
        made = Certificates.in_folder(out)
        lines = [f"export {name}={shlex.quote(text)}" for name, text in made.environment.items()]
        _write(draft / ENVIRONMENT, "\n".join([*lines, ""]).encode())
    return made


def _own_hosts() -> tuple[str, ...]:
    return ("localhost", "127.0.0.1", platform.node() or "localhost")


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not name or any(not (c.isascii() and (c.isalnum() or c in "-._*")) for c in name):
        raise RequestError(
            "a host cannot be written into a certificate",
            came=repr(name),
            allowed="a host name, without port, or an address",
            hint="--host login1.cluster.edu",
        )
    return x509.DNSName(name)


def _name(part: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"latticescape {part}")])


def _certificate(
    issuer: x509.Name,
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number())
    # Clocks of a cluster differ by minutes.
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(until)


def _authority(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, until: datetime
) -> x509.Certificate:
    builder = _certificate(name, name, key.public_key(), now, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(key, hashes.SHA256())


def _pem(thing: x509.Certificate | ec.EllipticCurvePrivateKey) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    # Nobody else can open it even while it is empty.
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)


def _check(authority: Path, pair: Pair) -> None:
    for path in (authority, pair.cert, pair.key):
        _check_file(path)
    if stat.S_IMODE(pair.key.stat().st_mode) & stat.S_IRWXO:
        raise RequestError(
            f"everybody can read the private key {pair.key}",
            came=f"mode {stat.S_IMODE(pair.key.stat().st_mode):o}",
            allowed="mode 600",
            hint=f"chmod 600 {pair.key}",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(authority)
        # No password: a process of a cluster has nobody to ask.
        context.load_cert_chain(pair.cert, pair.key, password=str)
        _check_issued(authority, pair.cert)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise RequestError(
            f"the certificate {pair.cert} cannot be used",
            came=getattr(error, "reason", None) or error,
            allowed=f"PEM files that fit each other: it, {pair.key.name} and {authority.name}",
            hint="latticescape cluster certificates --out tls",
        ) from None


def _check_file(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise RequestError(
            f"cannot read {path}",
            came=error.strerror,
            allowed="a PEM file",
            hint="latticescape cluster certificates --out tls",
        ) from None


def _check_issued(authority: Path, cert: Path) -> None:
    found: Any = x509.load_pem_x509_certificate(cert.read_bytes())
    until = found.not_valid_after_utc
    if until < datetime.now(UTC):
        raise RequestError(
            f"the certificate {cert} has expired",
            came=f"{until:%Y-%m-%d}",
            allowed="a date to come",
            hint="latticescape cluster certificates --out tls",
        )
