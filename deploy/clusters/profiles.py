"""Cluster profiles: TOML files, shipped or the user's own, that describe a cluster."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

import dask.config
from dask.utils import parse_bytes
from pydantic import AfterValidator, Field, PlainValidator, model_validator

from latticescape.deploy.clusters.certificates import ROLES, Certificates, Pair, Role
from latticescape.physics.errors import RequestError
from latticescape.sweeps.schema import Table, parse_toml, read_kind, read_text

HERE = Path(__file__).parents[1]
SHIPPED = (HERE / "profiles", HERE / "slurm", HERE / "kubernetes")

# Certificates that are made when a cluster starts, and removed when it ends.
TEMPORARY = "temporary"

# How many workers a task may lose (a cancelled job, a failed node) before it fails. With 0, one
# unlucky block fails; with Dask's 3, a block that kills its workers takes four jobs to detect.
ALLOWED_FAILURES = 2
# A worker that has sent nothing for this long is considered lost.
WORKER_TTL_SECONDS = 60
DEATH_SECONDS = 60

WORD = r"[\w.,:@%/+=-]+"


def _matching(pattern: str, allowed: Callable[[str], bool] = lambda value: True) -> AfterValidator:
    """Check that a whole text matches a pattern, and is allowed."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII) or not allowed(value):
            raise ValueError
        return value

    return AfterValidator(check)


def walltime_seconds(walltime: str) -> int:
    """Convert a walltime to seconds.

    Raises
    ------
    ValueError
        If it is not a walltime.

    Examples
    --------
    >>> walltime_seconds("01:30:00"), walltime_seconds("2-00:00:00")
    (5400, 172800)
    """
    parts = re.fullmatch(r"(?:([0-9]+)-)?([0-9]{1,2}):([0-5][0-9]):([0-5][0-9])", walltime)
    if parts is None:
        raise ValueError(walltime)
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or set("\n\0") & set(str(value)):
        raise ValueError
    return Path(value)


def _tls(value: object) -> Certificates | Path | str | None:
    if value is None or isinstance(value, Certificates) or value == TEMPORARY:
        return value
    if not isinstance(value, Mapping):
        return _path(value)
    if set(value) != {"ca_file", "cert", "key"}:
        raise ValueError
    pair = Pair(_path(value["cert"]), _path(value["key"]))
    return Certificates(_path(value["ca_file"]), dict.fromkeys(ROLES, pair))


Tls: TypeAlias = Certificates | Path | str | None
_FILES = "a folder of latticescape cluster certificates, or a table of ca_file, cert and key"
TlsFiles: TypeAlias = Annotated[
    Tls, PlainValidator(_tls), Field(description=_FILES, examples=["~/tls"])
]
AnyTls: TypeAlias = Annotated[
    Tls,
    PlainValidator(_tls),
    Field(description=f'"{TEMPORARY}", {_FILES}', examples=[TEMPORARY]),
]
PathField: TypeAlias = Annotated[Path, PlainValidator(_path)]
Word: TypeAlias = Annotated[str, _matching(WORD)]
# Written into job scripts without quotes, so that the node's shell can replace variables.
ShellPath: TypeAlias = Annotated[str, _matching(r"([\w./~+@%=:,-]|\$\w+|\$\{\w+\})+")]
Url: TypeAlias = Annotated[
    str,
    _matching(r"(tcp|tls)://[^\s/]+:[0-9]+"),
    Field(description="tcp://host:port | tls://host:port", examples=["tcp://10.0.0.7:8786"]),
]
# A function in a module.
FACTORY = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
Label: TypeAlias = Annotated[str, _matching(r"[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?")]
Memory: TypeAlias = Annotated[
    str,
    _matching(r"[0-9.]+ ?[kMGT]i?B", lambda value: bool(parse_bytes(value) >= 100e6)),
    Field(description="a number with its unit, 100 MB or more", examples=["4 GB"]),
]
Walltime: TypeAlias = Annotated[
    str,
    _matching(".*", lambda value: walltime_seconds(value) >= 60),
    Field(description="HH:MM:SS or D-HH:MM:SS, a minute or more", examples=["04:00:00"]),
]


