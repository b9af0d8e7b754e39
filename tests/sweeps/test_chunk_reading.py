"""Many chunks are read from their files directly: the same values as zarr's, the same damage."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from latticescape.physics.errors import DamageError
from latticescape.sweeps import Sweep, kernel, open_sweep, plan, verify
from latticescape.sweeps.store.chunk_reading import MIN_FILES
from latticescape.sweeps.store.store import BOX_BYTES, Store, create

SHAPE = (11, 17)


@kernel("value", seconds=1e-6)
def product(a: Any, b: Any) -> Any:
    return a * b


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """11 × 17 points in blocks of 1 × 2, of which three are not done and one point has failed."""
    sweep = Sweep(kernel=product, grid={"a": np.arange(1, 12), "b": np.arange(1, 18)})
    made = create(tmp_path / "s.zarr", sweep, plan(sweep, block_points=2))
    assert len(made.blocks) == 99 > MIN_FILES
    for block in made.blocks[3:]:
        points = sweep.coordinates(block.region)
        made.write(block, {"value": np.array([float(p["a"] * p["b"]) for p in points])})
    made.fail(made.blocks[0], np.array([1]), "no value")
    return made


def test_values_are_those_of_zarr(store: Store) -> None:
    for name in ("value", "done", "state", "attempts", "checksum", "error"):
        expected = np.asarray(zarr.open_array(store.path, path=name, mode="r")[...])
        np.testing.assert_array_equal(store.values(name), expected)
    plain = xr.open_zarr(store.path, chunks={})
    found = open_sweep(store.path)
    assert found.load().identical(plain.load())
    assert found.value.sel(a=[2, 5], b=slice(3, 16)).equals(
        plain.value.sel(a=[2, 5], b=slice(3, 16))
    )
    assert str(found.error.values[0, 1]) == "no value"


def test_a_dataset_is_read_in_boxes_of_blocks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_sweep(store.path).value.chunks == ((11,), (17,))
    monkeypatch.setattr("latticescape.sweeps.store.store.BOX_BYTES", BOX_BYTES // 2**18)
    rows, columns = open_sweep(store.path).value.chunks
    assert len(rows) * len(columns) > 1
    assert {size % 2 for size in columns[:-1]} <= {0}  # no block is in two boxes


@pytest.mark.parametrize("damage", [b"", b"noise", b"\x28\xb5\x2f\xfd" + b"\xff" * 12])
def test_a_damaged_chunk_among_many_is_named(store: Store, damage: bytes) -> None:
    Path(store.chunk("value", store.blocks[40])).write_bytes(damage)
    with pytest.raises(DamageError):
        store.values("value")
    (found,) = verify(store.path).damages
    assert (found.block, found.chunks) == (40, ("value",))
