"""Larger sweeps take over the points of smaller ones, bit for bit, and compute the rest alone."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from distributed import Client

from latticescape.deploy.cli.main import main
from latticescape.physics import Ising, PairAlloy, Schedule, square
from latticescape.physics.errors import RequestError
from latticescape.sweeps import IncompleteError, Sweep, consolidate, open_sweep, run, verify
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.spec.axes import Axis
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.location import locate
from latticescape.sweeps.store.store import Store, create
from tests.support.own_kernels import percolation
from tests.support.runs import alloy_sweep, assert_same_bits, ising_sweep

BASE = ising_sweep()
EXTENDED = BASE.extended({"T": [2.1, 3.4], "H": [0.25]})


@pytest.fixture(scope="module")
def base(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 points, which nobody changes."""
    path = tmp_path_factory.mktemp("extension") / "base.zarr"
    execute(BASE, path, client, block_points=2)
    return path


@pytest.fixture(scope="module")
def anew(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extended sweep, all 20 points computed."""
    path = tmp_path_factory.mktemp("extension") / "anew.zarr"
    execute(EXTENDED, path, client, block_points=3)
    return path


def test_an_axis_keeps_its_order() -> None:
    assert Axis((1.0, 3.0)).united("T", [2.0, 4.0, 1.0]).values == (1.0, 2.0, 3.0, 4.0)
    assert Axis((3.0, 1.0)).united("T", [2.0]).values == (3.0, 2.0, 1.0)
    assert Axis((3.0, 1.0, 2.0)).united("T", [0.0]).values == (3.0, 1.0, 2.0, 0.0)
    assert Axis((0.1,)).united("T", [0.2, 0.0]).values == (0.0, 0.1, 0.2)


def test_a_value_within_rounding_of_an_old_one_is_the_old_one() -> None:
    coarse, fine = np.linspace(-0.3, 0.1, 41), np.linspace(-0.3, 0.1, 121)
    assert (fine[::3] != coarse).any()
    found = Axis.of("w1", coarse).united("w1", fine)
    assert len(found.values) == 121
    assert set(coarse.tolist()) < set(found.values)


def test_all_else_stays() -> None:
    kept = Sweep(
        square(4), Ising(J=0.7), {"T": [2.0]}, Schedule(5, 4, 2), seed=3, keep=("samples",)
    )
    found, was = kept.extended({"T": [3.0]}).description, kept.description
    assert {name for name in found if found[name] != was.get(name)} == {"grid.T"}
    own = Sweep(kernel=percolation, grid={"p": [0.5]}, seed=4).extended({"p": [0.25]})
    assert own.axes["p"].tolist() == [0.25, 0.5]
    assert own.seed == 4


@pytest.mark.parametrize("block_points", [1, 7])
def test_old_points_are_taken_over_and_only_the_others_are_computed(
    client: Client, base: Path, anew: Path, tmp_path: Path, block_points: int
) -> None:
    out = tmp_path / "new.zarr"
    report = execute(EXTENDED, out, client, block_points=block_points, base=base, progress=False)
    assert (report.taken_over, report.computed, report.complete) == (9, 11, True)
    assert report.updates == EXTENDED.kernel.updates(11)
    assert_same_bits(anew, out)
    assert not verify(out).damages
    old = open_sweep(base)
    assert open_sweep(out).sel(T=old.T, H=old.H).drop_attrs().equals(old.drop_attrs())


def test_a_finished_extension_is_not_begun_again(client: Client, base: Path, anew: Path) -> None:
    report = execute(EXTENDED, anew, client, base=base, progress=False)
    assert (report.taken_over, report.computed, report.complete) == (0, 0, True)


def test_one_killed_while_it_takes_over_goes_on(
    client: Client, base: Path, anew: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write, written = tmp_path / "new.zarr", Store.write, list[int]()

    def killed(store: Store, block: object, *given: object, **named: object) -> None:
        write(store, block, *given, **named)  # type: ignore[arg-type]
        written.append(1)
        if len(written) >= 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            execute(EXTENDED, out, client, block_points=2, base=base, progress=False)
    begun = int(Store(out).done().sum())
    assert 0 < begun < 9
    report = execute(EXTENDED, out, client, base=base, progress=False)
    assert (report.taken_over, report.computed) == (9 - begun, 11)
    assert_same_bits(anew, out)


def test_how_often_a_point_was_tried_is_taken_over(
    client: Client, base: Path, tmp_path: Path
) -> None:
    out, again = tmp_path / "new.zarr", create(tmp_path / "b.zarr", BASE, plan(BASE))
    first = Store(base)
    everywhere = [np.arange(n) for n in BASE.shape]
    values = {v.name: first.at(v.name, everywhere) for v in BASE.kernel.variables}
    for block in again.blocks:
        inside = np.arange(9).reshape(3, 3)[block.region].ravel()
        again.write(block, {n: v[inside] for n, v in values.items()}, attempts=3)
    execute(EXTENDED, out, client, base=tmp_path / "b.zarr", progress=False)
    assert sorted(open_sweep(out).attempts.values.ravel().tolist()) == [1] * 11 + [3] * 9


def test_what_is_damaged_or_not_done_is_computed(
    client: Client, base: Path, anew: Path, tmp_path: Path
) -> None:
    hurt = tmp_path / "hurt.zarr"
    execute(BASE, hurt, client, block_points=1, progress=False)
    store = Store(hurt)
    path = Path(store.chunk("energy", store.blocks[0]))
    path.write_bytes(path.read_bytes()[:-3])
    changed = store.read("histogram", store.blocks[4])
    changed[0, 0] += 1
    zarr.open_array(hurt, path="histogram", mode="r+")[1, 1] = changed[0]
    store.reset(store.blocks[8], np.array([0]), results=True)
    out = tmp_path / "new.zarr"
    report = execute(EXTENDED, out, client, block_points=1, base=hurt, progress=False)
    assert (report.taken_over, report.computed) == (6, 14)
    assert_same_bits(anew, out)


def test_a_packed_store_can_be_extended(
    client: Client, base: Path, anew: Path, tmp_path: Path
) -> None:
    consolidate(base, tmp_path / "p.zarr")
    assert run(EXTENDED, tmp_path / "new.zarr", client, base=tmp_path / "p.zarr").done.all()
    assert_same_bits(anew, tmp_path / "new.zarr")


def test_a_ladder_is_taken_over_whole(client: Client, tmp_path: Path) -> None:
    ladder = Sweep(
        square(4),
        Ising(),
        {"T": [2.0, 2.5], "H": [0.0, 0.1]},
        Schedule(5, 4, 2, tempering_mcs=1),
        seed=2,
    )
    execute(ladder, tmp_path / "base.zarr", client, progress=False)
    more = ladder.extended({"H": [0.2]})
    report = execute(more, tmp_path / "new.zarr", client, base=tmp_path / "base.zarr")
    assert (report.taken_over, report.computed) == (4, 2)
    execute(more, tmp_path / "anew.zarr", client, progress=False)
    assert_same_bits(tmp_path / "anew.zarr", tmp_path / "new.zarr")
    with pytest.raises(RequestError, match="the axis T cannot be extended"):
        run(
            ladder.extended({"T": [3.0]}), tmp_path / "no.zarr", client, base=tmp_path / "base.zarr"
        )


OTHERS = {
    "another schedule": (ising_sweep(mcs=3).extended({"T": [2.1]}), "schedule.stride_mcs differs"),
    "another model": (alloy_sweep(), "lattice.kind differs"),
    "a coarser axis": (ising_sweep(points=2), "grid.T lacks a value"),
    "another seed": (
        Sweep(square(6), Ising(), dict(BASE.grid), Schedule(20, 10, 2), seed=8),
        "sweep.seed differs",
    ),
    "another order": (
        Sweep(square(6), Ising(), dict(reversed(BASE.grid.items())), Schedule(20, 10, 2), seed=7),
        "order of axes",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_sweep_that_is_no_extension_is_refused(base: Path, tmp_path: Path, case: str) -> None:
    sweep, problem = OTHERS[case]
    with pytest.raises(RequestError, match=problem):
        execute(sweep, tmp_path / "new.zarr", base=base)
    assert locate(tmp_path / "new.zarr").is_free()


def test_only_what_is_swept_can_be_extended() -> None:
    with pytest.raises(RequestError, match=r"no such axis \(came: w1; allowed: T \| H"):
        BASE.extended({"w1": [0.1]})
    with pytest.raises(RequestError, match="not finite"):
        BASE.extended({"T": [np.inf]})
    alloy = Sweep(square(6), PairAlloy(w1=0.1), {"x": [0.25]}, Schedule(5, 4, 2))
    with pytest.raises(RequestError, match=r"grid\.x"):
        alloy.extended({"x": [1.5]})


def test_the_command_takes_over_too(client: Client, base: Path, anew: Path, tmp_path: Path) -> None:
    spec, out = tmp_path / "finer.toml", tmp_path / "new.zarr"
    spec.write_text(EXTENDED.to_toml())
    there = ["--cluster", client.scheduler.address]
    given = [str(spec), "--store", str(out), "--base", str(base), *there, "--json"]
    found = CliRunner().invoke(main, ["run", *given])
    assert found.exit_code == 0, found.output
    assert '"taken_over": 9' in found.output
    assert_same_bits(anew, out)


def test_incomplete_points_are_told(client: Client, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latticescape.physics.kernels.lattice_kernel.sample", lambda *a, **b: 1 / 0)
        with pytest.raises(IncompleteError, match="of 20 points 11 failed"):
            run(EXTENDED, out, client, base=base, progress=False)
    assert open_sweep(out).done.sum() == 9