class Local(Table):
    """Worker processes on this machine that end with the client."""

    kind: ClassVar[str] = "local"
    roles: ClassVar[tuple[Role, ...]] = ROLES

    workers: int | None = Field(default=None, ge=1, le=100_000, examples=[2])
    threads: int = Field(default=1, ge=1, le=1024, examples=[1])
    tls: AnyTls = None


class Inline(Table):
    """This process, without any scheduler."""

    kind: ClassVar[str] = "inline"
    roles: ClassVar[tuple[Role, ...]] = ()

    threads: int = Field(default=1, ge=1, le=1024, examples=[1])


class Address(Table):
    """A running scheduler, which keeps running."""

    kind: ClassVar[str] = "address"
    roles: ClassVar[tuple[Role, ...]] = ("client",)

    address: Url = ""
    scheduler_file: PathField | None = Field(
        default=None,
        description="the file of dask scheduler --scheduler-file",
        examples=["~/scheduler.json"],
    )
    timeout_seconds: float | None = Field(default=None, ge=0.1, le=3600, examples=[10])
    wait_minutes: float | None = Field(default=None, ge=0.1, le=100_000, examples=[10])
    tls: TlsFiles = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.address) == bool(self.scheduler_file):
            raise RequestError(
                "pass either address or scheduler_file",
                came="both" if self.address else "none",
                allowed="one",
                hint='address = "tcp://10.0.0.7:8786"',
            )
        _check_remote_tls(self, encrypted=self.address.startswith("tls:"))
        return self


class Jobs(Table):
    """Jobs of a queue system, each a worker; the scheduler runs in this process."""

    kind: ClassVar[str]
    roles: ClassVar[tuple[Role, ...]] = ROLES

    jobs: int = Field(default=1, ge=1, le=10_000, examples=[8])
    minimum_jobs: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="a whole number from 1 to jobs: as many while there is less to compute",
        examples=[1],
    )
    cores: int = Field(default=1, ge=1, le=1024, examples=[4])
    processes: int = Field(default=1, ge=1, le=1024, examples=[1])
    memory: Memory = "2 GB"
    walltime: Walltime = "01:00:00"
    account: Word = Field(
        default="", description="an account or project of yours", examples=["physics"]
    )
    interface: Word = Field(
        default="",
        description="a network interface of the nodes, as ip link lists them",
        examples=["ib0"],
    )
    scheduler_interface: Word = Field(
        default="",
        description="a network interface of the machine that you start from",
        examples=["eth0"],
    )
    python: ShellPath = Field(
        default="",
        description="a path without blanks of a Python that the nodes can run too",
        examples=["/home/me/.venv/bin/python"],
    )
    prologue: tuple[Annotated[str, _matching(r"[^\n\0]+")], ...] = Field(
        default=(),
        strict=False,
        description="a list of shell lines",
        examples=[["module load python/3.11"]],
    )
    directives: tuple[Annotated[str, _matching(r"-[^\n\0]+")], ...] = Field(
        default=(),
        strict=False,
        description="a list of options of the command that submits jobs",
        examples=[["-M me@example.org"]],
    )
    folder: PathField = Field(
        default=Path("~/latticescape-jobs"),
        description="a folder that all nodes see",
        examples=["~/latticescape-jobs"],
    )
    local_folder: ShellPath = Field(
        default="",
        description="a path without blanks on the node's own disk, $NAME for a variable",
        examples=["/tmp/$USER"],
    )
    dashboard: Annotated[str, _matching(r"[\w.-]*:[0-9]+")] = Field(
        default="127.0.0.1:0",
        description="host:port; the dashboard has no password",
        examples=["127.0.0.1:0"],
    )
    wait_minutes: float = Field(default=1440.0, ge=0.1, le=100_000, examples=[60])
    check_seconds: float = Field(default=10.0, ge=1, le=3600, examples=[10])
    tls: AnyTls = None

    @model_validator(mode="after")
    def _check_jobs(self) -> Self:
        if self.cores % self.processes:
            raise RequestError(
                "processes must divide cores",
                came=f"processes = {self.processes}, cores = {self.cores}",
                hint="processes = 1",
            )
        if self.minimum_jobs is not None and self.minimum_jobs > self.jobs:
            raise RequestError(
                "minimum_jobs is more than jobs",
                came=f"minimum_jobs = {self.minimum_jobs}, jobs = {self.jobs}",
                allowed="a whole number from 1 to jobs",
                hint=f"jobs = {self.minimum_jobs}",
            )
        return self


