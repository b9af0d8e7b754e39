"""The interacting solid solution: held against enumeration, and what of it can be known."""

import numpy as np
import pytest
import xarray as xr

from latticescape.analysis import fit, landscape
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.physics import (
    PairAlloy,
    RequestError,
    Schedule,
    SolidSolution,
    configurations,
    square,
)
from latticescape.physics.exact.enumeration import enumerate_states
from latticescape.physics.kernels.lattice_kernel import LatticeKernel
from latticescape.sweeps import Sweep
from tests.support.statistics import Deviation, deviations, root_mean_square, seed_of, seeds_of

SCHEDULE = Schedule(equilibration_mcs=100, samples=250, stride_mcs=4)
CLOSED = SolidSolution(w_0=0.35, w_m1=-0.2, w_1=0.3)
OPEN = SolidSolution(w_0=0.35, w_m1=-0.2, w_1=0.3, ensemble="semi_grand")
CASES = [
    (CLOSED, {"x": 0.5}),
    (CLOSED, {"x": 0.25, "T": 0.7}),
    (OPEN, {"dmu": 1.0}),
    (OPEN, {"dmu": 0.4, "T": 2.0}),
]

SPEC = """
[lattice]
kind = "square"
size = 4
[model]
kind = "solid_solution"
w_m1 = 0.0
w_1 = 0.1
[grid]
x = [0.25, 0.5]
w_0 = [-0.1, 0.1]
[schedule]
equilibration_mcs = 20
samples = 10
stride_mcs = 2
"""


def compared(factor: float = 1.0) -> list[Deviation]:
    """All cases by lanes and reference, against every arrangement of 4×4 sites."""
    found = []
    for number, (model, point) in enumerate(CASES):
        states = enumerate_states(square(4), SolidSolution(ensemble=model.ensemble))
        wrong = factor * point.get("T", 1.0)
        for place, kernel in enumerate(("lanes", "reference")):
            seed = seed_of(11, number, place)
            reported = {"T": 1.0, **point}
            found += deviations(
                model, square(4), reported, SCHEDULE, states, seed, simulated_T=wrong, kernel=kernel
            )
    return found


def computed(model: SolidSolution, grid: dict[str, np.ndarray], schedule: Schedule) -> xr.Dataset:
    """A small sweep on 16×16 sites, computed here."""
    kernel = LatticeKernel(square(16), model, schedule, tuple(grid))
    places = [axis.ravel() for axis in np.meshgrid(*grid.values(), indexing="ij")]
    axes = dict(zip(grid, places, strict=True))
    found = kernel.compute(axes, seeds_of(12, points=len(places[0])))
    shape = tuple(len(axis) for axis in grid.values())
    variables = {
        v.name: ((*grid, *v.dims), found[v.name].reshape(*shape, *found[v.name].shape[1:]))
        for v in kernel.variables
    }
    coordinates = {name: (dim, values) for name, (dim, values, _) in kernel.coordinates.items()}
    return xr.Dataset(variables, {**coordinates, **grid})


def image(model: SolidSolution, point: dict[str, float], samples: int = 8) -> xr.Dataset:
    """Counts of a simulated image, as many as so many lattices hold."""
    kernel = LatticeKernel(square(16), model, Schedule(500, samples, 50), tuple(point))
    seeds = seeds_of(13, points=1)
    counts = kernel.compute({n: np.array([v]) for n, v in point.items()}, seeds)
    return counts_dataset({"one": counts["histogram_replica"][0, 0]}, configurations("square"))


@pytest.mark.statistical
def test_both_ensembles_agree_with_enumeration_in_lanes_and_reference() -> None:
    z = [deviation.z for deviation in compared()]
    print(f"{len(z)} values, rms z {root_mean_square(z):.3f}, worst {max(map(abs, z)):.2f}")
    assert len(z) > 100
    assert max(map(abs, z)) < 5
    assert 0.8 < root_mean_square(z) < 1.2


@pytest.mark.statistical
def test_a_temperature_off_by_ten_percent_fails() -> None:
    assert max(abs(deviation.z) for deviation in compared(factor=1.1)) > 5


