"""A certificate authority for one cluster, and the certificates that it signs."""

import ipaddress
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from latticescape.deploy.clusters.certificates import AUTHORITY, ROLES, Certificates
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.atomic_write import atomic_write, check_parent, is_free

ENVIRONMENT = "environment.sh"
DAYS = 365

# A client accepts no connections, so that its certificate, if stolen, cannot run a scheduler.
_USES = {
    "scheduler": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    "worker": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    "client": (ExtendedKeyUsageOID.CLIENT_AUTH,),
}


def make_certificates(
    folder: str | Path, *, hosts: Sequence[str] = (), days: int = DAYS
) -> Certificates:
    """Make an authority, and certificates that it signs for scheduler, workers and client.

    The authority's own key is discarded, so that no further certificate can be made that this
    cluster trusts. Dask does not compare host names, so each cluster needs its own authority.

    Parameters
    ----------
    folder
        A new folder, readable only by its owner. It gets ``ca.pem``, ``scheduler.pem``,
        ``scheduler-key.pem`` and so on, and ``environment.sh`` to be sourced before Dask's own
        commands.
    hosts
        Host names and addresses to write into the certificates, besides those of this machine.
    days
        How long the certificates are valid.

    Raises
    ------
    RequestError
        If the folder exists or cannot be written, or a host name is invalid.

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
            f"{out} already exists", allowed="a new folder", hint="--out another-folder"
        )
    own = ("localhost", "127.0.0.1", platform.node() or "localhost")
    names = [_host(name) for name in dict.fromkeys((*own, *hosts))]
    check_parent(out)
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    # A unique name, so that TLS reports another authority as unknown, not as a bad signature.
    authority = _name(f"authority {x509.random_serial_number():x}"[:40])
    with atomic_write(out) as draft:
        draft.mkdir(mode=0o700)
        trusted = _certificate(authority, authority, authority_key.public_key(), now, until)
        trusted = trusted.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        _write(draft / AUTHORITY, _pem(trusted.sign(authority_key, hashes.SHA256())))
        for role in ROLES:
            key = ec.generate_private_key(ec.SECP256R1())
            signed = _certificate(authority, _name(role), key.public_key(), now, until)
            signed = signed.add_extension(x509.SubjectAlternativeName(names), critical=False)
            signed = signed.add_extension(x509.ExtendedKeyUsage(_USES[role]), critical=False)
            _write(draft / f"{role}.pem", _pem(signed.sign(authority_key, hashes.SHA256())))
            _write(draft / f"{role}-key.pem", _pem(key))
        made = Certificates.in_folder(out)
        lines = [f"export {name}={shlex.quote(text)}" for name, text in made.environment.items()]
        _write(draft / ENVIRONMENT, "\n".join([*lines, ""]).encode())
    return made


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not name or any(not (c.isascii() and (c.isalnum() or c in "-._*")) for c in name):
        raise RequestError(
            "not a host name or address",
            came=repr(name),
            hint="--host login1.lab.edu, without port",
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


def _pem(thing: x509.Certificate | ec.EllipticCurvePrivateKey) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    # Created with its mode, so that no other user can open it while it is empty.
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)
