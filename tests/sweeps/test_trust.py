"""Stores of strangers: nothing of them runs, nothing is believed that the spec contradicts."""

import json
import os
import pickle
import resource
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from distributed import Client
from distributed.comm.core import listen
from distributed.protocol.serialize import Serialize
from google_crc32c import value as crc32c

from latticescape.analysis.counts.tables import stored_counts
from latticescape.deploy.cli.main import main
from latticescape.deploy.derived import write_new
from latticescape.physics.errors import DamageError, RequestError
from latticescape.physics.store_contents import MAX_CHUNK_BYTES, check_store
from latticescape.sweeps import Sweep, consolidate, open_sweep, run, status, verify
from latticescape.sweeps.execution.dask_session import DaskSession
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.store.atomic_write import atomic_write
from latticescape.sweeps.store.status import NAME, LeaseCheck, read_lease
from latticescape.sweeps.store.store import Store
from tests.support.runs import SPEC

SWEEP = Sweep.from_toml(SPEC)


@pytest.fixture
def store(calm: Path, tmp_path: Path) -> Path:
    """A finished store, to be changed."""
    return Path(shutil.copytree(calm, tmp_path / "s.zarr"))


class Evil:
    """Its pickle makes a folder when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


@contextmanager
def attacker(mark: Path) -> Iterator[str]:
    """The address of a listener that speaks Dask's protocol and answers with a pickle."""

    async def answer(comm: Any) -> None:
        await comm.write({"op": "stream-start", "evil": Serialize(Evil(mark))})

    async def start() -> None:
        listener = listen("tcp://127.0.0.1:0", answer)
        await listener.start()
        addresses.append(listener.contact_address)
        started.set()
        while not stopped.is_set():
            await asyncio.sleep(0.05)
        listener.stop()

    import asyncio

    addresses, started, stopped = list[str](), threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(start()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield addresses[0]
    finally:
        stopped.set()
        thread.join()


def leased_to(store: Path, address: str, client: Client, **changes: Any) -> None:
    """Let an unfinished store have a lease that names another scheduler."""
    opened = Store(store)
    opened.reset(opened.blocks[0], np.array([0]))
    lease, _ = DaskSession(client).acquire(opened)
    other = replace(lease, scheduler="another", address=address, **changes)
    opened.records.write(NAME, asdict(other))


def test_the_attack_by_a_lease_works_on_a_dask_client(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with attacker(mark) as address, pytest.raises((OSError, TypeError, KeyError, RuntimeError)):
        Client(address, timeout=5, set_as_default=False)
    assert mark.exists()


@pytest.mark.parametrize("port", ["same", "own"])
def test_a_lease_cannot_run_code(store: Path, tmp_path: Path, client: Client, port: str) -> None:
    mark = tmp_path / "mark"
    with attacker(mark) as address:
        asked = int(address.rpartition(":")[2]) if port == "same" else 1
        leased_to(store, address, client, port=asked)
        with pytest.raises(RequestError, match="another scheduler works on"):
            execute(SWEEP, store, client, progress=False)
        for record in (store / "done" / "notes").glob("*.json"):
            os.utime(record, (0, 0))
        assert execute(SWEEP, store, client, progress=False).complete
    assert not mark.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "tcp://a b"},
        {"address": "tcp://host:1\x1b[2J"},
        {"user": "u\n\x1b]0;x\x07"},
        {"port": 70000},
        {"port": "1"},
        {"pid": None},
        {"id": ["x"]},
    ],
)
def test_a_lease_that_is_none_counts_as_none(
    store: Path, client: Client, changes: dict[str, Any]
) -> None:
    leased_to(store, "tcp://127.0.0.1:1", client)
    records = Store(store).records
    record = records.read(NAME)
    assert record is not None
    assert read_lease(records) is not None
    records.write(NAME, {**record, **changes})
    assert read_lease(records) is None
    assert status(store).owner == ""


def silent_listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_a_port_that_belongs_to_another_program_does_not_hang(store: Path, client: Client) -> None:
    with silent_listener() as listener:
        port = listener.getsockname()[1]
        leased_to(store, f"tcp://127.0.0.1:{port}", client, port=port)
        with pytest.raises(RequestError, match="another scheduler works on"):
            DaskSession(client).acquire(Store(store))


# -- contents ------------------------------------------------------------------------------------


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


def as_format_2(store: Path, name: str, mark: Path) -> None:
    """Replace an array by one of zarr format 2 whose chunk is a pickle."""
    shape = zarr.open_array(store, path=name, mode="r").shape
    shutil.rmtree(store / name)
    (store / name).mkdir()
    described = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": shape,
        "dtype": "<i8",
        "compressor": {"id": "pickle", "protocol": 5},
        "filters": None,
        "fill_value": 0,
        "order": "C",
    }
    (store / name / ".zarray").write_text(json.dumps(described))
    chunk = store / name / ".".join("0" * len(shape))
    chunk.write_bytes(pickle.dumps(Evil(mark)))


def whole_format_2(store: Path, name: str, mark: Path) -> None:
    attributes = dict(zarr.open_group(store, mode="r").attrs)
    as_format_2(store, name, mark)
    (store / "zarr.json").unlink()
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    (store / ".zattrs").write_text(json.dumps(attributes))


