"""``Objects``: what is below a URL of an object storage, and what is wrong when it does not answer.

Where it is and who may read it comes from environment variables alone (``AWS_ENDPOINT_URL``,
``AWS_ACCESS_KEY_ID``, …), in every process its own: so no secret is in a store, a task or a log.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, Self
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from latticescape.physics.errors import RequestError, shortened

# Schemes, and how the variables of each begin.
VARIABLES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}

# A first look fails within seconds. Work that is under way waits for a storage that is busy or
# restarts, in all for so long as a credential surely lasts.
QUICK: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}
PATIENT: Any = {"max_retries": 10, "retry_timeout": timedelta(seconds=60)}
QUICK_ANSWER = {"connect_timeout": "3s", "timeout": "5s"}

# Given once, these hide the same settings in the environment.
_CLIENT = ("allow_http", "allow_invalid_certificates", "proxy_url", "proxy_ca_certificate")

_URL = re.compile(r"(?P<scheme>s3|gs|az)://(?P<bucket>[^/?#%@:\s]+)(?P<path>(/[^/?#%]+)*)/?")
_ANY_URL = re.compile(r"[A-Za-z][\w+.-]*:/")


class UnreachableError(RequestError):
    """An object storage that does not answer, or refuses."""


def is_url(path: object) -> bool:
    """Whether a path is meant as a URL, be it one that ``pathlib`` took a slash of.

    Examples
    --------
    >>> is_url("s3://bucket/ising.zarr"), is_url("runs/ising.zarr"), is_url("C:/ising.zarr")
    (True, False, False)
    """
    found = _ANY_URL.match(str(path))
    return found is not None and found.end() > 3


class Objects:
    """Objects below a URL, each written whole or not at all.

    Parameters
    ----------
    url
        ``s3://bucket/path``, ``gs://bucket/path`` or ``az://container/path``.

    Raises
    ------
    RequestError
        If it is no such URL, or the environment names an endpoint that is none.

    Examples
    --------
    >>> Objects("memory://ising.zarr")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: a store cannot be kept there (came: memory://ising.zarr; ...
    """

    def __init__(self, url: str) -> None:
        found = _URL.fullmatch(url)
        if found is None or {".", ".."} & {*found["path"].split("/")}:
            raise RequestError(
                "a store cannot be kept there",
                came=url,
                allowed="a folder, or s3:// | gs:// | az:// with a bucket and a path",
                hint="s3://bucket/runs/ising.zarr",
            )
        self.url, self.scheme, self.bucket = url.rstrip("/"), found["scheme"], found["bucket"]
        self._check_endpoint()

    def _check_endpoint(self) -> None:
        """Obstore panics where an endpoint is no URL, and a panic is no ``Exception``."""
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
            given = os.environ.get(name)
            if given is not None and not re.match(r"https?://[^/\s]+", given):
                raise RequestError(
                    f"{name} is no URL",
                    came=repr(given),
                    allowed="http://host:port | https://host:port",
                    hint=f"{name}=http://127.0.0.1:9000, or unset {name}",
                )

    @property
    def quick(self) -> Any:
        """Obstore's handle for a first look."""
        return _handle(self.url, self._environment(), patient=False)

    @property
    def patient(self) -> Any:
        """Obstore's handle for work that is under way."""
        return _handle(self.url, self._environment(), patient=True)

    def _environment(self) -> tuple[tuple[str, str], ...]:
        start = VARIABLES[self.scheme]
        return tuple(sorted(item for item in os.environ.items() if item[0].startswith(start)))

    def zarr(self) -> "ErrorTranslatingStore":
        """The objects as zarr wants them."""
        return ErrorTranslatingStore(self.patient, url=self.url)

    def read(self, key: str) -> bytes | None:
        """An object; None if there is none."""
        with told(self.url):
            try:
                return bytes(obstore.get(self.patient, key).bytes())
            except FileNotFoundError as error:
                if _is_of_bucket(error):
                    raise
                return None

    def write(self, key: str, content: bytes) -> None:
        """Write an object in place of the one there is."""
        with told(self.url):
            obstore.put(self.patient, key, content)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; whether it was written."""
        with told(self.url):
            return _created(self.patient, key, content)

    def remove(self, key: str) -> None:
        """Remove an object if there is one."""
        with told(self.url):
            _removed(self.patient, key)

    def names(self, folder: str = "") -> list[str]:
        """What is in a folder: objects, and folders with a slash at the end.

        Nothing else is asked first, so this tells at once whether a storage can be reached.
        """
        with told(self.url):
            found = obstore.list_with_delimiter(self.quick, folder or None)
        start = len(f"{folder}/") if folder else 0
        paths = [f"{path}/" for path in found["common_prefixes"]]
        paths += [entry["path"] for entry in found["objects"]]
        return sorted(path[start:] for path in paths)

    def check_writable(self, key: str) -> None:
        """Try to write, and to remove, with an object that is not there.

        Raises
        ------
        UnreachableError
            If that is refused, or a second writer is not.
        """
        with told(self.url):
            _created(self.quick, key, b"")
            try:
                exclusive = not _created(self.quick, key, b"")
            finally:
                _removed(self.quick, key)
        if not exclusive:
            raise UnreachableError(
                f"the object storage of {self.url} lets two writers create the same object",
                came="If-None-Match is ignored",
                allowed="a storage with conditional writes, as those of AWS, Google and Azure",
                hint="a newer version of it",
            )


@lru_cache(maxsize=32)
def _handle(url: str, environment: tuple[tuple[str, str], ...], *, patient: bool) -> Any:
    """A handle keeps its connections, so there is one for each URL and what obstore is told."""
    given = {
        key: value for name, value in environment for key in _CLIENT if name.endswith(key.upper())
    }
    options: dict[str, Any] = {} if patient else {"client_options": {**QUICK_ANSWER, **given}}
    with told(url):
        return from_url(url, retry_config=PATIENT if patient else QUICK, **options)


class ErrorTranslatingStore(ObjectStore[Any]):
    """Zarr's store of objects, whose errors tell a user what is wrong."""

    def __init__(self, store: Any, *, read_only: bool = False, url: str) -> None:
        super().__init__(store, read_only=read_only)
        self.url = url

    def with_read_only(self, read_only: bool = False) -> Self:
        return type(self)(self.store, read_only=read_only, url=self.url)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: Any = None
    ) -> Buffer | None:
        with told(self.url):
            return await super().get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        with told(self.url):
            return await super().exists(key)

    async def set(self, key: str, value: Buffer) -> None:
        with told(self.url):
            await super().set(key, value)

    async def delete(self, key: str) -> None:
        with told(self.url):
            await super().delete(key)