class Slurm(Jobs):
    """Jobs of SLURM; the scheduler runs in this process or in the allocation."""

    kind: ClassVar[str] = "slurm"

    partition: Word = Field(
        default="", description="a partition that sinfo lists", examples=["main"]
    )
    scheduler: Literal["outside", "inside"] = Field(default="outside", examples=["outside"])
    directives: tuple[Annotated[str, _matching(r"-[^\n\0]+")], ...] = Field(
        default=(),
        strict=False,
        description="a list of options of sbatch",
        examples=[["--exclusive"]],
    )
    local_folder: ShellPath = Field(
        default="",
        description="a path without blanks on the node's own disk, $NAME for a variable",
        examples=["/tmp/$SLURM_JOB_ID"],
    )
    idle_minutes: float = Field(default=30.0, ge=1, le=100_000, examples=[30])

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scheduler == "inside" and self.minimum_jobs is not None:
            raise RequestError(
                "the number of workers in an allocation is fixed",
                came=f"minimum_jobs = {self.minimum_jobs}",
                allowed='minimum_jobs with scheduler = "outside"',
                hint=f"jobs = {self.jobs}, without minimum_jobs",
            )
        return self


class Queued(Jobs):
    """Jobs of a queue system with queues."""

    queue: Word = Field(
        default="", description="a queue that your site's documentation lists", examples=["batch"]
    )


class Lsf(Queued):
    """Jobs of LSF."""

    kind: ClassVar[str] = "lsf"


class Pbs(Queued):
    """Jobs of PBS Pro, OpenPBS or Torque."""

    kind: ClassVar[str] = "pbs"

    resources: Word = Field(
        default="",
        description="what follows -l, in place of select=1:ncpus=CORES:mem=MEMORY",
        examples=["nodes=1:ppn=4"],
    )


class Moab(Pbs):
    """Jobs of Moab."""

    kind: ClassVar[str] = "moab"


