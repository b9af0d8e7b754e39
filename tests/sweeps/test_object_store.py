"""Stores in buckets: the same bits, layout and promises as in folders, and what goes wrong."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dask
import numpy as np
import obstore
import pytest
import xarray as xr
from distributed import Client
from zarr.storage import ObjectStore

from latticescape.deploy.cli.store import watch_store
from latticescape.physics import RequestError
from latticescape.sweeps import Sweep, cancel, consolidate, open_sweep, run, status, submit, verify
from latticescape.sweeps.execution.dask_session import DaskSession
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.tasks import compute_block
from latticescape.sweeps.execution.workers import embedded
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.location import DRAFT, ROOT
from latticescape.sweeps.store.object_store import Objects, UnreachableError
from latticescape.sweeps.store.status import read_lease
from latticescape.sweeps.store.store import Store, create
from tests.support.command_line import json_of, latticescape
from tests.support.faulty import preceded
from tests.support.object_storage import (
    BUCKET,
    SECRET,
    MissingError,
    ask,
    free_port,
    object_storage,
    variables,
)
from tests.support.processes import eventually
from tests.support.runs import SPEC, assert_same_bits, in_process, ising_sweep

QUICKLY = 20.0


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A storage, and an environment of this process in which it is found."""
    try:
        with object_storage() as endpoint, pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            for name, value in variables(endpoint).items():
                patch.setenv(name, value)
            yield endpoint
    except MissingError as error:
        pytest.skip(f"moto's S3 server cannot be installed: {error}")


@pytest.fixture
def url(endpoint: str, request: pytest.FixtureRequest) -> str:
    """Where nothing is yet."""
    return f"s3://{BUCKET}/{request.node.name.partition('[')[0]}/s-{time.time_ns()}.zarr"


@pytest.fixture(scope="module")
def client(endpoint: str) -> Iterator[Client]:
    with in_process(threads=2) as client:
        yield client


