"""A point that goes on from its restart has the bits of one that ran at once."""

import numpy as np
import pytest

from latticescape import (
    Adatoms,
    Ising,
    PairAlloy,
    Schedule,
    SegregationSlab,
    Sweep,
    ThreeBodyAlloy,
    cubic,
    honeycomb,
    slab,
    square,
    triangular,
)
from latticescape.physics.kernels.lattice_kernel import sample
from latticescape.physics.kernels.restart import (
    MOST_CHECKPOINTS,
    Progress,
    checkpoints,
    first_half,
    grouped,
    progress_of,
)

SEGREGATION = SegregationSlab(w_CL=1.65, w_LL=6.28, w_LO=-7.57)
STEPPED = Adatoms(E_b=0.3, adatoms=5, w=0.05, eps=[0.0, 0.05], pattern=[[0, 1]])
NORMAL = {"distribution": "normal", "mean": 1.0, "sd": 0.2, "seed": 1}
SIGNS = {"distribution": "bimodal", "negative": 0.5, "seed": 1}
T, WIDE = [2.0, 2.5, 3.0], list(np.linspace(1.5, 3.5, 11))

CASES = {
    "single flips": (square(8), Ising(), {"T": WIDE, "H": [0.0, 0.1]}, {}),
    "demons": (square(7), Ising(), {"T": T, "H": [0.0, 0.1]}, {"rule": "demon"}),
    "some demons": (square(7), Ising(), {"T": T, "H": [0.0, 0.1]}, {"demon_period": 3}),
    "metropolis": (
        honeycomb(4),
        Ising(J=[1.0, 0.2, -0.1]),
        {"T": T, "H": [0.0, 0.1]},
        {"rule": "metropolis", "tempering_mcs": 3},
    ),
    "two shells": (honeycomb(4), Ising(J2=0.2), {"T": T}, {}),
    "pairs": (square(8), PairAlloy(w1=-0.3), {"x": [0.25, 0.5, 0.75]}, {}),
    "two shells of pairs": (triangular(6), PairAlloy(w1=-0.3, w2=0.1), {"x": [0.25, 0.5]}, {}),
    "triangles": (triangular(6), ThreeBodyAlloy(w1=0.3, w2=0.1), {"x": [0.25, 0.5]}, {}),
    "demons of pairs": (
        triangular(6),
        PairAlloy(w1=-0.3, w2=0.1),
        {"x": [0.25, 0.5]},
        {"demon_period": 3},
    ),
    "clusters": (cubic(4), Ising(), {"T": [4.0, 5.0]}, {"update": "cluster"}),
    "tempering": (
        square(8),
        Ising(),
        {"T": WIDE, "H": [0.0, 0.1]},
        {"tempering_mcs": 3, "demon_period": 3},
    ),
    "normal bonds": (square(8), Ising(bonds=NORMAL), {"T": T, "realisation": [0, 1]}, {}),
    "signs of bonds": (square(8), Ising(bonds=SIGNS), {"T": T, "realisation": [0, 1]}, {}),
    "slab": (slab(4, 3), SEGREGATION, {"T": [900.0, 1000.0]}, {}),
    "adatoms": (square(8), STEPPED, {"T": [300.0, 400.0]}, {}),
    "numbers of adatoms": (square(8), Adatoms(E_b=0.3, w=0.05), {"coverage": [0.1, 0.3]}, {}),
}


def sweep_of(case: str, equilibration: int, samples: int, **options: object) -> Sweep:
    lattice, model, grid, update = CASES[case]
    grid = {"T": [300.0], **grid} if case == "numbers of adatoms" else grid
    schedule = Schedule(equilibration, samples, 3, **update)
    return Sweep(lattice, model, grid, schedule, seed=7, **options)  # type: ignore[arg-type]