class Sge(Queued):
    """Jobs of Sun, Son of or Univa Grid Engine."""

    kind: ClassVar[str] = "sge"

    parallel_environment: Word = Field(
        default="",
        description="one that qconf -spl lists and that keeps a job on one node",
        examples=["smp"],
    )
    resources: Word = Field(
        default="",
        description="what follows -l; Grid Engine reserves no memory without it",
        examples=["h_vmem=4G"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cores > 1 and not self.parallel_environment:
            raise RequestError(
                "several cores need a parallel environment",
                came=f"cores = {self.cores}",
                allowed="one that qconf -spl lists and that keeps a job on one node",
                hint='parallel_environment = "smp"',
            )
        return self


class Oar(Queued):
    """Jobs of OAR."""

    kind: ClassVar[str] = "oar"

    resources: Word = Field(
        default="",
        description="what follows -l, in place of /nodes=1/core=CORES",
        examples=["/nodes=1/core=4"],
    )
    memory_property: Word = Field(
        default="",
        description="the property for the memory of a core in MiB; OAR reserves none without it",
        examples=["memcore"],
    )


class HTCondor(Jobs):
    """Jobs of HTCondor."""

    kind: ClassVar[str] = "htcondor"

    disk: Memory = "1 GB"
    directives: tuple[Annotated[str, _matching(r"[+\w.]+ *= *[^\s][^\n\0]*")], ...] = Field(
        default=(),
        strict=False,
        description="a list of lines NAME = VALUE for condor_submit",
        examples=[["+MaxRuntime = 3600"]],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for line in (*self.prologue, self.python, self.local_folder):
            if "$(" in line or '"' in line:
                raise RequestError(
                    "HTCondor would replace a part of this line itself",
                    came=repr(line),
                    allowed='shell lines without $(…) and without "',
                    hint="`command` in place of $(command), ' in place of \"",
                )
        return self


class Factory(Table):
    """A cluster that a function of yours makes, which ends with the client."""

    kind: ClassVar[str] = "factory"
    roles: ClassVar[tuple[Role, ...]] = ()

    cluster: Annotated[str, _matching(FACTORY)] = Field(
        description="MODULE:FUNCTION, which returns a dask.distributed Cluster or Client",
        examples=["lab_cluster:make"],
    )
    options: dict[str, str | int | float | bool] = Field(
        default={},
        description="a table of the function's arguments: texts, numbers, true or false",
        examples=[{}],
    )
    workers: int | None = Field(default=None, ge=1, le=100_000, examples=[8])
    minimum_workers: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="a whole number from 0 to workers: as many while there is less to compute",
        examples=[1],
    )
    wait_minutes: float = Field(default=60.0, ge=0.1, le=100_000, examples=[10])

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.minimum_workers is not None and self.minimum_workers > (self.workers or 0):
            raise RequestError(
                "minimum_workers needs as many workers or more",
                came=f"minimum_workers = {self.minimum_workers}, workers = {self.workers}",
                allowed="a whole number from 0 to workers",
                hint=f"workers = {max(1, self.minimum_workers)}",
            )
        return self


class Kubernetes(Table):
    """A DaskCluster of the Dask operator, reached at its scheduler's service."""

    kind: ClassVar[str] = "kubernetes"
    roles: ClassVar[tuple[Role, ...]] = ("client",)

    image: Word = Field(
        description="an image with latticescape", examples=["registry/latticescape:0.1"]
    )
    name: Label = Field(
        default="latticescape",
        description="up to 53 of a to z, 0 to 9 and -",
        examples=["latticescape"],
    )
    namespace: Label = Field(default="default", description="a namespace", examples=["default"])
    workers: int = Field(default=1, ge=1, le=10_000, examples=[8])
    cores: int = Field(default=1, ge=1, le=1024, examples=[4])
    memory: Memory = "2 GB"
    volume_claim: Label = Field(
        default="",
        description="a PersistentVolumeClaim that many pods can write",
        examples=["stores"],
    )
    mount: Annotated[str, _matching(r"/[\w./-]+")] = Field(
        default="/stores", description="an absolute path", examples=["/stores"]
    )
    tls_secret: Label = Field(
        default="",
        description="a Secret of latticescape cluster certificates",
        examples=["latticescape-tls"],
    )
    address: Url = ""
    wait_minutes: float = Field(default=10.0, ge=0.1, le=100_000, examples=[10])
    tls: TlsFiles = None

    @property
    def service(self) -> str:
        """The address of its scheduler: by default the operator's service in Kubernetes."""
        scheme = "tls" if self.tls_secret else "tcp"
        return self.address or f"{scheme}://{self.name}-scheduler.{self.namespace}.svc:8786"

    @model_validator(mode="after")
    def _check(self) -> Self:
        encrypted = bool(self.tls_secret) or self.address.startswith("tls:")
        _check_remote_tls(self, encrypted)
        return self


Queue: TypeAlias = Slurm | Pbs | Lsf | Sge | Oar | HTCondor | Moab
Profile: TypeAlias = Inline | Local | Address | Factory | Queue | Kubernetes

KINDS: dict[str, type[Profile]] = {
    kind.kind: kind
    for kind in (
        *(Inline, Local, Address, Slurm, Pbs, Lsf, Sge, Oar, HTCondor, Moab),
        *(Factory, Kubernetes),
    )
}


def _check_remote_tls(profile: Address | Kubernetes, encrypted: bool) -> None:
    if profile.tls == TEMPORARY:
        raise RequestError(
            "tls cannot be used", came=repr(TEMPORARY), allowed=_FILES, hint='tls = "~/tls"'
        )
    if profile.tls and profile.address and not encrypted:
        raise RequestError(
            "certificates need an encrypted address",
            came=profile.address,
            hint=f'address = "{profile.address.replace("tcp:", "tls:")}"',
        )


def profile_folders() -> list[Path]:
    """The folders that are searched for profiles, in order of precedence.

    ``latticescape`` in the Dask configuration folders, the user's own first
    (``~/.config/dask/latticescape``), then those of the environment and the site; then the shipped
    profiles.
    """
    configured = dict.fromkeys([dask.config.PATH, *reversed(dask.config.paths)])
    return [*(Path(folder) / "latticescape" for folder in configured), *SHIPPED]


def profile_paths() -> dict[str, Path]:
    """The files of all named profiles.

    Examples
    --------
    >>> {"local", "slurm", "kubernetes"} <= set(profile_paths())
    True
    """
    files = [file for folder in profile_folders() for file in sorted(folder.glob("*.toml"))]
    return {file.stem: file for file in reversed(files)}


def find_profile(cluster: str) -> Path:
    """The file of a profile, by name or path.

    Raises
    ------
    RequestError
        If there is no profile of that name.
    """
    if cluster.endswith(".toml"):
        return Path(cluster).expanduser()
    named = profile_paths()
    if cluster not in named:
        known = [*sorted(named), "PROFILE.toml", "SCHEDULER.json", "tcp://host:port", "tls://…"]
        known.append("MODULE:FUNCTION")
        hint = "latticescape cluster list, or --cluster local"
        raise RequestError("unknown cluster", came=cluster, allowed=" | ".join(known), hint=hint)
    return named[cluster]


def read_profile(file: str | Path) -> Profile:
    """Read the profile in a TOML file.

    Relative paths in it are relative to the file's folder; ``~`` and ``$NAME`` are expanded.

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
    text = read_text(path, "the profile", "latticescape cluster list")
    try:
        return _with_absolute_paths(parse_profile(text), path.absolute().parent)
    except RequestError as error:
        raise error.within(str(path)) from None


def parse_profile(text: str) -> Profile:
    """Parse a profile, leaving its paths as they are written.

    Raises
    ------
    RequestError
        As :func:`read_profile`.

    Examples
    --------
    >>> parse_profile('kind = "local"\\nthreads = 2').threads
    2
    """
    table = parse_toml(text, "the profile", 'kind = "slurm"')
    profile: Profile = read_kind(KINDS, table, "the profile")
    return profile


def _with_absolute_paths(profile: Profile, folder: Path) -> Profile:
    def absolute(path: Path) -> Path:
        return folder / Path(os.path.expandvars(path)).expanduser()

    paths = {
        name: absolute(value)
        for name, value in profile
        if isinstance(value, Path) and name != "tls"
    }
    if isinstance(profile, Inline | Factory):
        return profile
    tls, files = profile.tls, list(paths.values())
    if isinstance(tls, Path):
        tls = Certificates.in_folder(absolute(tls))
    elif isinstance(tls, Certificates):
        pairs = {role: Pair(absolute(p.cert), absolute(p.key)) for role, p in tls.pairs.items()}
        tls = Certificates(absolute(tls.authority), pairs)
    if isinstance(tls, Certificates):
        files += [tls.authority, *(p for pair in tls.pairs.values() for p in (pair.cert, pair.key))]
    for text in map(str, files):
        # Paths of a job become words of a shell script.
        if isinstance(profile, Jobs) and not re.fullmatch(WORD, text):
            raise RequestError(
                "a job script cannot name this path",
                came=repr(text),
                allowed="letters, digits and . , : @ % / + = - _",
                hint='folder = "~/latticescape-jobs"',
            )
    return profile.model_copy(update={**paths, "tls": tls})