def with_codec(store: Path, name: str, mark: Path) -> None:
    codec = {"name": "numcodecs.pickle", "configuration": {}}
    changed(store / name / "zarr.json", lambda m: m.update(codecs=[codec]))


def with_codec_in_the_copy(store: Path, name: str, mark: Path) -> None:
    codec = {"name": "numcodecs.pickle", "configuration": {}}

    def change(metadata: dict[str, Any]) -> None:
        metadata["consolidated_metadata"]["metadata"][name]["codecs"] = [codec]

    changed(store / "zarr.json", change)


def with_codec_in_a_shard(store: Path, name: str, mark: Path) -> None:
    inner = [{"name": "numcodecs.pickle", "configuration": {}}]
    codec = {
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": [1], "codecs": inner, "index_codecs": []},
    }
    changed(store / name / "zarr.json", lambda m: m.update(codecs=[codec]))


def with_type(store: Path, name: str, mark: Path) -> None:
    changed(store / name / "zarr.json", lambda m: m.update(data_type="null_terminated_bytes"))


def with_huge_chunks(store: Path, name: str, mark: Path) -> None:
    shape = [MAX_CHUNK_BYTES] * 2
    changed(
        store / name / "zarr.json",
        lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=shape),
    )


def with_huge_shape(store: Path, name: str, mark: Path) -> None:
    changed(store / name / "zarr.json", lambda m: m.update(shape=[10**12] * len(m["shape"])))


def with_a_link(store: Path, name: str, mark: Path) -> None:
    chunk = next(path for path in (store / name / "c").rglob("*") if path.is_file())
    chunk.unlink()
    chunk.symlink_to("/etc/hostname")


def with_a_linked_folder(store: Path, name: str, mark: Path) -> None:
    elsewhere = store.parent / "elsewhere"
    (store / name).rename(elsewhere)
    (store / name).symlink_to(elsewhere)


def with_a_pipe(store: Path, name: str, mark: Path) -> None:
    (store / name / "zarr.json").unlink()
    os.mkfifo(store / name / "zarr.json")


def with_no_json(store: Path, name: str, mark: Path) -> None:
    (store / name / "zarr.json").write_text("[" * 10**5)


