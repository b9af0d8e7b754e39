"""Object storage: buckets, their errors in plain words, and records of work under way.

The endpoint and credentials of a bucket come only from environment variables (``AWS_ENDPOINT_URL``,
``AWS_ACCESS_KEY_ID``, …) of each process, so no secret is in a store, a task or a log.
"""

import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url
from pydantic import TypeAdapter, ValidationError
from zarr.storage import ObjectStore

from latticescape.physics.errors import RequestError, shortened

# Schemes, and the prefix of the environment variables of each.
VARIABLES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}

# A first request fails within seconds. Work under way waits for a storage that is busy or restarts,
# in all no longer than any credential is valid.
QUICK: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}
PATIENT: Any = {"max_retries": 10, "retry_timeout": timedelta(seconds=60)}
QUICK_ANSWER = {"connect_timeout": "3s", "timeout": "5s"}

# Client options passed to obstore hide these settings of the environment, so they are passed too.
_CLIENT = ("allow_http", "allow_invalid_certificates", "proxy_url", "proxy_ca_certificate")

_URL = re.compile(r"(?P<scheme>s3|gs|az)://(?P<bucket>[^/?#%@:\s]+)(?P<path>(/[^/?#%]+)*)/?")
_ANY_URL = re.compile(r"[A-Za-z][\w+.-]*:/")


class UnreachableError(RequestError):
    """An object storage does not answer, or denies access."""


def is_url(path: object) -> bool:
    """Whether a path is meant as a URL, even if ``pathlib`` has removed a slash.

    Examples
    --------
    >>> is_url("s3://bucket/ising.zarr"), is_url("runs/ising.zarr"), is_url("C:/ising.zarr")
    (True, False, False)
    """
    match = _ANY_URL.match(str(path))
    return match is not None and match.end() > 3


class FolderObjects:
    """Objects below a folder, each written whole or not at all; the interface of a bucket's.

    Examples
    --------
    >>> import tempfile
    >>> objects = FolderObjects(Path(tempfile.mkdtemp()))
    >>> objects.create("a/b", b"1"), objects.create("a/b", b"2"), objects.read("a/b")
    (True, False, b'1')
    >>> objects.remove("a/b")
    >>> objects.read("a/b"), objects.names("a")
    (None, [])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def patient(self) -> Any:
        """The obstore handle for work under way."""
        return self.quick

    @cached_property
    def quick(self) -> Any:
        """The obstore handle for a first request."""
        return LocalStore(self.folder, automatic_cleanup=True)

    def errors(self) -> AbstractContextManager[None]:
        """Translate errors of obstore into those of the operating system."""
        return _os_errors(self.folder)

    def read(self, key: str) -> bytes | None:
        """An object; None if it does not exist."""
        with self.errors():
            try:
                return bytes(obstore.get(self.patient, key).bytes())
            except FileNotFoundError as error:
                if _is_of_bucket(error):
                    raise
                return None

    def write(self, key: str, content: bytes) -> None:
        """Write an object, replacing any other."""
        with self.errors():
            obstore.put(self.patient, key, content)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless it exists; whether it was written."""
        with self.errors():
            return _created(self.patient, key, content)

    def remove(self, key: str) -> None:
        """Remove an object if it exists."""
        with self.errors():
            _removed(self.patient, key)

    def modified(self, key: str) -> float | None:
        """When an object was written, in seconds since 1970 by the clock of the disk or storage;
        None if it does not exist."""
        with self.errors():
            try:
                return float(obstore.head(self.patient, key)["last_modified"].timestamp())
            except FileNotFoundError as error:
                if _is_of_bucket(error):
                    raise
                return None

    def names(self, folder: str = "") -> list[str]:
        """Names of the objects in a folder, and of its folders with a slash at the end.

        No other request comes before, so this fails at once if a storage cannot be reached.
        """
        with self.errors():
            listing = obstore.list_with_delimiter(self.quick, folder or None)
        start = len(f"{folder}/") if folder else 0
        paths = [f"{path}/" for path in listing["common_prefixes"]]
        paths += [entry["path"] for entry in listing["objects"]]
        return sorted(path[start:] for path in paths)


