"""``extend`` and ``merge``: the bits of a sweep that was computed at once, whatever happens."""

import errno
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from distributed import Client

from latticescape.deploy.cli.main import main
from latticescape.physics import Ising, Schedule, square
from latticescape.physics.errors import RequestError
from latticescape.sweeps import Sweep, extend, merge, open_sweep, run, verify
from latticescape.sweeps.execution.extend import Extension
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.arrays import write_chunks
from latticescape.sweeps.store.status import NAME, Lease
from latticescape.sweeps.store.store import Store, create
from tests.support.own_kernels import percolation
from tests.support.runs import alloy_sweep, assert_same_bits, ising_sweep

SHORT = ising_sweep()
WHOLE = SHORT.lengthened(samples=40)


@pytest.fixture(scope="module")
def short(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 points of 10 samples, which nobody changes."""
    path = tmp_path_factory.mktemp("extend") / "short.zarr"
    execute(SHORT, path, client, block_points=2)
    return path


@pytest.fixture(scope="module")
def whole(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 points of 40 samples at once."""
    path = tmp_path_factory.mktemp("extend") / "whole.zarr"
    execute(WHOLE, path, client, block_points=3)
    return path


@pytest.fixture
def store(short: Path, tmp_path: Path) -> Path:
    """A copy of the short store, alone in a folder."""
    return Path(shutil.copytree(short, tmp_path / "ising.zarr"))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_more_samples_later_are_all_at_once(client: Client, store: Path, whole: Path) -> None:
    ds = extend(store, client, samples=40)
    assert_same_bits(whole, store)
    assert ds.histogram.equals(open_sweep(whole).histogram)
    assert not verify(store).damages
    assert names_in(store.parent) == ["ising.zarr"]
    assert Store(store).sweep.digest == Store(whole).digest


def test_only_the_missing_samples_are_computed(client: Client, store: Path, whole: Path) -> None:
    out = store.with_name("longer.zarr")
    extension = Extension.of(store, {"samples": 40}, out)
    report = execute(extension.sweep, out, client, base=extension.base)
    assert (report.continued, report.computed, report.taken_over) == (9, 9, 0)
    assert report.updates == WHOLE.kernel.updates(9) - SHORT.kernel.updates(9)
    assert_same_bits(whole, out)
    assert Store(store).digest == SHORT.digest  # stays as it was


def test_an_extension_twice_as_long_as_asked_before(client: Client, store: Path) -> None:
    extend(store, client, samples=20)
    extend(store, client, samples=40, equilibration_mcs=200)
    at_once = SHORT.lengthened(samples=40, equilibration_mcs=200)
    execute(at_once, store.with_name("at_once.zarr"), client)
    assert_same_bits(store.with_name("at_once.zarr"), store)


def test_the_same_length_computes_only_what_is_not_done(client: Client, store: Path) -> None:
    Store(store).reset(Store(store).blocks[0], np.array([0]))
    extension = Extension.of(store, {"samples": 10})
    report = extension.finished(execute(extension.sweep, extension.target, client))
    assert (report.computed, report.complete) == (1, True)
    assert names_in(store.parent) == ["ising.zarr"]


def test_points_that_are_damaged_or_not_done_begin_anew(
    client: Client, store: Path, whole: Path
) -> None:
    opened = Store(store)
    opened.reset(opened.blocks[0], np.array([0]))
    array = zarr.open_array(store, path="restart", mode="r+")
    array[2, 2, -1] += np.uint64(1)  # no longer matches its checksum
    extension = Extension.of(store, {"samples": 40})
    report = execute(extension.sweep, extension.target, client, base=store)
    assert (report.continued, report.computed) == (7, 9)
    extension.finished(report)
    assert_same_bits(whole, store)


def test_samples_and_values_together(client: Client, store: Path) -> None:
    more = WHOLE.extended({"T": [2.1], "H": [0.25]})
    anew, out = store.with_name("anew.zarr"), store.with_name("new.zarr")
    execute(more, anew, client, block_points=5)
    report = execute(more, out, client, base=store)
    assert (report.continued, report.computed) == (9, 16)
    assert_same_bits(anew, out)


def test_samples_until_errors_are_small(client: Client, store: Path) -> None:
    until = {"energy_se": 0.02, "max_samples": 300}
    ds = extend(store, client, until=until)
    once = store.with_name("once.zarr")
    at_once = execute(SHORT.lengthened(until=until), once, client)
    assert_same_bits(once, store)
    assert ds.until_met.all()
    assert at_once.updates == int(ds.samples.sum() * 2 + 9 * 20) * 64 * 36
    # Stricter, from the command line: the targets of other names stay.
    command = ["extend", str(store), "--until", "energy_se=1e-9", "--max-samples", "400"]
    result = CliRunner().invoke(main, [*command, "--json", "--cluster", "local"])
    assert (result.exit_code, json.loads(result.stdout)["unmet"]) == (0, 9)
    assert open_sweep(store).samples.values.tolist() == [[400] * 3] * 3
    with pytest.raises(RequestError, match=r"gone too far for this schedule\.until"):
        extend(store, client, until=until)


def test_kept_samples_are_longer(client: Client, tmp_path: Path) -> None:
    parts = (SHORT.lattice, SHORT.model, SHORT.grid, SHORT.schedule, SHORT.seed)
    kept = Sweep(*parts, keep=("samples", "spins"))
    run(kept, tmp_path / "kept.zarr", client)
    ds = extend(tmp_path / "kept.zarr", client, samples=25)
    assert ds.sizes["sample"] == 25
    run(kept.lengthened(samples=25), tmp_path / "once.zarr", client)
    assert_same_bits(tmp_path / "once.zarr", tmp_path / "kept.zarr")


def test_one_that_is_interrupted_goes_on(
    client: Client, store: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write = list[int](), Store.write

    def full(store: Store, *some: object, **named: object) -> None:
        if len(written) >= 2:  # two threads write at the same time
            raise OSError(errno.ENOSPC, "full")
        write(store, *some, **named)  # type: ignore[arg-type]
        written.append(1)

    before = Store(store).digest
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", full)
        extension = Extension.of(store, {"samples": 40})
        report = execute(extension.sweep, extension.target, client, block_points=1, base=store)
        assert not extension.finished(report).complete
    assert Store(store).digest == before  # until all points are done
    assert names_in(store.parent) == [".ising.zarr.extending", "ising.zarr"]
    extend(store, client, samples=40)
    assert_same_bits(whole, store)
    assert names_in(store.parent) == ["ising.zarr"]


@pytest.mark.parametrize("moment", ["first renamed", "both renamed"])
def test_one_that_is_killed_while_it_replaces_goes_on(
    client: Client, store: Path, whole: Path, moment: str
) -> None:
    extension = Extension.of(store, {"samples": 40})
    execute(extension.sweep, extension.target, client, base=store)
    store.rename(store.with_name(".ising.zarr.replaced"))
    if moment == "both renamed":
        Path(extension.target).rename(store)
    extend(store, client, samples=40)
    assert_same_bits(whole, store)
    assert names_in(store.parent) == ["ising.zarr"]


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ({}, "nothing to extend by"),
        ({"samples": 5}, "a shorter schedule than the store"),
        ({"samples": 0}, "schedule.samples is out of range"),
        ({"equilibration_mcs": 10}, "a shorter schedule than the store"),
    ],
)
def test_what_cannot_be_extended_is_refused(
    client: Client, store: Path, amount: dict[str, int], words: str
) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        extend(store, client, **amount)
    assert "Try: " in str(caught.value)
    assert names_in(store.parent) == ["ising.zarr"]


