"""Certificates for mutual TLS: only processes that hold one of the cluster's own are trusted."""

import ssl
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from distributed.security import Security

from latticescape.physics.errors import RequestError
from latticescape.physics.extras import optional_imports

Role: TypeAlias = Literal["scheduler", "worker", "client"]

ROLES: tuple[Role, ...] = ("scheduler", "worker", "client")
PARTS = ("cert", "key")
AUTHORITY = "ca.pem"
_HINT = "latticescape cluster certificates --out tls"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, two PEM files."""

    cert: Path
    key: Path

    def check(self, authority: Path) -> None:
        """Check the files of a certificate and of the authority that signed it.

        Raises
        ------
        RequestError
            If a file cannot be read, is not a certificate, does not match its key or the
            authority, or has expired; or if other users can read the key.
        """
        for path in (authority, self.cert, self.key):
            try:
                path.read_bytes()
            except OSError as error:
                raise RequestError(
                    f"cannot read {path}", came=error.strerror, allowed="a PEM file", hint=_HINT
                ) from None
        mode = stat.S_IMODE(self.key.stat().st_mode)
        if mode & stat.S_IRWXO:
            raise RequestError(
                f"other users can read {self.key} (mode {mode:o})", hint=f"chmod 600 {self.key}"
            )
        with optional_imports():
            from cryptography import x509
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(authority)
            # No password: a process of a cluster cannot ask for one.
            context.load_cert_chain(self.cert, self.key, password=str)
            expires = x509.load_pem_x509_certificate(self.cert.read_bytes()).not_valid_after_utc
        except (ssl.SSLError, ValueError, TypeError) as error:
            raise RequestError(
                f"the certificate {self.cert} cannot be used",
                came=getattr(error, "reason", None) or error,
                allowed=f"PEM files that match: it, {self.key.name} and {authority.name}",
                hint=_HINT,
            ) from None
        if expires < datetime.now(UTC):
            raise RequestError(
                f"the certificate {self.cert} expired on {expires:%Y-%m-%d}", hint=_HINT
            )


@dataclass(frozen=True)
class Certificates:
    """The trusted authority, and the certificate of each role."""

    authority: Path
    pairs: Mapping[Role, Pair]

    @classmethod
    def in_folder(cls, folder: Path) -> "Certificates":
        """The certificates that ``latticescape cluster certificates`` wrote into a folder."""
        pairs = {role: Pair(folder / f"{role}.pem", folder / f"{role}-key.pem") for role in ROLES}
        return cls(folder / AUTHORITY, pairs)

    def of(self, *roles: Role) -> "Certificates":
        """The certificates of some roles."""
        return Certificates(self.authority, {role: self.pairs[role] for role in roles})

    def checked(self, roles: Sequence[Role]) -> "Certificates":
        """The certificates of some roles, after checking their files.

        Raises
        ------
        RequestError
            As :meth:`Pair.check`.
        """
        for role in roles:
            self.pairs[role].check(self.authority)
        return self.of(*roles)

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of Dask's ``Security``, which are valid JSON."""
        pairs = {
            f"tls_{role}_{part}": str(getattr(pair, part))
            for role, pair in self.pairs.items()
            for part in PARTS
        }
        return {"require_encryption": True, "tls_ca_file": str(self.authority), **pairs}

    @property
    def security(self) -> Security:
        """Dask's ``Security``: every connection is encrypted and authenticated."""
        return Security(**self.options)

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables, for Dask's own commands."""
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