class Objects(FolderObjects):
    """Objects below a URL, each written whole or not at all.

    Parameters
    ----------
    url
        ``s3://bucket/path``, ``gs://bucket/path`` or ``az://container/path``.

    Raises
    ------
    RequestError
        If it is not such a URL, or the environment has an endpoint that is not a URL.

    Examples
    --------
    >>> Objects("memory://ising.zarr")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: a store cannot be kept there (came: memory://ising.zarr; ...
    """

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url)
        if match is None or {".", ".."} & {*match["path"].split("/")}:
            raise RequestError(
                "a store cannot be kept there",
                came=url,
                allowed="a folder, or s3:// | gs:// | az:// with a bucket and a path",
                hint="s3://bucket/runs/ising.zarr",
            )
        self.url, self.scheme, self.bucket = url.rstrip("/"), match["scheme"], match["bucket"]
        # Obstore panics on an endpoint that is not a URL, and a panic is not an Exception.
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
            endpoint = os.environ.get(name)
            if endpoint is not None and not re.match(r"https?://[^/\s]+", endpoint):
                raise RequestError(
                    f"{name} is not a URL",
                    came=repr(endpoint),
                    allowed="http://host:port | https://host:port",
                    hint=f"{name}=http://127.0.0.1:9000",
                )

    @property
    def patient(self) -> Any:
        """The obstore handle for work under way."""
        return _handle(self.url, self._environment(), patient=True)

    @property
    def quick(self) -> Any:
        """The obstore handle for a first request."""
        return _handle(self.url, self._environment(), patient=False)

    def errors(self) -> AbstractContextManager[None]:
        """Translate errors of obstore into what they mean for the user of the URL."""
        return translated(self.url)

    def _environment(self) -> tuple[tuple[str, str], ...]:
        start = VARIABLES[self.scheme]
        return tuple(sorted(item for item in os.environ.items() if item[0].startswith(start)))

    def zarr(self) -> "ErrorTranslatingStore":
        """The objects as a store of zarr."""
        return ErrorTranslatingStore(self.patient, url=self.url)

    def check_writable(self, key: str) -> None:
        """Try to create a new object twice, and to remove it.

        Raises
        ------
        UnreachableError
            If that is denied, or the second writer is not.
        """
        with self.errors():
            _created(self.quick, key, b"")
            try:
                exclusive = not _created(self.quick, key, b"")
            finally:
                _removed(self.quick, key)
        if not exclusive:
            raise UnreachableError(
                f"the object storage of {self.url} lets two writers create the same object",
                came="If-None-Match is ignored",
                allowed="a storage with conditional writes, such as those of AWS, Google and Azure",
                hint="a newer version of the storage",
            )


@lru_cache(maxsize=32)
def _handle(url: str, environment: tuple[tuple[str, str], ...], *, patient: bool) -> Any:
    """One handle for each URL and environment: it keeps its connections."""
    client = {
        key: value for name, value in environment for key in _CLIENT if name.endswith(key.upper())
    }
    options: dict[str, Any] = {} if patient else {"client_options": {**QUICK_ANSWER, **client}}
    with translated(url):
        return from_url(url, retry_config=PATIENT if patient else QUICK, **options)


class ErrorTranslatingStore(ObjectStore[Any]):
    """A store of zarr whose errors say what is wrong with the bucket."""

    def __init__(self, store: Any, *, read_only: bool = False, url: str) -> None:
        super().__init__(store, read_only=read_only)
        self.url = url

    def with_read_only(self, read_only: bool = False) -> Self:
        return type(self)(self.store, read_only=read_only, url=self.url)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        with translated(self.url):
            return await super().get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        with translated(self.url):
            return await super().exists(key)

    async def set(self, key: str, value: Any) -> None:
        with translated(self.url):
            await super().set(key, value)

    async def delete(self, key: str) -> None:
        with translated(self.url):
            await super().delete(key)


T = TypeVar("T")

Record = dict[str, Any]

# Inside an array's folder, where no reader of a zarr group looks: next to the arrays, readers would
# warn that a record is "not recognized as a component of a Zarr hierarchy".
RECORDS = "done/notes"