def test_stores_that_cannot_go_on_are_refused(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "plain.zarr"
    parts = (SHORT.lattice, SHORT.model, SHORT.grid, SHORT.schedule, SHORT.seed)
    ds = run(Sweep(*parts, extendable=False), path, client)
    assert "restart" not in ds
    with pytest.raises(RequestError, match="cannot go on: they keep only results"):
        extend(path, client, samples=40)
    with pytest.raises(RequestError, match="extendable must be true or false"):
        Sweep(*parts, extendable="no")  # type: ignore[arg-type]
    own = Sweep(kernel=percolation, grid={"p": [0.5]})
    run(own, tmp_path / "own.zarr", client)
    with pytest.raises(RequestError, match="the points of a function cannot go on"):
        extend(tmp_path / "own.zarr", client, samples=40)
    assert names_in(tmp_path) == ["own.zarr", "plain.zarr"]


def test_another_amount_is_refused_while_one_has_begun(client: Client, store: Path) -> None:
    extension = Extension.of(store, {"samples": 40})
    execute(extension.sweep, extension.target, client, base=store)
    with pytest.raises(RequestError, match=r"by another amount has begun.*samples = 40"):
        Extension.of(store, {"samples": 50})


def test_a_store_at_work_is_not_replaced(store: Path) -> None:
    lease = Lease("0" * 32, "s", "tcp://10.0.0.1:8786", 0, "host", "user", 1, 0.0, 0)
    Store(store).records.write(NAME, asdict(lease))
    with pytest.raises(RequestError, match="a scheduler works on the store"):
        Extension.of(store, {"samples": 40})


def test_the_command_extends_and_says_so(
    store: Path, whole: Path, processes: None, capsys: object
) -> None:
    result = CliRunner().invoke(main, ["extend", str(store), "--samples", "40", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["store"], report["continued"], report["failed"]) == (str(store), 9, 0)
    assert_same_bits(whole, store)
    result = CliRunner().invoke(main, ["extend", str(store), "--samples", "30"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "allowed: 40 or more" in result.stderr


def test_parts_of_a_grid_are_united(client: Client, short: Path, tmp_path: Path) -> None:
    halves = [tmp_path / "low.zarr", tmp_path / "high.zarr"]
    for path, temperatures in zip(halves, ([1.8, 2.4], [2.4, 3.0]), strict=True):
        parts = (SHORT.lattice, SHORT.model, {**SHORT.grid, "T": temperatures}, SHORT.schedule)
        run(Sweep(*parts, seed=SHORT.seed), path, client)
    made = merge(halves, tmp_path / "both.zarr")
    assert (made.points, made.done, made.copied) == (9, 9, (6, 3))
    assert_same_bits(short, tmp_path / "both.zarr")
    # What neither has stays pending, and the same command goes on.
    Store(halves[0]).reset(Store(halves[0]).blocks[0], np.array([0]))
    partial = tmp_path / "partial.zarr"
    assert merge(halves, partial).done == 8
    result = CliRunner().invoke(main, ["merge", *map(str, halves), "--out", str(partial), "--json"])
    assert json.loads(result.stdout)["copied"] == [0, 0]
    execute(SHORT, partial, client)
    assert_same_bits(short, partial)


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_a_merge_that_is_killed_goes_on(
    client: Client, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Killed between results and done marks, or between blocks, it leaves no wrong done mark."""
    part, out = tmp_path / "part.zarr", tmp_path / "out.zarr"
    run(Sweep(SHORT.lattice, SHORT.model, {"T": [1.8], "H": [0.5]}, SHORT.schedule, 7), part)
    written = list[int]()

    def killed(*some: Any) -> None:
        if len(written) >= writes:
            raise KeyboardInterrupt
        write_chunks(*some)
        written.append(1)

    with monkeypatch.context() as patch:
        patch.setattr("latticescape.sweeps.store.store.write_chunks", killed)
        with pytest.raises(KeyboardInterrupt):
            merge([part, short], out)
    assert Store(out).done().sum() == writes // 2
    assert not verify(out).damages
    assert merge([part, short], out).done == 9
    assert_same_bits(short, out)


def test_a_store_at_work_is_not_merged_into(short: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    merge([short, short], out)
    lease = Lease("0" * 32, "s", "tcp://10.0.0.1:8786", 0, "host", "user", 1, 0.0, 0)
    Store(out).records.write(NAME, asdict(lease))
    with pytest.raises(RequestError, match="a scheduler works on the store"):
        merge([short, short], out)


def test_stores_that_differ_are_not_united(client: Client, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    other = tmp_path / "other.zarr"
    schedule = replace(SHORT.schedule, samples=12)
    run(Sweep(SHORT.lattice, SHORT.model, SHORT.grid, schedule, SHORT.seed), other, client)
    with pytest.raises(RequestError, match="schedule"):
        merge([store, other], out)
    run(alloy_sweep(), tmp_path / "alloy.zarr", client)
    with pytest.raises(RequestError):
        merge([store, tmp_path / "alloy.zarr"], out)
    with pytest.raises(RequestError, match="nothing to merge"):
        merge([store], out)
    changed = Path(shutil.copytree(store, tmp_path / "changed.zarr"))
    zarr.open_array(changed, path="checksum", mode="r+")[1, 1] = 3
    with pytest.raises(RequestError, match=r"different results of one point.*T = 2.4, H = 0.5"):
        merge([store, changed], out)
    damaged = Path(shutil.copytree(store, tmp_path / "damaged.zarr"))
    metadata = damaged / "susceptibility_se" / "zarr.json"
    metadata.write_text(metadata.read_text().replace("[\n    3,\n    3\n  ]", "[2, 3]"))
    with pytest.raises(RequestError, match="susceptibility_se has another shape than its spec"):
        merge([store, damaged], out)
    assert not out.exists()


def test_the_schedule_of_an_extension_is_checked_as_any_other() -> None:
    assert WHOLE.schedule == Schedule(20, 40, 2)
    with pytest.raises(RequestError, match=r"schedule.samples is out of range"):
        SHORT.lengthened(samples=-1)


def test_points_are_added_to_a_store(tmp_path: Path) -> None:
    points = {"T": [2.0, 2.5], "H": [0.0, 0.1]}
    more = {"T": [2.5, 2.2], "H": [0.1, 0.3]}
    short = Sweep(square(4), Ising(), schedule=Schedule(10, 5, 2), points=points, seed=1)
    store = tmp_path / "points.zarr"
    first = run(short, store, cluster="inline", progress=False).load()
    longer = extend(store, "inline", points=more, progress=False).load()
    assert longer["T"].values.tolist() == [2.0, 2.5, 2.2]  # one of them was there
    assert longer.isel(point=slice(2)).energy.equals(first.energy)
    assert extend(store, "inline", points=more, progress=False).sizes["point"] == 3
    Extension.of(store, {"points": [{"T": 3.0, "H": 0.0}]})  # nothing has begun
    begun = Extension.of(store, {"points": [{"T": 3.0, "H": 0.0}]})
    create(begun.target, begun.sweep, plan(begun.sweep))
    with pytest.raises(RequestError, match="points = 4 in all, of which some are others"):
        Extension.of(store, {"points": [{"T": 3.5, "H": 0.0}]})
    grid = tmp_path / "grid.zarr"
    run(Sweep(square(4), Ising(), {"T": [2.0]}, Schedule(5, 2, 2)), grid, cluster="inline")
    with pytest.raises(RequestError, match="no such axis"):
        extend(grid, "inline", points=more)
