"""Expansions of smol have the energies that smol predicts."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latticescape.physics import RequestError, expansion_from_smol
from tests.support.expansions import energies

# Written by smol 0.5.7: binary bcc with triplets, and rock salt with two and three species on its
# sublattices, with random coefficients; and smol's energies of random arrangements.
RECORDED = json.loads((Path(__file__).parent / "smol_expansions.json").read_text())


@dataclass
class Orbit:
    """As much of a smol ``Orbit`` as is read."""

    of: dict[str, Any]

    @property
    def multiplicity(self) -> int:
        return int(self.of["multiplicity"])

    @property
    def clusters(self) -> list[Any]:
        return [SimpleNamespace(frac_coords=np.array(coords)) for coords in self.of["clusters"]]

    @property
    def base_cluster(self) -> Any:
        return SimpleNamespace(frac_coords=np.array(self.of["base"]))

    @property
    def site_bases(self) -> list[Any]:
        return [SimpleNamespace(site_space=dict.fromkeys(names)) for names in self.of["species"]]

    @property
    def correlation_tensors(self) -> Any:
        return np.array(self.of["tensors"])


def recorded(of: dict[str, Any], external: list[Any] | None = None) -> Any:
    """As much of a smol ``ClusterExpansion`` as is read."""

    class Structure(list[Any]):
        frac_coords = np.array(of["frac"])
        lattice = SimpleNamespace(matrix=np.array(of["matrix"]))

    structure = Structure(SimpleNamespace(species=dict.fromkeys(names)) for names in of["sites"])
    space = SimpleNamespace(
        structure=structure,
        orbits=[Orbit(each) for each in of["orbits"]],
        external_terms=external or [],
    )
    return SimpleNamespace(cluster_subspace=space, coefs=np.array(of["coefs"]))


@pytest.mark.parametrize("name", RECORDED)
def test_energies_are_those_of_smol(name: str) -> None:
    of = RECORDED[name]
    lattice, model = expansion_from_smol(recorded(of), of["size"])
    found = energies(lattice, model, of["arrangements"])
    assert found == pytest.approx(of["energies"], rel=1e-9)


def test_what_is_no_sum_over_clusters_is_refused() -> None:
    of = next(iter(RECORDED.values()))
    with pytest.raises(RequestError, match="not a cluster expansion of smol"):
        expansion_from_smol("expansion.mson", 4)
    with pytest.raises(RequestError, match="external terms"):
        expansion_from_smol(recorded(of, [SimpleNamespace()]), 3)
    with pytest.raises(RequestError, match=r"no such parameter .*J_99"):
        expansion_from_smol(recorded(of), 3, free=["J_99"])
    pairs = {**of, "orbits": [{**each, "multiplicity": 5} for each in of["orbits"]]}
    with pytest.raises(RequestError, match="symmetry of its structure"):
        expansion_from_smol(recorded(pairs), 3)
