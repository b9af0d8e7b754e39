"""Pictures, pages, lists and phases of sweeps on lattices of any kind and with any species."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from latticescape.analysis import (
    binder_crossing,
    classes_of,
    landscape,
    ordering,
    phase_diagram,
)
from latticescape.analysis.app.browser import Browser
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import Shown, Sources
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.phases.ordering import Waves, waves_of
from latticescape.analysis.plots import configuration_chart, snapshot_map, variable_map
from latticescape.analysis.plots.values import (
    images_of_composition,
    label_step,
    layers,
    short_labels,
)
from latticescape.physics import RequestError, Schedule
from latticescape.physics.lattices.lattice import (
    Lattice,
    crystal,
    fcc,
    kagome,
    rectangular,
    triangular,
)
from latticescape.physics.models.cluster_expansion import ClusterExpansion, Term
from latticescape.physics.models.spin_models import LatticeGas, Potts
from latticescape.physics.structure_factor import SPECIAL, name_of, stars_of
from latticescape.sweeps import Sweep, open_sweep, run
from latticescape.sweeps.store.store import Store, open_dataset
from tests.support.command_line import json_of, latticescape

THREE = ("A", "B", "C")
LATTICES = {
    "kagome": kagome(4),
    "rectangular": rectangular([5, 4], 1.3),
    "fcc": fcc(4),
    "directed": triangular([6, 4]),
    "chain": Lattice("chain", 12, boundary=("open",)),
    "two": crystal(4, np.eye(2), [[0, 0], [0.5, 0.5]], sublattice=["A", "B"]),
}
SPECIES: dict[str, Any] = {
    "kagome": THREE,
    "two": {"A": ("La", "Ca"), "B": ("vacancy", "O")},
}
FRACTIONS = {"kagome": {"x_B": 0.25, "x_C": 0.25}, "two": {"x_B": 0.25}}
AXES = {"two": {"w": [0.0, 0.3], "x_A": [0.25, 0.5]}}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: Any) -> dict[str, Path]:
    folder, paths = tmp_path_factory.mktemp("general"), {}
    for name, lattice in LATTICES.items():
        fractions = FRACTIONS.get(name, {"x": 0.25})
        model = ClusterExpansion(SPECIES.get(name, THREE[:2]), {"w": Term(pair=1)}, **fractions)
        classes = "translations" if name == "directed" else "point_group"
        sweep = Sweep(
            lattice,
            model,
            AXES.get(name, {"w": [0.0, 0.3]}),
            Schedule(4, 2, 1),
            keep=["spins"],
            classes=classes,
        )
        paths[name] = folder / f"{name}.zarr"
        run(sweep, paths[name], progress=False, cluster="inline")
    return paths


@pytest.mark.parametrize("name", LATTICES)
def test_a_store_is_drawn_and_browsed(stores: dict[str, Path], name: str) -> None:
    ds = open_sweep(stores[name])
    at = dict.fromkeys(AXES.get(name, {"w": []}), 0.3)
    bars = configuration_chart(ds, at=at)
    assert len(bars.get(0)) == ds.sizes["configuration"]
    variable_map(ds, "energy")
    last = layers(LATTICES[name]) - 1
    image = snapshot_map(ds, at=at, layer=last).dimension_values("species")
    species = set(np.unique(image[np.isfinite(image)]).tolist())
    assert species <= set(range(3 if name == "kagome" else 2))
    assert last or len(species) > 1
    store = Store(stores[name])
    reader = Reader(lambda: open_dataset(store.location, chunks=None), store.values)
    shown = Shown(reader, Sources(store=str(stores[name])), None, None, None, None)
    page = Browser(shown)
    assert page.snapshot.image.data["image"][0].size
    assert (reader.planes > 1) == (name == "fcc")


@pytest.mark.parametrize("name", LATTICES)
def test_a_store_is_listed_described_and_mapped(
    stores: dict[str, Path], name: str, tmp_path: Path
) -> None:
    assert json_of("info", stores[name])
    done = latticescape("map", stores[name], "energy", "--out", tmp_path / "map.html")
    assert done.exit_code == 0, done.output
    assert latticescape("list", stores[name].parent).exit_code == 0


def test_species_and_cells_are_described_in_words(stores: dict[str, Path]) -> None:
    text = " ".join(latticescape("info", stores["two"]).output.split())
    assert "species A: La Ca; B: vacancy O" in text
    assert "cell (1.0 0.0) (0.0 1.0)" in text


def test_a_plane_that_the_lattice_has_not_is_refused(stores: dict[str, Path]) -> None:
    with pytest.raises(RequestError, match="layer is out of range"):
        snapshot_map(open_sweep(stores["fcc"]), at={"w": 0.3}, layer=99)


def test_labels_of_many_classes_are_short_and_not_all_drawn(stores: dict[str, Path]) -> None:
    labels = open_sweep(stores["directed"])["label"].values.tolist()
    short, meaning = short_labels(labels)
    assert len(set(short)) == len(labels) == 128
    assert max(map(len, short)) == 8
    assert label_step(short) == 2
    assert meaning == "centre | neighbours"


def test_phases_refuse_lattices_with_different_sizes(stores: dict[str, Path]) -> None:
    ds = open_sweep(stores["directed"])
    with pytest.raises(RequestError, match="one size along all axes"):
        ordering(ds)
    with pytest.raises(RequestError, match="one size along all axes"):
        binder_crossing([ds, ds])


CELLS = np.indices((4, 4)).sum(axis=0).ravel()


def arranged(lattice: Lattice, species: Any, held: Any) -> Waves:
    """Structure factors of one arrangement of all replicas."""
    numbers = np.broadcast_to(np.asarray(species, np.uint64), (lattice.sites,))
    planes = [numbers >> np.uint64(bit) & np.uint64(1) for bit in range(2)]
    return waves_of(np.stack(planes) * np.uint64(2**64 - 1), lattice, held)


def test_three_species_in_rows_are_a_pattern() -> None:
    lattice = triangular(6)
    rows = np.indices((6, 6))[0].ravel() % 3
    waves = arranged(lattice, rows, (THREE,))
    assert waves.wave_vector(waves.strongest) == (Fraction(0), Fraction(1, 3))
    # The two waves ±k of the rows are of a star of six.
    assert waves.by_star[0, waves.strongest] == pytest.approx(36 / 6)
    assert waves.estimates(waves.strongest)["order_share"][0] == pytest.approx(1.0)
    assert np.allclose(waves.variance, 1)


def test_a_sublattice_with_other_species_is_no_order() -> None:
    lattice = LATTICES["two"]
    held = (("La", "Ca"), ("vacancy", "O"))
    every = np.tile([1, 0], 16)
    assert np.allclose(arranged(lattice, every, held).by_star, 0)
    checkers = np.stack([CELLS % 2, np.zeros(16)], axis=1).ravel()
    waves = arranged(lattice, checkers, held)
    assert waves.wave_vector(waves.strongest) == (Fraction(1, 2), Fraction(1, 2))
    assert waves.estimates(waves.strongest)["structure_factor"][0] == pytest.approx(8.0)
    assert np.allclose(waves.variance, 0.5)


def test_diagrams_over_a_chemical_potential_and_of_a_crystal() -> None:
    gas = LatticeGas("semi_grand", w1=-1.0)
    grid = {"mu_atom": [-2.0], "T": [0.1, 0.3, 2.0]}
    sweep = Sweep(crystal(6, np.eye(2)), gas, grid, Schedule(30, 10, 2))
    diagram = phase_diagram(sweep)
    assert diagram.boundary.dims == ("mu_atom",)
    assert diagram.attrs["lattice"] == "crystal"
    chain = Sweep(Lattice("chain", 8), gas, {"T": [0.1, 0.3, 2.0]}, Schedule(4, 2, 1))
    assert phase_diagram(chain).boundary_method.item() == "no order found"


def test_a_diagram_is_drawn_at_the_value_of_the_command_line(tmp_path: Path) -> None:
    grid = {"J": [0.5, 1.0], "T": [0.5, 1.0, 2.0]}
    sweep = Sweep(kagome(4), Potts(3), grid, Schedule(10, 4, 1), keep=["spins"])
    run(sweep, tmp_path / "potts.zarr", progress=False, cluster="inline")
    refused = latticescape("phase-diagram", tmp_path / "potts.zarr")
    assert refused.exit_code == 2
    assert "--at J=0.5" in refused.output
    done = json_of("phase-diagram", tmp_path / "potts.zarr", "--at", "J=1")
    assert done["at_J"] == 1.0


def test_structure_factors_are_known_on_fcc(stores: dict[str, Path]) -> None:
    order: xr.Dataset = ordering(open_sweep(stores["fcc"]))
    assert np.isfinite(order.structure_factor.isel(peak=0)).all()


@pytest.mark.parametrize(
    ("kind", "letter", "members"),
    [("fcc", "X", 3), ("fcc", "L", 4), ("bcc", "H", 1), ("bcc", "N", 6), ("kagome", "K", 2),
     ("kagome", "M", 3), ("diamond", "X", 3)],
)  # fmt: skip
def test_stars_have_the_members_of_textbooks(kind: str, letter: str, members: int) -> None:
    lattice, k = Lattice(kind, 6), SPECIAL[kind][letter]
    stars = stars_of(lattice)
    assert stars.members[stars.number[tuple(int(6 * h) for h in k)]] == members
    assert name_of(lattice, k).startswith(letter)


def test_compositions_are_stored_by_species_and_sublattice(stores: dict[str, Path]) -> None:
    three, two = (open_sweep(stores[name]).composition for name in ("kagome", "two"))
    assert three.dims == ("w", "species")
    assert three.sel(w=0.3, species=["A", "B", "C"]).values.tolist() == [0.5, 0.25, 0.25]
    assert two.dims == ("w", "x_A", "sublattice", "species")
    assert two.sel(w=0.3, x_A=0.5, species="Ca").values.tolist() == [
        0.5,
        pytest.approx(np.nan, nan_ok=True),
    ]
    assert two.sel(w=0.3, x_A=0.5, sublattice="B", species="O") == 0.25


def test_images_are_compared_at_the_composition_of_each_sublattice(
    stores: dict[str, Path],
) -> None:
    ds = open_sweep(stores["two"]).compute()
    classes = classes_of(ds)
    seen = {str(x): ds.histogram.sel(w=0.3, x_A=x).values for x in (0.25, 0.5)}
    observed = counts_dataset(seen, classes)
    assert observed.composition.sel(image="0.5", sublattice="A", species="Ca") == 0.5
    surface = landscape(ds, observed)
    assert surface.s2.dims == ("image", "w")
    assert np.allclose(surface.s2.sel(w=0.3), 0, atol=1e-12)
    assert surface.attrs["fixed_composition"] == 1
    here = images_of_composition(observed, ds, {"w": 0.3, "x_A": 0.5})
    assert here.image.values.tolist() == ["0.5"]
    oxygen = np.array([label.startswith("B1: O") for label in classes.labels])
    other = counts_dataset({"more": seen["0.5"] * (1 + oxygen)}, classes)
    with pytest.raises(RequestError, match=r"x_B = 0\.40000.*allowed: x_B = 0\.25.*in \[model\]"):
        landscape(ds, other)


def test_images_of_three_species_are_checked(stores: dict[str, Path]) -> None:
    ds = open_sweep(stores["kagome"]).compute()
    classes = classes_of(ds)
    seen = ds.histogram.sel(w=0.3).values
    assert np.isclose(landscape(ds, counts_dataset({"own": seen}, classes)).s2.sel(w=0.3), 0)
    turned = np.array([label.startswith("C") for label in classes.labels])
    with pytest.raises(RequestError, match=r"x_B = 0\.2.*x_B = 0\.25"):
        landscape(ds, counts_dataset({"other": seen * (1 + turned)}, classes))