@pytest.fixture(scope="module")
def local(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the same sweep in a folder."""
    path = tmp_path_factory.mktemp("objects") / "s.zarr"
    execute(ising_sweep(), path, client, block_points=2, progress=False)
    return path


@pytest.fixture(scope="module")
def filled(client: Client) -> str:
    """The store of the same sweep in the bucket, which nobody changes."""
    url = f"s3://{BUCKET}/filled/s.zarr"
    execute(ising_sweep(), url, client, block_points=2, progress=False)
    return url


def begun(url: str, block_points: int = 1) -> Store:
    sweep = ising_sweep()
    return create(url, sweep, plan(sweep, block_points=block_points))


def keys(url: str) -> set[str]:
    return {entry["path"] for batch in obstore.list(Objects(url).patient) for entry in batch}


def test_a_store_in_a_bucket_has_the_bits_and_the_files_of_one_in_a_folder(
    client: Client, local: Path, url: str
) -> None:
    ds = run(ising_sweep(), url, client, block_points=2, progress=False)
    assert_same_bits(local, url)
    assert keys(url) == {str(p.relative_to(local)) for p in local.rglob("*") if p.is_file()}
    assert dask.is_dask_collection(ds.energy.data)
    content = b"".join(Objects(url).read(key) or b"" for key in keys(url))
    assert SECRET.encode() not in content


def test_plain_xarray_reads_a_bucket_lazily(local: Path, filled: str) -> None:
    # What a user would type, with nothing of this project.
    plain = xr.open_zarr(ObjectStore(obstore.store.from_url(filled), read_only=True))
    assert dask.is_dask_collection(plain.energy.data)
    expected = xr.open_zarr(local).energy.isel(T=1)
    assert plain.energy.isel(T=1).values.tobytes() == expected.values.tobytes()


def test_a_store_in_a_bucket_is_packed_and_verified(
    local: Path, filled: str, tmp_path: Path
) -> None:
    found = json_of("consolidate", filled, tmp_path / "packed.zarr")
    assert (found["done"], found["points"]) == (9, 9)
    assert (
        json_of("verify", tmp_path / "packed.zarr")["damaged"]
        == json_of("verify", filled)["damaged"]
        == 0
    )
    assert_same_bits(local, tmp_path / "packed.zarr")
    with pytest.raises(RequestError, match="consolidated into a folder"):
        consolidate(filled, f"{filled}-packed")


def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    client: Client, local: Path, url: str, tmp_path: Path
) -> None:
    sweep = ising_sweep(points=4)
    (tmp_path / "spec.toml").write_text(sweep.to_toml())
    command = [sys.executable, "-m", "latticescape", "run", str(tmp_path / "spec.toml")]
    command += ["--store", url, "--workers", "1", "--block-points", "1", "--quiet"]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: Objects(url).read(ROOT) is not None and status(url).done >= 2)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    done = status(url).done
    assert 2 <= done < sweep.points
    report = execute(sweep, url, client, progress=False)
    assert (report.computed, report.complete) == (sweep.points - done, True)
    assert "took over from" in report.note
    execute(sweep, tmp_path / "calm.zarr", client, progress=False)
    assert_same_bits(tmp_path / "calm.zarr", url, attempts=False)
    assert Store(url).records.names() == []


def test_of_many_who_create_the_same_object_one_does(url: str) -> None:
    objects, begin = Objects(url), threading.Barrier(12)

    def race(number: int) -> bool:
        begin.wait()
        return objects.create("lease.json", str(number).encode())

    with ThreadPoolExecutor(12) as threads:
        won = list(threads.map(race, range(12)))
    assert sum(won) == 1
    assert objects.read("lease.json") == str(won.index(True)).encode()


def test_a_storage_that_lets_two_writers_create_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = obstore.put
    monkeypatch.setattr(obstore, "put", lambda *given, mode, **options: put(*given, **options))
    sweep = ising_sweep()
    with pytest.raises(RequestError, match="two writers create the same object") as refused:
        execute(sweep, url, progress=False)
    assert refused.value.came == "If-None-Match is ignored"
    assert keys(url) == set()


@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # threads share what is ignored
def test_those_who_create_a_store_at_the_same_time_go_on_with_one(url: str) -> None:
    begin = threading.Barrier(4)

    def race(given: tuple[str, int]) -> Store:
        begin.wait()
        return begun(*given)

    for place in (f"{url}/{attempt}" for attempt in range(3)):
        with ThreadPoolExecutor(4) as threads:
            stores = list(threads.map(race, [(place, points) for points in (1, 2, 3, 9)]))
        assert len({store.identity for store in stores}) == 1
        shape = tuple(stores[0].group.attrs["block_shape"])
        arrays = [Store(place)._array(name) for name in ("energy", "histogram_replica", "done")]
        assert {array.chunks[:2] for array in arrays} == {shape}
        assert DRAFT not in keys(place)


@pytest.fixture
def half_made(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a process leaves that was killed while it copied its draft."""
    write = Objects.write

    def write_one_and_stop(objects: Objects, name: str, content: bytes) -> None:
        if name != "energy/zarr.json":
            raise KeyboardInterrupt
        write(objects, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "write", write_one_and_stop)
        with pytest.raises(KeyboardInterrupt):
            begun(url, block_points=2)
    return url


def test_a_half_made_store_is_none_and_the_next_run_makes_it_whole(
    client: Client, local: Path, half_made: str
) -> None:
    assert keys(half_made) == {DRAFT, "energy/zarr.json"}
    with pytest.raises(RequestError, match="there is no store at s3://"):
        status(half_made)
    with pytest.raises(FileNotFoundError):
        xr.open_zarr(ObjectStore(obstore.store.from_url(half_made), read_only=True))
    execute(ising_sweep(), half_made, client, block_points=9, progress=False)
    assert len(Store(half_made).blocks) == 6  # as the draft has it
    assert_same_bits(local, half_made)
    assert DRAFT not in keys(half_made)


def test_a_half_made_store_of_another_spec_is_refused(client: Client, half_made: str) -> None:
    with pytest.raises(RequestError, match=r"another spec: schedule\.stride_mcs differs"):
        execute(ising_sweep(mcs=3), half_made, client, progress=False)


def test_another_spec_is_refused_and_the_field_named(url: str) -> None:
    begun(url)
    with pytest.raises(RequestError, match=r"another spec: schedule\.stride_mcs differs"):
        execute(ising_sweep(mcs=3), url, progress=False)


def test_what_is_no_store_is_left_alone(url: str) -> None:
    Objects(url).write("somebody/elses", b"work")
    for ask_it in (status, open_sweep, lambda place: execute(ising_sweep(), place)):
        with pytest.raises(RequestError, match="is not a store of a sweep"):
            ask_it(url)
    assert keys(url) == {"somebody/elses"}


def test_a_store_is_of_one_scheduler_and_is_watched_and_cancelled_from_anywhere(
    client: Client, local: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    preceded(monkeypatch, lambda points: [gate.wait(60)])
    try:
        job = submit(ising_sweep(), url, client, block_points=2)
        lease = read_lease(Store(url).records)
        assert lease is not None
        assert lease.id == job
        eventually(lambda: status(url).blocks_running == 2)
        assert status(url).active
        with (
            in_process(threads=2) as other,
            pytest.raises(RequestError, match="another scheduler works on"),
        ):
            DaskSession(other).acquire(Store(url))
        assert cancel(url) == lease
        assert not status(url).active
    finally:
        gate.set()
    eventually(lambda: not any(client.processing().values()))
    with pytest.raises(RequestError, match="nobody works on the store s3://"):
        cancel(url)
    submit(ising_sweep(), url, client)
    assert watch_store(url, every=0.2).complete
    assert_same_bits(local, url, attempts=False)


def test_a_store_that_was_replaced_is_not_written_to(url: str) -> None:
    store = begun(url)
    with pytest.raises(RequestError, match="was replaced during the run"):
        compute_block(store.location.address, "another", 0)


def test_damage_is_named_and_repaired_to_the_same_bits(
    client: Client, local: Path, url: str
) -> None:
    execute(ising_sweep(), url, client, block_points=2, progress=False)
    store = Store(url)
    key = str(store.chunk("energy", store.blocks[2])).removeprefix(f"{url}/")
    assert key in keys(url)
    Objects(url).write(key, np.random.default_rng(1).bytes(64))
    found = verify(url)
    assert [(damage.block, damage.chunks) for damage in found.damages] == [(2, ("energy",))]
    assert verify(url, repair=True).damages == found.damages
    assert verify(url).damages == ()
    assert execute(ising_sweep(), url, client, progress=False).computed == 2
    assert_same_bits(local, url, attempts=False)


@contextmanager
def silent_endpoint() -> Iterator[str]:
    """One that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def refused(url: str) -> RequestError:
    """What is told of a URL, by all who are asked; within seconds."""
    begin = time.monotonic()
    with pytest.raises(RequestError) as reported:
        execute(ising_sweep(), url, "tcp://127.0.0.1:1", progress=False)
    assert time.monotonic() - begin < QUICKLY
    assert reported.value.allowed
    assert reported.value.hint
    assert SECRET not in str(reported.value)
    with pytest.raises(RequestError) as also:
        status(url)
    assert str(also.value) == str(reported.value)
    shown = latticescape("status", url)
    assert shown.exit_code == 2
    assert shown.output.startswith("Error: ")
    return reported.value


def test_a_bucket_that_is_not_there_is_named(endpoint: str) -> None:
    assert str(refused("s3://nobodys/s.zarr")).startswith("there is no bucket s3://nobodys (came")


def test_an_endpoint_that_is_not_there_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    error = refused(url)
    assert error.problem == f"no object storage answers for {url}"
    assert error.came == f"Connection refused at {address}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000")
    assert refused(url).problem == "AWS_ENDPOINT_URL is not a URL"


def test_an_endpoint_that_never_answers_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_endpoint() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        begin = time.monotonic()
        with pytest.raises(UnreachableError, match="no object storage answers") as reported:
            status(url)
        assert time.monotonic() - begin < QUICKLY
        assert reported.value.came == f"no answer in time at {address}"


def test_an_endpoint_without_encryption_must_be_allowed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    assert "http:// is used without AWS_ALLOW_HTTP=true" in str(refused(url))


def test_credentials_that_are_missing_are_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert refused(url).problem == f"no credentials for {url}"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    # A machine of Amazon's would be asked for its own.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    error = refused(url)
    assert error.problem == f"no credentials for {url}"
    assert "AWS_ACCESS_KEY_ID" in str(error.allowed)


def test_credentials_that_are_not_accepted_are_told(endpoint: str, url: str) -> None:
    ask(f"{endpoint}/moto-api/reset-auth", "POST", b"0")
    try:
        error = refused(url)
    finally:
        ask(f"{endpoint}/moto-api/reset-auth", "POST", b"inf")
    assert error.problem == f"access denied to {url}"
    assert error.came == "InvalidAccessKeyId, 403 Forbidden"


@pytest.mark.parametrize(
    "place",
    [
        "memory://s.zarr",
        "file:///tmp/s.zarr",
        "https://host/s.zarr",
        "s3://",
        "s3:///s.zarr",
        "s3://bucket/../s.zarr",
        "s3://bucket//s.zarr",
        "s3://user:password@bucket/s.zarr",
        "s3://bucket/s.zarr?versionId=1",
        Path("s3://bucket/s.zarr"),
    ],
    ids=str,
)
def test_what_is_no_url_of_a_storage_is_refused(place: str | Path, tmp_path: Path) -> None:
    for ask_it in (status, verify, cancel, open_sweep, lambda p: run(ising_sweep(), p)):
        with pytest.raises(RequestError, match="a store cannot be kept there") as reported:
            ask_it(place)
        assert "s3://" in str(reported.value.hint)
    assert latticescape("status", place).exit_code == 2


def test_a_worker_that_cannot_reach_the_bucket_is_named_before_anything_is_made(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        context = embedded(workers=1)
        client = context.__enter__()
    try:
        with pytest.raises(RequestError, match=r"the worker tcp://.*: no object storage answers"):
            execute(ising_sweep(), url, client, progress=False)
        with pytest.raises(RequestError, match=r"the worker tcp://.*: no object storage answers"):
            submit(ising_sweep(), url, client)
    finally:
        context.__exit__(None, None, None)
    assert keys(url) == set()


def test_what_cannot_be_fetched_is_not_taken_for_damage(
    local: Path, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be overwritten."""
    store = Store(filled)
    block = store.blocks[0]
    energy = store.read("energy", block)
    with monkeypatch.context() as away:
        away.setattr(obstore, "get_async", unanswered)
        calls: tuple[Callable[[], object], ...] = (
            store.done,
            lambda: store.states_of(block),
            lambda: store.read("energy", block),
            lambda: store.reset(block, np.array([0]), results=True),
            lambda: verify(filled, repair=True),
        )
        for call in calls:
            with pytest.raises(UnreachableError, match="no object storage answers for s3://"):
                call()
    assert store.read("energy", block).tobytes() == energy.tobytes()
    assert_same_bits(local, filled)


async def unanswered(*_: object, **__: object) -> None:
    raise obstore.exceptions.GenericError("HTTP error: error sending request")


def test_the_command_line_takes_a_url(url: str, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    sweep = Sweep.from_toml(SPEC)
    report = json_of("run", tmp_path / "spec.toml", "--store", f"{url}/", "--workers", 1, "--quiet")
    assert (report["store"], report["computed"]) == (f"{url}/", sweep.points)
    assert json_of("status", url)["done"] == sweep.points
    assert json_of("verify", url)["damaged"] == 0
    assert json_of("retry-failed", url, "--quiet")["computed"] == 0
    assert latticescape("watch", url).exit_code == 0
    picture = tmp_path / "m.png"
    assert latticescape("map", url, "energy", "--out", picture).exit_code == 0
    assert picture.stat().st_size > 1000
    assert not Path("s3:").exists()
