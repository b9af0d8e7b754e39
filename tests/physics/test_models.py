"""Models: a kernel sees the energy change of the whole lattice; features obey identities."""

import numpy as np
import pytest

from latticescape.physics import (
    Ising,
    Model,
    PairAlloy,
    RequestError,
    ThreeBodyAlloy,
    configurations,
)
from latticescape.physics.kernels.kernel import Schedule, complete
from latticescape.physics.kernels.lattice_kernel import parameters_used, sample
from latticescape.physics.kernels.reference import (
    clusters_of,
    draw_arrangement,
    energy_steps_of,
    measure_features,
    rise,
    touching,
)
from latticescape.physics.lattices.lattice import LATTICES, Lattice, square, triangular
from latticescape.physics.models.model import REPLICAS, features_of

MODELS = [
    (Ising(T=1.0, J=1.3, J2=-0.4, J3=0.2, H=0.3, mu=0.67), "square"),
    (Ising(T=1.0, J=1.0, J2=0.5), "honeycomb"),
    (Ising(T=1.0, H=-0.2), "cubic"),
    (PairAlloy(x=0.5, w1=-0.3, w2=0.2), "triangular"),
    (PairAlloy(x=0.5, w1=-0.3, w2=0.2), "cubic"),
    (ThreeBodyAlloy(x=0.5, w1=-0.27, w2=-0.1), "triangular"),
]


def recounted(model: Model, lattice: Lattice, spins: np.ndarray) -> float:
    """Energy by going through every orbit in plain NumPy."""
    energy = 0.0
    points = complete(model, {}, 1)
    for orbit in model.orbits(lattice, parameters_used(model, {})):
        ones = spins[orbit.clusters].sum(axis=1)
        for name, values in orbit.values.items():
            coupling = float(model.coefficients(points, (name,))[0, 0])
            energy += coupling * float(np.sum(np.asarray(values)[ones]))
    return energy


@pytest.mark.parametrize(("model", "kind"), MODELS)
@pytest.mark.parametrize("size", [3, 5])
def test_the_rise_of_one_site_is_the_energy_change_of_the_whole_lattice(
    model: Model, kind: str, size: int
) -> None:
    lattice = LATTICES[kind](size)
    orbits = model.orbits(lattice, parameters_used(model, {}))
    clusters = clusters_of(orbits)
    couplings = model.coefficients(complete(model, {}, 1), features_of(orbits))[0]
    jumps = energy_steps_of(clusters, couplings)
    table = touching(clusters, lattice.sites, np.any(jumps != 0, axis=1))
    spins = np.random.default_rng(size).integers(0, 2, lattice.sites).astype(np.uint8)
    for site in range(0, lattice.sites, 3):
        up, down = spins.copy(), spins.copy()
        up[site], down[site] = 1, 0
        expected = recounted(model, lattice, up) - recounted(model, lattice, down)
        assert rise(site, spins, table, jumps) == pytest.approx(expected, abs=1e-9)


def test_unlike_bonds_are_the_mixed_triangles() -> None:
    """u1 = t1 + t2, and t1 + 2 t2 + 3 t3 = 6 n."""
    lattice = triangular(6)
    spins = np.random.default_rng(3).integers(0, 2, lattice.sites).astype(np.uint8)
    unlike, triangles = np.zeros(2, np.int64), np.zeros(2, np.int64)
    measure_features(spins, clusters_of(PairAlloy().orbits(lattice, ())), unlike)
    measure_features(spins, clusters_of(ThreeBodyAlloy().orbits(lattice, ())), triangles)
    full = int((spins[lattice.triangles].sum(axis=1) == 3).sum())
    assert unlike[0] == triangles.sum()
    assert triangles[0] + 2 * triangles[1] + 3 * full == 6 * int(spins.sum())


def test_the_composition_is_kept_exactly_in_every_replica() -> None:
    lattice = triangular(6)
    seeds = np.arange(8, dtype=np.uint64).reshape(2, 4)
    sums = sample(PairAlloy(w1=-0.4), lattice, {"x": [0.25, 11 / 36]}, Schedule(20, 10, 1), seeds)
    ones = sums.histogram @ configurations("triangular").centre
    assert np.array_equal(ones, np.repeat([[9 * 10], [11 * 10]], REPLICAS, axis=1))


@pytest.mark.parametrize("ones", [0, 1, 17, 35, 36])
def test_an_arrangement_holds_as_many_ones_as_asked(ones: int) -> None:
    spins, state = np.empty(36, np.uint8), np.arange(1, 5, dtype=np.uint64)
    draw_arrangement(spins, state, ones)
    assert spins.sum() == ones


def test_ferromagnets_start_along_the_field_and_half_each_way_without_others_in_all_ways() -> None:
    model = Ising()
    points = complete(model, {"T": [1.0, 1.0, 1.0], "H": [0.0, 0.1, -0.1]}, 3)
    start = model.start(points, square(4))
    assert start[0].mean() == 0.5
    assert set(start[0]) == {0.0, 1.0}
    assert np.all(start[1] == 1)
    assert np.all(start[2] == 0)
    glass = Ising(bonds={"distribution": "normal", "mean": 0.5, "sd": 1.0}, realisation=0)
    for other in (Ising(J=-1.0), glass):
        starts = other.start(complete(other, {"T": [1.0]}, 1), square(4))
        assert [np.sum(starts == up) for up in (0.0, 0.5, 1.0)] == [16, 32, 16]
    ferromagnet = Ising(bonds={"distribution": "normal", "mean": 1.0, "sd": 0.4}, realisation=0)
    starts = ferromagnet.start(complete(ferromagnet, {"T": [1.0]}, 1), square(4))
    assert set(starts.ravel()) == {0.0, 1.0}


def test_a_composition_is_rounded_to_whole_atoms_or_refused() -> None:
    model = PairAlloy(w1=0.0)
    points = complete(model, {"x": [0.59657, 0.5967]}, 2)
    assert (points["x"] * 48**2).tolist() == pytest.approx([1374.497, 1374.797], abs=1e-3)
    assert model.n_species1(points, triangular(48)).tolist() == [1374, 1375]
    with pytest.raises(RequestError, match=r"within 0\.01"):
        model.n_species1(points, triangular(3))


def test_a_parameter_is_fixed_or_swept_and_defaults_fill_the_rest() -> None:
    assert Ising().fixed({"T", "H"}) == {"J": 1.0, "J2": 0.0, "J3": 0.0, "mu": 1.0}
    assert PairAlloy(w1=0.1).fixed({"x"}) == {"T": 1.0, "w1": 0.1, "w2": 0.0}
    with pytest.raises(RequestError, match="the model ising needs the parameter T"):
        Ising().fixed({"H"})
    with pytest.raises(RequestError, match="both fixed"):
        Ising(T=1.0).fixed({"T"})
