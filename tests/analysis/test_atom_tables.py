"""Tables of atoms: every atom with a species once, by its name, with its errors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from latticescape.analysis.counts.counting import observed_counts
from latticescape.analysis.counts.tables import COLUMNS, atom_table, atoms_of_table
from latticescape.analysis.images.synthetic import place_atoms
from latticescape.physics import triangular
from latticescape.physics.errors import RequestError


@pytest.fixture
def atoms() -> xr.Dataset:
    """A configuration, as if measured with an error of a tenth of a pixel."""
    species = np.random.default_rng(1).integers(0, 2, 64)
    placed = place_atoms(triangular(8), species, spacing=12.0, chalcogen=0.15)
    error = ("atom", np.full(placed.sizes["atom"], 0.1))
    sure = np.where(placed["species"].values[:, None] == [0, 1], 0.9, 0.1)
    probability = xr.DataArray(sure, {"kind": ["Mo", "Re"]}, ("atom", "kind"))
    return placed.assign(row_err=error, col_err=error, probability=probability)


def test_a_table_of_atoms_gives_back_the_counts(atoms: xr.Dataset, tmp_path: Path) -> None:
    table = atom_table({"a": atoms})
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 64
    assert set(table["probability"]) == {0.9}
    table.to_csv(tmp_path / "a.csv", index=False)
    counted = observed_counts(tmp_path / "a.csv", lattice="triangular", species=("Mo", "Re"))
    metals = atoms.isel(atom=atoms["species"].values >= 0)
    plain = (
        metals[["row", "col", "species"]]
        .to_dataframe()
        .rename(columns={"row": "row_px", "col": "col_px"})
    )
    plain.to_csv(tmp_path / "b.csv", index=False)
    assert np.array_equal(counted["counts"], observed_counts(tmp_path / "b.csv")["counts"])


def test_images_follow_one_another(atoms: xr.Dataset) -> None:
    table = atom_table({"b": atoms, "a": atoms.isel(atom=slice(3))})
    assert table["image"].tolist() == ["b"] * 64 + ["a"] * 3


def test_atoms_off_the_lattice_are_left_out(atoms: xr.Dataset) -> None:
    there = np.arange(atoms.sizes["atom"]) < 5
    assert len(atom_table({"a": atoms.assign(on_lattice=("atom", there))})) == 5


def test_an_atom_without_a_species_is_refused() -> None:
    table = pd.DataFrame({"row_px": [1.0, 2.0], "col_px": [1.0, 2.0], "species": ["A", np.nan]})
    with pytest.raises(RequestError, match=r"a species was not named .*came: nan"):
        atoms_of_table(table, ("A", "B"))
