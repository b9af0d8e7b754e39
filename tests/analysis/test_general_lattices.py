"""Pictures, pages, lists and phases of sweeps on lattices of any kind and with any species."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from latticescape.analysis import binder_crossing, ordering
from latticescape.analysis.app.browser import Browser
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.view import Shown, Sources
from latticescape.analysis.plots import configuration_chart, snapshot_map, variable_map
from latticescape.analysis.plots.values import label_step, layers, short_labels
from latticescape.physics import RequestError, Schedule
from latticescape.physics.lattices.lattice import Lattice, fcc, kagome, rectangular, triangular
from latticescape.physics.models.cluster_expansion import ClusterExpansion, Term
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
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: Any) -> dict[str, Path]:
    folder, paths = tmp_path_factory.mktemp("general"), {}
    for name, lattice in LATTICES.items():
        several = name == "kagome"
        species = THREE if several else THREE[:2]
        fractions = {"x_B": 0.25, "x_C": 0.25} if several else {"x": 0.25}
        model = ClusterExpansion(species, {"w": Term(pair=1)}, **fractions)
        classes = "translations" if name == "directed" else "point_group"
        sweep = Sweep(
            lattice, model, {"w": [0.0, 0.3]}, Schedule(4, 2, 1), keep=["spins"], classes=classes
        )
        paths[name] = folder / f"{name}.zarr"
        run(sweep, paths[name], progress=False, cluster="inline")
    return paths


@pytest.mark.parametrize("name", LATTICES)
def test_a_store_is_drawn_and_browsed(stores: dict[str, Path], name: str) -> None:
    ds = open_sweep(stores[name])
    bars = configuration_chart(ds, at={"w": 0.3})
    assert len(bars.get(0)) == ds.sizes["configuration"]
    variable_map(ds, "energy")
    last = layers(LATTICES[name]) - 1
    image = snapshot_map(ds, at={"w": 0.3}, layer=last).dimension_values("species")
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
    with pytest.raises(RequestError, match="two species only"):
        ordering(open_sweep(stores["kagome"]))


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
    assert name_of(kind, k).startswith(letter)