class Records:
    """Small JSON records in a store about the work on it, removed when the work is done.

    A reader gets a record whole, or as it was before, or not at all.

    Examples
    --------
    >>> import tempfile
    >>> records = Records(FolderObjects(Path(tempfile.mkdtemp())))
    >>> records.write("block-7", {"trying": [1]})
    >>> records.read("block-7"), records.read("block-8"), records.names()
    ({'trying': [1]}, None, ['block-7'])
    >>> records.create("block-7", {})
    False
    """

    def __init__(self, objects: FolderObjects) -> None:
        self.objects = objects

    def read(self, name: str) -> Record | None:
        """A record; None if there is none that can be read."""
        try:
            record = json.loads(self.objects.read(_key(name)) or b"")
        except (OSError, ValueError, RecursionError):  # UnreachableError is a ValueError
            return None
        return record if isinstance(record, dict) else None

    def read_as(self, name: str, kind: type[T]) -> T | None:
        """A record of a pydantic model or dataclass; None if there is none, or something else."""
        record = self.read(name)
        if record is None:
            return None
        try:
            # As JSON, since in strict mode only that turns a list into a tuple.
            return TypeAdapter(kind).validate_json(json.dumps(record), strict=True)
        except ValidationError:
            return None

    def has(self, name: str) -> bool:
        """Whether a record exists, readable or not; True if the storage does not answer."""
        try:
            return self.objects.read(_key(name)) is not None
        except (OSError, UnreachableError):
            return True

    def modified(self, name: str) -> float | None:
        """When a record was written, by the clock of its disk; None if there is none."""
        try:
            return self.objects.modified(_key(name))
        except (OSError, UnreachableError):
            return None

    def now(self) -> float:
        """Seconds since 1970 by the clock of the disk, which writes a record to tell it."""
        name = f"clock-{uuid.uuid4().hex}"
        try:
            self.write(name, {})
            return self.modified(name) or time.time()
        finally:
            self.remove(name)

    def write(self, name: str, record: Record) -> None:
        """Write a record, replacing any other."""
        self.objects.write(_key(name), json.dumps(record).encode())

    def create(self, name: str, record: Record) -> bool:
        """Write a record unless it exists; whether it was written."""
        return self.objects.create(_key(name), json.dumps(record).encode())

    def remove(self, name: str) -> None:
        """Remove a record if it exists."""
        self.objects.remove(_key(name))

    def names(self) -> list[str]:
        """Names of all records."""
        names = self.objects.names(RECORDS)
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]


def _key(name: str) -> str:
    return f"{RECORDS}/{name}.json"


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
def _os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from None


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Translate errors of obstore into what they mean for the user of a URL."""
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
_REASONS = (
    "Connection refused|Connection reset|timed out|TimedOut|dns error|builder error|certificate"
    r"|[Ii]nvalid\w*Message\w*"
)
_ANSWERS = {
    "builder error": "http:// is used without AWS_ALLOW_HTTP=true",
    "timed out": "no answer in time",
    "TimedOut": "no answer in time",
    "dns error": "no such host",
}


def _explained(url: str, error: str) -> UnreachableError:
    """What an error of obstore means."""
    scheme = urlsplit(url).scheme
    if re.search(_NO_BUCKET, error):
        return UnreachableError(
            f"there is no bucket {scheme}://{urlsplit(url).netloc}",
            came=url,
            allowed="a bucket that exists",
            hint="create the bucket first",
        )
    if re.search(_NO_CREDENTIALS, error):
        return UnreachableError(
            f"no credentials for {url}",
            came="none in the environment of this process, and none of this machine",
            allowed=f"{CREDENTIALS[scheme]}, on the workers too",
            hint="export them, and start again",
        )
    if re.search(_DENIED, error):
        return UnreachableError(
            f"access denied to {url}",
            came=_answer(error),
            allowed="credentials that may list, read, write and delete there",
            hint=f"other {CREDENTIALS[scheme]}",
        )
    if re.search(_SILENT, error):
        endpoint = re.search(r"https?://[^/\s]+", error)
        match = re.search(_REASONS, error)
        reason = match[0] if match else "no connection"
        place = endpoint[0] if endpoint else "its endpoint"
        hint = "run the same command again when the network is up"
        if scheme == "s3":
            hint = "set AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true if it begins with http://"
        return UnreachableError(
            f"no object storage answers for {url}",
            came=f"{_ANSWERS.get(reason, reason)} at {place}",
            allowed="an endpoint that this process reaches",
            hint=hint,
        )
    return UnreachableError(
        f"the object storage of {url} failed",
        came=_answer(error),
        hint="run again; if it fails again, check the endpoint and the region",
    )


def _answer(error: str) -> str:
    """The code and status in an error of a storage."""
    code = re.search(r"<Code>(\w+)</Code>", error)
    status = re.search(r"status code: (\d{3}[\w ]*)", error)
    parts = [match[1] for match in (code, status) if match]
    # The query of an address may hold a token.
    return ", ".join(parts) or shortened(re.sub(r"\?\S*", "", error.partition("\n")[0]), 120)
