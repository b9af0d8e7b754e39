"""Lattices from structure files, and arrangements as atoms."""

from pathlib import Path

import numpy as np
import pytest

from latticescape import Sweep, run, snapshot
from latticescape.physics import (
    ClusterExpansion,
    RequestError,
    Schedule,
    Term,
    crystal,
    lattice_from_structure,
    offered_species,
)
from latticescape.physics.lattices.geometry import shell_steps

pytest.importorskip("ase")

# A cubic perovskite with two elements on A, and oxygen that is sometimes absent.
PEROVSKITE = """data_lcmo
_cell_length_a 3.87
_cell_length_b 3.87
_cell_length_c 3.87
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P m -3 m'
_symmetry_Int_Tables_number 221
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
La1 La 0.0 0.0 0.0 0.625
Ca1 Ca 0.0 0.0 0.0 0.375
Mn1 Mn 0.5 0.5 0.5 1.0
O1 O 0.5 0.5 0.0 0.9
"""

POSCAR = """brass
1.0
2.95 0.0 0.0
0.0 2.95 0.0
0.0 0.0 2.95
Cu Zn
1 1
Direct
0.0 0.0 0.0
0.5 0.5 0.5
"""

SPEC = """
[lattice]
structure = "perovskite.cif"
size = [2, 2, 3]
[model]
kind = "cluster_expansion"
species = { Ca-La = ["Ca", "La"], Mn = ["Mn"], O-vacancy = ["O", "vacancy"] }
x_Ca-La = 0.5
x_O-vacancy = 0.25
[model.terms.w]
pair = 2
[grid]
w = [0.1]
[schedule]
equilibration_mcs = 2
samples = 2
stride_mcs = 1
"""


@pytest.fixture
def perovskite(tmp_path: Path) -> Path:
    path = tmp_path / "perovskite.cif"
    path.write_text(PEROVSKITE)
    return path


def test_partial_occupancies_are_the_species_of_a_sublattice(perovskite: Path) -> None:
    lattice = lattice_from_structure(perovskite, 2)
    assert lattice.sites == 40
    assert offered_species(lattice) == {
        "Ca-La": ("Ca", "La"),
        "Mn": ("Mn",),
        "O-vacancy": ("O", "vacancy"),
    }
    # Mn-O is the shortest distance of a perovskite: six oxygens around each Mn.
    names = lattice.geometry.names
    around = shell_steps(lattice.geometry, 1)[names.index("Mn")]
    assert [names[step.target] for step in around] == ["O-vacancy"] * 6
    assert np.allclose(np.linalg.norm([s.vector for s in around], axis=1), 3.87 / 2)


def test_a_poscar_is_read_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text(POSCAR)
    lattice = lattice_from_structure(tmp_path / "POSCAR", [2, 2, 2], boundary="open")
    assert lattice.geometry.names == ("Cu", "Zn")
    assert lattice.boundary == ("open",) * 3
    assert len(shell_steps(lattice.geometry, 1)[0]) == 8


def test_a_spec_with_a_structure_file_holds_the_structure_afterwards(perovskite: Path) -> None:
    path = perovskite.with_name("spec.toml")
    path.write_text(SPEC)
    sweep = Sweep.from_file(path)
    again = Sweep.from_toml(sweep.to_toml())
    assert again.digest == sweep.digest
    assert again.lattice == sweep.lattice
    ds = run(sweep, perovskite.with_name("s.zarr"))
    assert float(ds["features"].mean()) > 0


def test_a_snapshot_is_the_arrangement(tmp_path: Path) -> None:
    lattice = crystal([3, 4], [[0, 2.0], [1.0, 0.0]], boundary=["open", "periodic"])
    model = ClusterExpansion(["Au", "vacancy", "dimer"], {"w": Term(pair=1)}, x_vacancy=0.25)
    schedule = Schedule(5, 2, 1)
    axes = {"w": [0.1, 0.2], "x_dimer": [0.5]}
    ds = run(Sweep(lattice, model, axes, schedule, keep=["spins"]), tmp_path / "s.zarr")
    atoms = snapshot(ds, 7, w=0.2, x_dimer=0.5)
    assert sorted(atoms.get_array("species")) == ["Au"] * 3 + ["dimer"] * 6
    assert sorted(set(atoms.get_chemical_symbols())) == ["Au", "X"]
    assert atoms.pbc.tolist() == [False, True, False]
    assert np.allclose(atoms.cell[:2, :2], [[0, 6.0], [4.0, 0]])
    with pytest.raises(RequestError, match="one point and one replica"):
        snapshot(ds, w=0.2)


def test_a_wrong_structure_is_refused(tmp_path: Path, perovskite: Path) -> None:
    (tmp_path / "POSCAR").write_text("nothing")
    (tmp_path / "x.py").write_text("raise SystemExit")
    spec = tmp_path / "spec.toml"
    for source, words in (
        (tmp_path / "POSCAR", "cannot read the structure"),
        (tmp_path / "x.py", "is not a structure file"),
        (tmp_path / "none.cif", "there is no structure file"),
        (3, "not a crystal structure"),
    ):
        with pytest.raises(RequestError, match=words):
            lattice_from_structure(source, 2)
    spec.write_text(SPEC.replace("size", "layers = 2\nsize"))
    with pytest.raises(RequestError, match="whole lattice"):
        Sweep.from_file(spec)
    with pytest.raises(RequestError, match="was not read from a file"):
        Sweep.from_toml(SPEC)
    spec.write_text(SPEC.replace("Mn = ", "Fe = "))
    with pytest.raises(RequestError, match="Ca-La, Mn, O-vacancy"):
        Sweep.from_file(spec)