def test_only_one_combination_acts_at_fixed_composition() -> None:
    """The pair alloy at w1 = w_0 − (w_1 + w_m1)/2 has the same bits, but for the energy."""
    seeds, swept = seeds_of(14, points=1), {"x": np.array([0.25])}
    one = LatticeKernel(square(8), CLOSED, SCHEDULE, ("x",))
    other = LatticeKernel(square(8), PairAlloy(w1=0.35 - (0.3 - 0.2) / 2), SCHEDULE, ("x",))
    a, b = one.compute(swept, seeds), other.compute(swept, seeds)
    assert np.array_equal(a["histogram_replica"], b["histogram_replica"])
    n = 16
    assert np.allclose(2 * a["features"][0, :, 2] + a["features"][0, :, 0], 4 * n)


def test_the_landscape_is_flat_along_two_directions_and_the_fit_names_them() -> None:
    axes = {name: np.linspace(-0.2, 0.4, 5) for name in ("w_0", "w_m1", "w_1")}
    surface = landscape(
        computed(SolidSolution(x=0.5), axes, Schedule(200, 60, 10)),
        image(SolidSolution(w_0=0.25, w_m1=0.1, w_1=0.0), {"x": 0.5}),
    )
    result = fit(surface)
    assert len(result.flat) == 2
    identifiable = np.array([1.0, -0.5, -0.5])
    for flat in result.flat:
        along = np.array([flat.direction[name] for name in axes])
        assert abs(identifiable @ along) < 0.15 * np.linalg.norm(along)
        assert flat.rise < 3.84
        assert "at fixed composition" in flat.sentence
    best = np.array([result.parameters[name][0] for name in axes])
    error = np.sqrt(identifiable @ result.covariance @ identifiable)
    assert abs(identifiable @ best - 0.2) < 4 * error < 0.4
    assert all(result.parameters[name][1] > 0.1 for name in axes)


def test_a_floating_composition_tells_like_pairs_apart() -> None:
    """What is left is one energy added to every pair: there are always as many pairs."""
    axes = {name: np.linspace(-0.2, 0.4, 5) for name in ("w_0", "w_m1", "w_1")}
    model = SolidSolution(dmu=0.3, ensemble="semi_grand")
    observed = image(model, {"w_0": 0.2, "w_m1": 0.1, "w_1": 0.0}, samples=20)
    result = fit(landscape(computed(model, axes, Schedule(200, 60, 10)), observed))
    assert len(result.flat) == 1
    along = np.array([result.flat[0].direction[name] for name in axes])
    assert np.abs(along / along[0] - 1).max() < 0.15
    assert "at fixed composition" not in result.flat[0].sentence
    best = np.array([result.parameters[name][0] for name in axes])
    for combination, truth in (([1.0, -0.5, -0.5], 0.15), ([0.0, 1.0, -1.0], 0.1)):
        error = np.sqrt(np.array(combination) @ result.covariance @ np.array(combination))
        assert abs(np.array(combination) @ best - truth) < 4 * error < 0.4


def test_a_spec_is_read_both_ways() -> None:
    sweep = Sweep.from_toml(SPEC)
    assert Sweep.from_toml(sweep.to_toml()).digest == sweep.digest
    opened = Sweep.from_toml(
        SPEC.replace("w_1 = 0.1", 'w_1 = 0.1\nensemble = "semi_grand"').replace("x = [", "dmu = [")
    )
    assert opened.model.move == "single_flip"
    assert opened.kernel.name == sweep.kernel.name == "lanes"
    assert Sweep.from_toml(opened.to_toml()).digest == opened.digest != sweep.digest


@pytest.mark.parametrize(
    ("model", "swept", "reported"),
    [
        (CLOSED, {"dmu"}, "dmu is not a parameter of the ensemble"),
        (OPEN, {"x"}, "x is not a parameter of the ensemble"),
        (CLOSED, set(), "the model solid_solution needs the parameter x"),
    ],
)
def test_an_ensemble_has_its_own_parameter(
    model: SolidSolution, swept: set[str], reported: str
) -> None:
    with pytest.raises(RequestError, match=reported):
        model.fixed(swept)


def test_an_unknown_ensemble_is_refused() -> None:
    with pytest.raises(RequestError, match=r'canonical" \| "semi_grand'):
        SolidSolution(ensemble="grand")
