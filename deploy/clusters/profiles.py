"""Profiles: a cluster described in a TOML file, shipped or the user's own."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import dask.config

from latticescape.deploy.clusters.certificates import Certificates, Pair, Role
from latticescape.deploy.clusters.profile_schema import (
    Key,
    key,
    lines,
    matching,
    memory,
    number,
    one_of,
    path,
    walltime,
    whole,
)
from latticescape.physics.errors import RequestError

HERE = Path(__file__).parents[1]
SHIPPED = (HERE / "profiles", HERE / "slurm", HERE / "kubernetes")

# Certificates that a cluster makes when it starts, and that are gone when it ends.
TEMPORARY = "temporary"

LOOPBACK = "127.0.0.1:0"

WORD = r"[\w.,:@%/+=-]+"
COMMAND = r"[^\n\0]+"
ADDRESS = r"(tcp|tls)://[^\s/]+:[0-9]+"
LABEL = r"[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?"

Tls: TypeAlias = Certificates | Path | str | None


def _tls(value: Any) -> Tls:
    if isinstance(value, str):
        return TEMPORARY if value == TEMPORARY else path(value)
    if set(value) != {"ca_file", "cert", "key"}:
        raise ValueError
    pair = Pair(path(value["cert"]), path(value["key"]))
    roles: tuple[Role, ...] = ("scheduler", "worker", "client")
    return Certificates(path(value["ca_file"]), dict.fromkeys(roles, pair))


_PATHS = "a folder of latticescape cluster certificates, or a table of ca_file, cert and key"
_OWN_TLS = (_tls, f'"{TEMPORARY}", {_PATHS}', f'"{TEMPORARY}"')
_CLIENT_TLS = (_tls, _PATHS, '"~/tls"')
_MEMORY = (memory, "a number with its unit, 100 MB or more", '"4 GB"')


@dataclass(frozen=True)
class Local:
    """Worker processes on this machine, gone at the end."""

    kind: ClassVar[str] = "local"
    roles: ClassVar[tuple[Role, ...]] = ("scheduler", "worker", "client")

    workers: int | None = key(*whole(), "2", None)
    threads: int = key(*whole(most=1024), "1", 1)
    tls: Tls = key(*_OWN_TLS, None)


@dataclass(frozen=True)
class Address:
    """A scheduler that runs already, and goes on."""

    kind: ClassVar[str] = "address"
    roles: ClassVar[tuple[Role, ...]] = ("client",)

    address: str = key(
        matching(ADDRESS), "tcp://host:port | tls://host:port", '"tcp://10.0.0.7:8786"', ""
    )
    scheduler_file: Path | None = key(
        path, "the file of dask scheduler --scheduler-file", '"~/scheduler.json"', None
    )
    timeout_seconds: float | None = key(*number(0.1, 3600), "10", None)
    wait_minutes: float | None = key(*number(0.1, 100_000), "10", None)
    tls: Tls = key(*_CLIENT_TLS, None)


@dataclass(frozen=True)
class Slurm:
    """Jobs of SLURM, each a worker; the scheduler in this process, or in the allocation."""

    kind: ClassVar[str] = "slurm"
    roles: ClassVar[tuple[Role, ...]] = ("scheduler", "worker", "client")

    jobs: int = key(*whole(most=10_000), "8", 1)
    cores: int = key(*whole(most=1024), "4", 1)
    processes: int = key(*whole(most=1024), "1", 1)
    memory: str = key(*_MEMORY, "2 GB")
    walltime: str = key(
        walltime, "HH:MM:SS or D-HH:MM:SS, a minute or more", '"04:00:00"', "01:00:00"
    )
    partition: str = key(matching(WORD), "a partition that sinfo tells", '"main"', "")
    account: str = key(matching(WORD), "an account of yours", '"physics"', "")
    interface: str = key(
        matching(WORD), "a network interface of the nodes, as ip link tells", '"ib0"', ""
    )
    scheduler: str = key(*one_of("outside", "inside"), '"outside"', "outside")
    scheduler_interface: str = key(
        matching(WORD), "a network interface of the machine you start from", '"eth0"', ""
    )
    python: str = key(
        matching(r"\S+"), "a Python that the nodes see too", '"/home/me/.venv/bin/python"', ""
    )
    prologue: tuple[str, ...] = key(
        lines(COMMAND), "a list of shell lines", '["module load python/3.11"]', ()
    )
    directives: tuple[str, ...] = key(
        lines(r"-[^\n\0]+"), "a list of options of sbatch", '["--exclusive"]', ()
    )
    folder: Path = key(
        path, "a folder that all nodes see", '"~/latticescape-jobs"', Path("~/latticescape-jobs")
    )
    local_folder: str = key(
        matching(r"\S+"), "a folder of the node's own disk", '"/tmp/$SLURM_JOB_ID"', ""
    )
    dashboard: str = key(
        matching(r"[\w.-]*:[0-9]+"),
        "host:port; it asks nobody who they are",
        '"127.0.0.1:0"',
        LOOPBACK,
    )
    wait_minutes: float = key(*number(0.1, 100_000), "60", 1440.0)
    check_seconds: float = key(*number(1, 3600), "10", 10.0)
    idle_minutes: float = key(*number(1, 100_000), "30", 30.0)
    tls: Tls = key(*_OWN_TLS, None)


@dataclass(frozen=True)
class Kubernetes:
    """A DaskCluster of the Dask operator, and its scheduler's service."""

    kind: ClassVar[str] = "kubernetes"
    roles: ClassVar[tuple[Role, ...]] = ("client",)

    image: str = key(matching(WORD), "an image with latticescape", '"registry/latticescape:0.1"')
    name: str = key(
        matching(LABEL), "up to 53 of a to z, 0 to 9 and -", '"latticescape"', "latticescape"
    )
    namespace: str = key(matching(LABEL), "a namespace", '"default"', "default")
    workers: int = key(*whole(most=10_000), "8", 1)
    cores: int = key(*whole(most=1024), "4", 1)
    memory: str = key(*_MEMORY, "2 GB")
    volume_claim: str = key(
        matching(LABEL), "a PersistentVolumeClaim that many pods may write", '"stores"', ""
    )
    mount: str = key(matching(r"/[\w./-]+"), "an absolute path", '"/stores"', "/stores")
    tls_secret: str = key(
        matching(LABEL), "a Secret of latticescape cluster certificates", '"latticescape-tls"', ""
    )
    address: str = key(
        matching(ADDRESS), "tcp://host:port | tls://host:port", '"tls://127.0.0.1:8786"', ""
    )
    wait_minutes: float = key(*number(0.1, 100_000), "10", 10.0)
    tls: Tls = key(*_CLIENT_TLS, None)

    @property
    def service(self) -> str:
        """Where its scheduler is met: by default at the operator's service, inside Kubernetes."""
        scheme = "tls" if self.tls_secret else "tcp"
        return self.address or f"{scheme}://{self.name}-scheduler.{self.namespace}.svc:8786"


