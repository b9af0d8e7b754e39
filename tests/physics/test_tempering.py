"""Parallel tempering: ladders from the grid, exact at every temperature, the same bits any way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    RequestError,
    Samples,
    Schedule,
    sample,
    square,
    triangular,
)
from latticescape.physics.exact.enumeration import enumerate_states
from latticescape.physics.kernels.batches import Ladder
from latticescape.physics.kernels.kernel import complete, ladders_of
from latticescape.physics.kernels.observables import observe
from latticescape.sweeps import Sweep, plan, run
from tests.support.statistics import Deviation, root_mean_square, seed_of

TEMPERATURES = np.array([1.6, 1.9, 2.2, 2.6, 3.0, 3.6, 4.4, 5.4, 6.6])


def tempered(equilibration: int, samples: int, stride: int, every: int = 4, update: str = "local"):
    return Schedule(equilibration, samples, stride, update=update, tempering_mcs=every)


def sampled(points: list[tuple[float, float]], kernel: str | None, update: str) -> Samples:
    axes = {"T": np.array([T for T, _ in points]), "J2": np.array([J2 for _, J2 in points])}
    seeds = np.stack([seed_of(1, round(10 * T), round(10 * J2)) for T, J2 in points])
    schedule = tempered(3, 5, 3, every=2, update=update)
    return sample(Ising(), square(4), axes, schedule, seeds, kernel=kernel)


@pytest.mark.parametrize(
    ("kernel", "update"), [("lanes", "local"), ("reference", "local"), (None, "cluster")]
)
def test_law_1_ladders_and_their_order_change_no_bit(kernel: str | None, update: str) -> None:
    points = [(T, J2) for T in TEMPERATURES for J2 in (0.0, 0.2)]
    whole = sampled(points, kernel, update)
    order = np.random.default_rng(2).permutation(len(points))
    mixed = sampled([points[k] for k in order], kernel, update)
    alone = sampled([p for p in points if p[1] == 0.2], kernel, update)
    chosen = [k for k, p in enumerate(points) if p[1] == 0.2]
    for name in ("feature_sum", "moment_sum", "histogram", "swaps_attempted", "swaps_accepted"):
        values = getattr(whole, name)
        assert getattr(mixed, name).tobytes() == values[order].tobytes(), name
        assert getattr(alone, name).tobytes() == values[chosen].tobytes(), name
    assert whole.swaps_accepted.sum() > 0


def test_law_1_blocks_keep_ladders_whole(tmp_path: Path) -> None:
    # Demons without a field, heat bath with one.
    schedule = replace(tempered(5, 4, 2, every=2), demon_period=2)
    grid = {"T": TEMPERATURES[:5], "H": [0.0, 0.1, 0.2]}
    sweep = Sweep(square(4), Ising(), grid, schedule, seed=3)
    assert plan(sweep, block_points=1).block_shape == (5, 1)
    assert plan(sweep, block_points=10).block_shape == (5, 2)
    one = run(sweep, tmp_path / "one.zarr", block_points=1, progress=False).load()
    all_at_once = run(sweep, tmp_path / "all.zarr", block_points=15, progress=False).load()
    xr.testing.assert_identical(
        one.drop_vars(["attempts"], errors="ignore").drop_attrs(),
        all_at_once.drop_vars(["attempts"], errors="ignore").drop_attrs(),
    )
    assert np.isnan(one.tempering_acceptance.isel(T=-1)).all()
    inner = one.tempering_acceptance.isel(T=slice(None, -1))
    assert bool(((inner > 0) & (inner <= 1)).all())
    assert bool((one.tempering_acceptance_se.isel(T=slice(None, -1)) > 0).all())


def test_without_it_points_do_not_feel_each_other() -> None:
    assert ladders_of({"T": np.array([2.0, 1.0]), "H": np.array([0.0, 1.0])}) == [[0], [1]]
    axes, seeds = {"T": TEMPERATURES}, np.stack([seed_of(4, k) for k in range(9)])
    off = sample(Ising(), square(4), axes, Schedule(3, 4, 2), seeds)
    on = sample(Ising(), square(4), axes, tempered(3, 4, 2), seeds)
    assert off.swaps_attempted.sum() == 0
    assert off.moment_sum.tobytes() != on.moment_sum.tobytes()


def test_swaps_follow_the_rule() -> None:
    """Accepted always where the colder point has the higher energy, else exp(Δβ ΔE) of them."""
    ladder = Ladder(
        [0, 1, 2], np.array([1.0, 2.0, 4.0]), np.stack([seed_of(5, k) for k in range(3)])
    )
    energies = np.stack([np.full(64, -10.0), np.full(64, -8.0), np.full(64, -9.0)])
    turns = [list(ladder.swaps(energies, counted=True)) for _ in range(400)]
    assert [[pair[:2] for pair in turn] for turn in turns[:2]] == [[(0, 1)], [(1, 2)]]
    assert all(turn[0][2].all() for turn in turns[1::2])
    share, expected = ladder.accepted[0].sum() / (200 * 64), np.exp(-0.5 * 2.0)
    assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / (200 * 64))
    assert ladder.attempted.tolist() == [200, 200, 0]


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize(
    ("model", "lattice", "kernel", "update"),
    [
        (Ising(), square(4), "lanes", "local"),
        (Ising(), square(4), "reference", "local"),
        (Ising(), square(4), None, "cluster"),
        (Ising(H=0.3), triangular(4), "lanes", "local"),
        (PairAlloy(x=0.5, w1=1.0, w2=-0.4), triangular(4), "lanes", "local"),
        (PairAlloy(x=0.5, w1=1.0, w2=-0.4), square(4), "reference", "local"),
    ],
)
def test_law_2_every_temperature_stays_exact(
    model: Model, lattice: Lattice, kernel: str | None, update: str
) -> None:
    found = deviations(model, lattice, kernel, update)
    z = [deviation.z for deviation in found]
    assert len(z) >= 18
    assert max(map(abs, z)) < 5, found
    assert root_mean_square(z) < 1.5
    wrong = deviations(model, lattice, kernel, update, factor=1.1)
    assert max(abs(deviation.z) for deviation in wrong) > 5


def deviations(
    model: Model, lattice: Lattice, kernel: str | None, update: str, factor: float = 1.0
) -> list[Deviation]:
    axes = {"T": TEMPERATURES * factor}
    seeds = np.stack([seed_of(6, k) for k in range(len(TEMPERATURES))])
    schedule = tempered(100, 200, 4, update=update)
    sums = sample(model, lattice, axes, schedule, seeds, kernel=kernel)
    full = complete(model, axes, len(seeds))
    found = observe(sums, model.coefficients(full, sums.features), axes["T"])
    ones = None if model.move == "single_flip" else lattice.sites // 2
    states = enumerate_states(
        lattice, type(model)(), used=frozenset(model.fixed_parameters) | {"T"}, n_species1=ones
    )
    exact = [states.expect(**{**model.fixed({"T"}), "T": float(T)}) for T in TEMPERATURES]
    return [
        Deviation(
            f"{name} {k}",
            float(found[name][k]),
            float(exact[k][name]),
            float(found[f"{name}_se"][k]),
        )
        for name in ("energy", "heat_capacity")
        for k in range(len(TEMPERATURES))
    ]


def test_one_temperature_is_no_ladder() -> None:
    with pytest.raises(RequestError, match="at least two temperatures"):
        Sweep(square(4), Ising(T=2.0), {"H": [0.0, 1.0]}, tempered(1, 2, 1))
