"""Expansions of icet have the energies that icet predicts."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latticescape import Schedule
from latticescape.physics import RequestError, expansion_from_icet
from latticescape.physics.lattices.site_classes import ClassChoice
from latticescape.physics.registry import kernel_for
from tests.support.expansions import energies
from tests.support.statistics import seeds_of

pytest.importorskip("ase")

# Written by icet 4.0: a ternary fcc alloy with pairs and triplets, and rock salt with two and three
# species on its sublattices, with random parameters; and icet's energies of random arrangements.
RECORDED = json.loads((Path(__file__).parent / "icet_expansions.json").read_text())


@dataclass
class Recorded:
    """As much of an icet ``ClusterExpansion`` and its ``ClusterSpace`` as is read."""

    of: dict[str, Any]

    @property
    def parameters(self) -> list[float]:
        return list(self.of["parameters"])

    def get_cluster_space_copy(self) -> "Recorded":
        return self

    @property
    def primitive_structure(self) -> Any:
        from ase import Atoms

        symbols = ["X"] * len(self.of["scaled"])
        return Atoms(symbols, scaled_positions=self.of["scaled"], cell=self.of["cell"], pbc=True)

    @property
    def species_maps(self) -> list[dict[int, int]]:
        return [{int(k): v for k, v in numbers.items()} for numbers in self.of["species_maps"]]

    def evaluate_cluster_function(self, species: int, function: int, kind: int) -> float:
        return float(self.of["functions"][str(species)][function][kind])

    @property
    def orbit_list(self) -> "Recorded":
        return self

    def __len__(self) -> int:
        return len(self.of["orbits"])

    def get_orbit(self, index: int) -> Any:
        return Orbit(self.of["orbits"][index])


class Orbit:
    def __init__(self, of: dict[str, Any]) -> None:
        self.of, self.cluster_vector_elements = of, of["elements"]
        self.representative_cluster = SimpleNamespace(
            lattice_sites=[
                SimpleNamespace(unitcell_offset=row[:3], index=row[3]) for row in of["sites"]
            ]
        )

    def __len__(self) -> int:
        return int(self.of["multiplicity"])


@pytest.mark.parametrize("name", RECORDED)
def test_energies_are_those_of_icet(name: str) -> None:
    recorded = RECORDED[name]
    lattice, model = expansion_from_icet(Recorded(recorded), recorded["size"])
    found = energies(lattice, model, recorded["arrangements"])
    assert found == pytest.approx(recorded["energies"], rel=1e-9)


def test_parameters_may_be_left_free() -> None:
    lattice, model = expansion_from_icet(
        Recorded(RECORDED["ternary_fcc"]), 3, free=["J_3"], x_Pd=9 / 27, x_Au=9 / 27, T=2.0
    )
    kernel = kernel_for(lattice, model, Schedule(5, 5, 1), ("J_3",), (), ClassChoice("counts"))
    results = kernel.compute({"J_3": np.array([0.0, 0.5])}, seeds_of(1, points=2))
    assert np.isfinite(results["energy"]).all()
    assert results["energy"][0] != results["energy"][1]


def test_what_is_no_expansion_is_refused() -> None:
    with pytest.raises(RequestError, match="not a cluster expansion of icet"):
        expansion_from_icet("expansion.ce", 4)
    with pytest.raises(RequestError, match=r"no such parameter .*J_99"):
        expansion_from_icet(Recorded(RECORDED["ternary_fcc"]), 3, free=["J_99"])