def computed(sweep: Sweep, earlier: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    points = sweep.coordinates(tuple(slice(None) for _ in sweep.shape))
    return sweep.kernel.compute(*sweep.kernel_inputs(points), earlier=earlier)  # type: ignore[call-arg]


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("case", CASES)
def test_more_samples_later_are_all_samples_at_once(case: str) -> None:
    short, whole = sweep_of(case, 10, 11), sweep_of(case, 10, 37)
    earlier = computed(short)
    assert_same(computed(whole, earlier), computed(whole))
    size = whole.kernel.sizes["restart_word"]
    assert earlier["restart"].shape == (short.points, size)


# A case of each kernel and update; the test above goes on from the samples of every model.
@pytest.mark.parametrize(
    "case", ["single flips", "some demons", "pairs", "clusters", "tempering", "slab", "adatoms"]
)
def test_a_longer_equilibration_goes_on_from_the_samples(case: str) -> None:
    # Of 10 + 11·3 steps: 100 contain them all, 20 do not.
    earlier = computed(sweep_of(case, 10, 11))
    for equilibration in (100, 20):
        whole = sweep_of(case, equilibration, 12)
        assert_same(computed(whole, earlier), computed(whole))


@pytest.mark.parametrize("case", ["single flips", "pairs", "slab", "adatoms", "tempering"])
def test_points_may_be_unequally_far(case: str) -> None:
    whole = sweep_of(case, 10, 37)
    first, second = computed(sweep_of(case, 10, 11)), computed(sweep_of(case, 10, 20))
    odd = np.arange(whole.points) % 2 == 1
    restart = np.where(odd[:, None], first["restart"], second["restart"])
    restart[0] = 0  # nothing is known of it
    assert len(grouped(restart)) == (2 if whole.points == 2 else 3)
    assert_same(computed(whole, {"restart": restart}), computed(whole))


def test_kept_samples_go_on() -> None:
    keep = {"keep": ("samples", "spins")}
    earlier = computed(sweep_of("single flips", 10, 11, **keep))
    whole = sweep_of("single flips", 10, 37, **keep)
    assert_same(computed(whole, earlier), computed(whole))


def test_the_reference_kernel_goes_on() -> None:
    seeds, points = np.arange(8, dtype=np.uint64).reshape(2, 4), {"T": [2.0, 3.0]}
    runs = {}
    for samples, earlier in ((5, None), (17, None), (17, 5)):
        before = None if earlier is None else {"restart": runs[5, None].restart}
        runs[samples, earlier] = sample(
            *(Ising(H=0.1), square(4), points, Schedule(4, samples, 2), seeds),
            kernel="reference",
            keep=("restart",),
            earlier=before,  # type: ignore[arg-type]
        )
    assert np.array_equal(runs[17, 5].restart, runs[17, None].restart)  # type: ignore[arg-type]


def test_only_the_missing_steps_are_computed() -> None:
    calls = []
    # Demons at all points: points of one rule advance together, with one check.
    short, whole = sweep_of("demons", 2000, 11), sweep_of("demons", 2000, 12)
    points = whole.coordinates((slice(0, 8), slice(0, 1)))
    inputs = whole.kernel_inputs(points)
    earlier = short.kernel.compute(*inputs)
    whole.kernel.compute(*inputs, lambda: calls.append(0), earlier)  # type: ignore[call-arg]
    assert len(calls) == 1


def test_results_do_not_depend_on_the_restart_being_kept() -> None:
    plain = computed(sweep_of("tempering", 10, 11, extendable=False))
    kept = computed(sweep_of("tempering", 10, 11))
    kept.pop("restart")
    assert_same(kept, plain)


def test_checkpoints_hold_the_first_half_of_every_longer_run() -> None:
    for before in range(2, 200):
        known = checkpoints(before)
        assert known[0] == first_half(before) >= before // 2 * 7 / 8
        assert len(known) <= MOST_CHECKPOINTS
        for after in range(before, 400):
            half = first_half(after)
            assert half in known or half > before


def test_progress_is_read_from_the_restart() -> None:
    (progress, *others) = progress_of(computed(sweep_of("pairs", 10, 11))["restart"])
    assert progress == Progress(10, 3, 11, 43)
    assert set(others) == {progress}