ATTACKS = [
    as_format_2,
    whole_format_2,
    with_codec,
    with_codec_in_the_copy,
    with_codec_in_a_shard,
    with_type,
    with_huge_chunks,
    with_huge_shape,
    with_a_link,
    with_a_linked_folder,
    with_a_pipe,
    with_no_json,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_contents_that_run_hang_or_fill_the_memory_are_refused(
    store: Path, tmp_path: Path, attack: Callable[[Path, str, Path], None]
) -> None:
    attack(store, "done", tmp_path / "mark")
    for read in (
        status,
        verify,
        open_sweep,
        lambda path: run(SWEEP, path, progress=False),
        lambda path: consolidate(path, tmp_path / "out.zarr"),
    ):
        with pytest.raises(RequestError):
            read(store)
    assert not (tmp_path / "mark").exists()
    with pytest.raises(SystemExit, match="2"):
        main(["status", str(store)])


def test_the_attack_by_a_codec_works_on_some_versions_of_zarr(store: Path, tmp_path: Path) -> None:
    as_format_2(store, "done", tmp_path / "mark")
    with suppress(Exception):
        zarr.open_array(store, path="done", mode="r")[...]
    if not (tmp_path / "mark").exists():
        pytest.skip("this version of zarr, or of numcodecs, refuses the codec itself")


def test_what_is_written_is_allowed(store: Path, tmp_path: Path) -> None:
    check_store(store)
    consolidate(store, tmp_path / "packed.zarr")
    check_store(tmp_path / "packed.zarr")
    texts = xr.Dataset({"name": ("n", np.array(["a", "β"], object)), "value": ("n", [1.5, 2.5])})
    write_new(texts, tmp_path / "texts.zarr", "measurement", [])
    check_store(tmp_path / "texts.zarr")
    texts.to_zarr(tmp_path / "plain.zarr", zarr_format=3, consolidated=False)
    check_store(tmp_path / "plain.zarr")


# -- coordinates ---------------------------------------------------------------------------------


def test_axes_that_the_spec_contradicts_are_refused_and_repaired(
    store: Path, calm: Path, tmp_path: Path
) -> None:
    array = zarr.open_array(store, path="T", mode="r+")
    array[...] = 2 * array[...]
    for read in (
        status,
        open_sweep,
        lambda path: run(SWEEP, path, progress=False),
        lambda path: consolidate(path, tmp_path / "out.zarr"),
    ):
        with pytest.raises(RequestError, match=r"the axis T differs from its spec.*--repair"):
            read(store)
    assert verify(store).axes == ("T",)
    assert verify(store, repair=True).axes == ("T",)
    assert verify(store).axes == ()
    assert open_sweep(store).T.identical(open_sweep(calm).T)


@pytest.mark.parametrize(
    "record",
    [
        '{"trying": 1}',
        '{"trying": [0], "sets": 3, "deaths": []}',
        '{"trying": [0], "deaths": [0, 0]}',
        "[" * 200_000,
    ],
    ids=["a number", "sets", "deaths", "deep"],
)
def test_a_record_of_a_block_that_is_none_counts_as_none(
    store: Path, client: Client, record: str
) -> None:
    opened = Store(store)
    opened.reset(opened.blocks[0], np.array([0]))
    opened.records.write("block-0", {})
    (file,) = store.rglob("block-0.json")
    file.write_text(record)
    assert status(store).running == 0
    assert execute(SWEEP, store, client, progress=False).complete
    assert "block-0" not in opened.records.names()


def test_a_task_goes_on_while_its_lease_is_damaged(store: Path) -> None:
    records = Store(store).records
    records.write(NAME, {"no": "id"})
    LeaseCheck(records, "a").look()


def test_metadata_that_zarr_cannot_read_is_named(store: Path) -> None:
    for path in (store / "state" / "zarr.json", store / "zarr.json"):
        metadata = json.loads(path.read_text())
        part = metadata.get("consolidated_metadata", {"metadata": {"state": metadata}})
        part["metadata"]["state"]["fill_value"] = [1, "a"]
        path.write_text(json.dumps(metadata))
    for line in (["info", str(store)], ["consolidate", str(store), f"{store}-new"]):
        result = CliRunner().invoke(main, line)
        assert result.exit_code == 2, result.output
        assert "is damaged: state/zarr.json cannot be read" in result.output


@pytest.fixture
def limited_memory() -> Iterator[None]:
    """One GiB beyond what this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + 2**30
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


# A gigabyte: so many blocks that repeat a zero 128 KiB times, the last one marked.
BLOCKS = [b"\x02\x00\x10\x00"] * (2**13 - 1) + [b"\x03\x00\x10\x00"]
MAGIC = b"\x28\xb5\x2f\xfd"
BOMBS = {
    "large": b"".join([MAGIC, b"\xa0\x00\x00\x00\x40", *BLOCKS]),
    "unsaid": b"".join([MAGIC, b"\x00\x58", *BLOCKS]),
}


@pytest.mark.usefixtures("limited_memory")
@pytest.mark.parametrize("name", ["T", "done", "susceptibility", "error", "shard"])
@pytest.mark.parametrize("frame", BOMBS.values(), ids=BOMBS)
def test_a_small_chunk_that_becomes_a_gigabyte_is_refused(
    store: Path, tmp_path: Path, name: str, frame: bytes
) -> None:
    if name == "shard":
        consolidate(store, tmp_path / "packed.zarr")
        store, name = tmp_path / "packed.zarr", "susceptibility"
        for shard in (path for path in (store / name / "c").rglob("*") if path.is_file()):
            bomb_in_shard(shard, frame)
    else:
        chunks = [path for path in (store / name / "c").rglob("*") if path.is_file()]
        for chunk in chunks or [store / name / "c" / "0" / "0"]:
            chunk.parent.mkdir(parents=True, exist_ok=True)
            chunk.write_bytes(frame)
    with pytest.raises((RequestError, DamageError)) as caught:
        open_sweep(store)[name].to_numpy()
    assert not isinstance(caught.value.__cause__, MemoryError)
    assert CliRunner().invoke(main, ["verify", str(store)]).exit_code in (1, 2)


def test_a_measured_store_that_becomes_a_gigabyte_is_refused(tmp_path: Path) -> None:
    write_new(xr.Dataset({"counts": ("n", [1, 2])}), tmp_path / "m.zarr", "measurement", [])
    (tmp_path / "m.zarr" / "counts" / "c" / "0").write_bytes(BOMBS["large"])
    with pytest.raises(RequestError, match="becomes 1073741824 bytes, its values take 16"):
        stored_counts([tmp_path / "m.zarr"])


def bomb_in_shard(path: Path, frame: bytes) -> None:
    """Let all chunks of a shard, whose index has a checksum at its end, be one frame."""
    before = path.read_bytes()
    for chunks in range(1, len(before) // 16):
        index, checksum = before[-16 * chunks - 4 : -4], before[-4:]
        if crc32c(index).to_bytes(4, "little") == checksum:
            break
    index = np.array([[0, len(frame)]] * chunks, "<u8").tobytes()
    path.write_bytes(frame + index + crc32c(index).to_bytes(4, "little"))


def test_a_chunk_that_cannot_be_decoded_is_refused_where_xarray_reads_it(store: Path) -> None:
    for chunk in (store / "susceptibility" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"no zstd")
    line = ["map", str(store), "susceptibility", "--out", str(store.parent / "new.png")]
    result = CliRunner().invoke(main, line)
    assert (result.exit_code, "a store is damaged" in result.output) == (2, True), result.output
    assert "verify STORE --repair" in result.output


def test_the_loser_of_two_runs_that_begin_at_once_is_told_what_happened(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"

    def lose() -> None:
        with atomic_write(path) as draft:
            draft.mkdir()
            (path / "zarr").mkdir(parents=True)

    with pytest.raises(RequestError, match=r"another process wrote .* the same command again"):
        lose()