Profile: TypeAlias = Local | Address | Slurm | Kubernetes

KINDS: dict[str, type[Profile]] = {kind.kind: kind for kind in (Local, Address, Slurm, Kubernetes)}


def profile_folders() -> list[Path]:
    """Where profiles are looked for by name, the first found wins.

    ``latticescape`` in the Dask configuration folders, the user's own first
    (``~/.config/dask/latticescape``), then those of the environment and the site; then what is
    shipped.
    """
    configured = dict.fromkeys([dask.config.PATH, *reversed(dask.config.paths)])
    return [*(Path(folder) / "latticescape" for folder in configured), *SHIPPED]


def profile_paths() -> dict[str, Path]:
    """The file of every profile that has a name.

    Examples
    --------
    >>> {"local", "slurm", "kubernetes"} <= set(profile_paths())
    True
    """
    found = [file for folder in profile_folders() for file in sorted(folder.glob("*.toml"))]
    return {file.stem: file for file in reversed(found)}


def find_profile(cluster: str) -> Path:
    """The file of a profile, by name or path.

    Raises
    ------
    RequestError
        If there is none of that name.
    """
    if cluster.endswith(".toml"):
        return Path(cluster).expanduser()
    named = profile_paths()
    if cluster not in named:
        raise RequestError(
            "unknown cluster",
            came=cluster,
            allowed=" | ".join(
                [*sorted(named), "PROFILE.toml", "SCHEDULER.json", "tcp://host:port", "tls://…"]
            ),
            hint="latticescape cluster list, or --cluster local",
        )
    return named[cluster]