def _created(objects: Any, key: str, content: bytes) -> bool:
    try:
        obstore.put(objects, key, content, mode="create", use_multipart=False)
    except AlreadyExistsError:
        return False
    return True


def _removed(objects: Any, key: str) -> None:
    try:
        obstore.delete(objects, key)
    except FileNotFoundError as error:
        if _is_of_bucket(error):
            raise


def _is_of_bucket(error: FileNotFoundError) -> bool:
    return re.search(_NO_BUCKET, str(error)) is not None


@contextmanager
def told(url: str) -> Iterator[None]:
    """Errors of obstore as what they mean to a user of a URL."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise _explained(url, str(error)) from None


_NO_BUCKET = "NoSuchBucket|ContainerNotFound|bucket does not exist|InvalidBucketName"
_NO_CREDENTIALS = (
    "latest/api/token|security-credentials|computeMetadata|Missing [A-Z]|Account must be"
)
_DENIED = r"\b40[13] |AccessDenied|Signature|InvalidAccessKeyId|permission"
_SILENT = "HTTP error|error sending request|timed out"


def _explained(url: str, error: str) -> UnreachableError:
    kinds: dict[str, Callable[[str, str], UnreachableError]] = {
        _NO_BUCKET: _no_bucket,
        _NO_CREDENTIALS: _no_credentials,
        _DENIED: _denied,
        _SILENT: _silent,
        "": _failed,
    }
    return next(make for kind, make in kinds.items() if re.search(kind, error))(url, error)


def _no_bucket(url: str, _: str) -> UnreachableError:
    bucket = "/".join(url.split("/")[:3])
    return UnreachableError(
        f"there is no bucket {bucket}",
        came=url,
        allowed="a bucket that exists",
        hint="make it first, or another --store",
    )


def _no_credentials(url: str, _: str) -> UnreachableError:
    return UnreachableError(
        f"no credentials for {url}",
        came="none in the environment of this process, and this machine has none of its own",
        allowed=f"{CREDENTIALS[urlsplit(url).scheme]}, for workers as well",
        hint="export them, and start again",
    )


def _denied(url: str, error: str) -> UnreachableError:
    return UnreachableError(
        f"access denied to {url}",
        came=_answer(error),
        allowed="credentials that may list, read, write and delete there",
        hint=f"other {CREDENTIALS[urlsplit(url).scheme]}",
    )


def _silent(url: str, error: str) -> UnreachableError:
    name = "AWS_ENDPOINT_URL"
    asked = re.search(r"https?://[^/\s]+", error)
    reason = re.search(
        r"Connection refused|Connection reset|timed out|TimedOut|dns error|builder error"
        r"|certificate|[Ii]nvalid\w*Message\w*",
        error,
    )
    answers = {
        "builder error": "http:// is used without AWS_ALLOW_HTTP=true",
        "TimedOut": "nothing within the time",
        "dns error": "no such host",
    }
    found = reason[0] if reason else "no connection"
    return UnreachableError(
        f"no object storage answers for {url}",
        came=f"{answers.get(found, found)} at {asked[0] if asked else 'its endpoint'}",
        allowed="an endpoint that this process reaches",
        hint=f"{name} of the storage you mean, with AWS_ALLOW_HTTP=true if it begins with http://"
        if url.startswith("s3")
        else "the same once more, when the network is there",
    )


def _failed(url: str, error: str) -> UnreachableError:
    return UnreachableError(
        f"the object storage of {url} failed",
        came=_answer(error),
        hint="the same once more; if it stays, look at the endpoint and the region",
    )


def _answer(error: str) -> str:
    """What a storage said: its code, and its status."""
    code = re.search(r"<Code>(\w+)</Code>", error)
    status = re.search(r"status code: (\d{3}[\w ]*)", error)
    told = [found[1] for found in (code, status) if found]
    # Tokens may be in the query of an address.
    return ", ".join(told) or shortened(re.sub(r"\?\S*", "", error.partition("\n")[0]), 120)
