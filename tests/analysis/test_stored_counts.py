"""Stored counts: what ``measure`` wrote comes back, and nothing else passes for it."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.counts.tables import stored_counts
from latticescape.deploy.derived import write_new
from latticescape.physics import configurations
from latticescape.physics.errors import RequestError


def counted(*images: str, lattice: str = "triangular", seed: int = 1) -> xr.Dataset:
    classes = configurations(lattice)
    rng = np.random.default_rng(seed)
    return counts_dataset({name: rng.integers(1, 50, len(classes)) for name in images}, classes)


def test_stores_come_back_joined(tmp_path: Path) -> None:
    one, two = counted("a", "b"), counted("c", seed=2)
    write_new(one, tmp_path / "one.zarr", "measurement", ["image"])
    write_new(two, tmp_path / "two.zarr", "measurement", ["image"])
    result = stored_counts([tmp_path / "one.zarr", tmp_path / "two.zarr"])
    assert result["image"].values.tolist() == ["a", "b", "c"]
    assert np.array_equal(result["counts"], [*one["counts"], *two["counts"]])
    assert result["label"].values.tolist() == one["label"].values.tolist()
    assert result.attrs == one.attrs


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ([counted("a"), counted("a", seed=2)], "two stores"),
        ([counted("a"), counted("b", lattice="square")], "different lattices"),
        ([counted("a").drop_vars("counts")], "holds no observed counts"),
    ],
)
def test_stores_that_do_not_fit_are_refused(
    tables: list[xr.Dataset], problem: str, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.zarr" for number in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        write_new(table, path, "measurement", ["image"])
    with pytest.raises(RequestError, match=problem):
        stored_counts(paths)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot read the store"):
        stored_counts([tmp_path])


def test_joined_stores_keep_the_provenance_of_every_image(tmp_path: Path) -> None:
    """One value per image; what the stores disagree about is dropped, not mixed up."""
    shared = {"species": ["Mo", "Re"], "pixel_units": ["nm"]}
    tables = [
        counted("a").assign_attrs(source=["a.tif"], pixel_size=[0.02], version="1", **shared),
        counted("b").assign_attrs(source=["b.tif"], pixel_size=[0.03], version="2", **shared),
        counted("c"),
    ]
    paths = [tmp_path / f"{number}.zarr" for number in range(3)]
    for path, table in zip(paths, tables, strict=True):
        write_new(table, path, "measurement", ["image"])
    joined = stored_counts(paths[:2]).attrs
    assert joined["source"] == ["a.tif", "b.tif"]
    assert joined["pixel_size"] == [0.02, 0.03]
    assert joined["pixel_units"] == ["nm", "nm"]
    assert joined["species"] == ["Mo", "Re"]
    assert "version" not in joined
    assert not {"source", "pixel_size"} & set(stored_counts(paths).attrs)