def read_profile(file: str | Path) -> Profile:
    """The profile of a TOML file.

    Relative paths in it are below the file's own folder; ``~`` and ``$NAME`` are expanded.

    Raises
    ------
    RequestError
        If it cannot be read, or a key is unknown, missing, or holds what is not allowed; the
        message names the file.

    Examples
    --------
    >>> read_profile(find_profile("local")).threads
    1
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"cannot read the profile {path}",
            came=getattr(error, "strerror", None) or "no UTF-8 text",
            allowed="a TOML file",
            hint="latticescape cluster list",
        ) from None
    try:
        return _placed(parse_profile(text), path.absolute().parent)
    except RequestError as error:
        raise error.within(str(path)) from None


def parse_profile(text: str) -> Profile:
    """The profile of a TOML text, its paths as they are written.

    Raises
    ------
    RequestError
        As :func:`read_profile`.

    Examples
    --------
    >>> parse_profile('kind = "local"\\nthreads = 2').threads
    2
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            "the profile is not valid TOML", came=error, hint='lines such as kind = "slurm"'
        ) from None
    kind = table.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise RequestError(
            "the profile lacks the key kind" if kind is None else "the profile's kind is unknown",
            came=None if kind is None else repr(kind),
            allowed=" | ".join(KINDS),
            hint='kind = "slurm"',
        )
    keys = {part.name: part for part in fields(KINDS[kind])}
    _check_keys(kind, table, keys)
    profile = KINDS[kind](**{name: _key(keys[name]).of(name, table[name]) for name in table})
    _check_together(profile)
    return profile


def _key(part: "Field[Any]") -> Key:
    found: Key = part.metadata["key"]
    return found


def _check_keys(kind: str, table: Mapping[str, Any], keys: Mapping[str, "Field[Any]"]) -> None:
    for name in table:
        if name not in keys:
            near = get_close_matches(name, keys, 1) or [next(iter(keys))]
            raise RequestError(
                f"a profile of kind {kind} has no such key",
                came=name,
                allowed=", ".join(keys),
                hint=f"{near[0]} = {_key(keys[near[0]]).example}",
            )
    for name, part in keys.items():
        if part.default is MISSING and name not in table:
            raise RequestError(
                f"a profile of kind {kind} needs the key {name}",
                allowed=_key(part).allowed,
                hint=f"{name} = {_key(part).example}",
            )


def _check_together(profile: Profile) -> None:
    if isinstance(profile, Address):
        _check_one_address(profile)
    if isinstance(profile, Slurm) and profile.cores % profile.processes:
        raise RequestError(
            "processes do not share the cores evenly",
            came=f"processes = {profile.processes}, cores = {profile.cores}",
            allowed="a divisor of cores",
            hint="processes = 1",
        )
    if isinstance(profile, (Address, Kubernetes)):
        _check_remote_tls(profile)


def _check_one_address(profile: Address) -> None:
    if bool(profile.address) == bool(profile.scheduler_file):
        raise RequestError(
            "a profile of kind address needs one of address and scheduler_file",
            came="both" if profile.address else "none",
            allowed="one",
            hint='address = "tcp://10.0.0.7:8786"',
        )


def _check_remote_tls(profile: Address | Kubernetes) -> None:
    if profile.tls == TEMPORARY:
        raise RequestError(
            "tls cannot be used",
            came=repr(TEMPORARY),
            allowed=_PATHS,
            hint='tls = "~/tls"',
        )
    encrypted = bool(getattr(profile, "tls_secret", "")) or profile.address.startswith("tls:")
    if profile.tls and not encrypted and profile.address:
        raise RequestError(
            "certificates, but an address without encryption",
            came=profile.address,
            allowed="tls://host:port",
            hint=f'address = "{profile.address.replace("tcp:", "tls:")}"',
        )


def _placed(profile: Profile, folder: Path) -> Profile:
    """The profile with every path absolute."""

    def placed(path: Path) -> Path:
        return folder / Path(os.path.expandvars(path)).expanduser()

    paths = {
        part.name: placed(value)
        for part in fields(profile)
        if isinstance(value := getattr(profile, part.name), Path)
    }
    tls = profile.tls
    if "tls" in paths:
        tls = Certificates.in_folder(paths.pop("tls"))
    elif isinstance(tls, Certificates):
        pairs = {role: Pair(placed(p.cert), placed(p.key)) for role, p in tls.pairs.items()}
        tls = Certificates(placed(tls.authority), pairs)
    _check_words(profile, [*paths.values(), *_files(tls)])
    placed_profile: Profile = replace(profile, **{**paths, "tls": tls})  # type: ignore[arg-type]
    return placed_profile


def _files(tls: Tls) -> list[Path]:
    if not isinstance(tls, Certificates):
        return []
    return [tls.authority, *(path for pair in tls.pairs.values() for path in (pair.cert, pair.key))]


def _check_words(profile: Profile, paths: list[Path]) -> None:
    """Paths of a job become words of a script."""
    for text in map(str, paths):
        if isinstance(profile, Slurm) and not re.fullmatch(WORD, text):
            raise RequestError(
                "a job's script cannot name this path",
                came=repr(text),
                allowed="letters, digits and . , : @ % / + = - _",
                hint='folder = "~/latticescape-jobs"',
            )
