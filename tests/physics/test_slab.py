"""The segregation slab: its lattice, its kernels against enumeration, what a sweep stores of it."""

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from latticescape.physics import RequestError, Schedule, count_configurations
from latticescape.physics.kernels.batches import drive
from latticescape.physics.slab.kernel import SlabKernel
from latticescape.physics.slab.lattice import CLASSES, Slab, slab, tables_of
from latticescape.physics.slab.model import GAS_CONSTANT, SegregationSlab
from latticescape.physics.slab.multispin import SlabMultispinBatch
from latticescape.physics.slab.observables import SlabSums, SlabTask
from latticescape.physics.slab.reference import SlabReferenceBatch, expect
from latticescape.physics.variables import unpack_replicas
from tests.support.statistics import root_mean_square, seeds_of

SMALL = slab(2, 3)
SCHEDULE = Schedule(equilibration_mcs=200, samples=300, stride_mcs=5)
MULTISPIN, REFERENCE = "lanes", "reference"
Z = list[float]

# The published energies, others of all signs, each choice of bulk pairs, several compositions.
MODELS = [
    SegregationSlab(w_CL=1.65, w_LL=6.28, w_LO=-7.57, x=5 / 12, coverage=0.25),
    SegregationSlab(w_CL=1.65, w_LL=6.28, w_LO=-7.57, x=5 / 12, coverage=0.75, bulk_pairs=0),
    SegregationSlab(w_CL=-2.0, w_LL=3.0, w_LO=4.0, x=0.5, coverage=0.5, bulk_pairs=2),
    SegregationSlab(w_CL=2.5, w_LL=-4.0, w_LO=-3.0, x=0.25, coverage=0.25),
]


@cache
def exact(model: SegregationSlab) -> dict[str, npt.NDArray[np.float64]]:
    return expect(SMALL, replace(model, T=1000.0))


def deviations(kernel: str, factor: float = 1.0) -> Z:
    """Energies, heat capacities, profiles and classes of all models, in standard errors."""
    found: Z = []
    for number, model in enumerate(MODELS):
        simulation = SlabKernel(SMALL, model, SCHEDULE, swept=("T",))
        temperature = {"T": np.full(2, 1000.0 * factor)}
        values = simulation.simulate(temperature, seeds_of(71, number, points=2), kernel=kernel)
        truth = exact(model)
        for name in ("energy", "heat_capacity", "ca_fraction"):
            off = (values[name] - truth[name]) / values[f"{name}_se"]
            found += off.ravel().tolist()
        counts = values["histogram_replica"] / SCHEDULE.samples
        error = counts.std(axis=1, ddof=1) / 8
        common = truth["histogram"] * 64 * SCHEDULE.samples > 1000
        off = (counts.mean(axis=1) - truth["histogram"])[:, common] / error[:, common]
        found += off.ravel().tolist()
    return found


@pytest.mark.statistical
@pytest.mark.parametrize("kernel", [MULTISPIN, REFERENCE])
def test_law_2_a_slab_agrees_with_exact_enumeration(kernel: str) -> None:
    z = deviations(kernel)
    assert len(z) >= 100
    assert max(map(abs, z)) < 5
    assert 0.8 < root_mean_square(z) < 1.2


@pytest.mark.statistical
def test_law_2_a_slab_ten_percent_too_hot_fails() -> None:
    z = deviations(MULTISPIN, factor=1.1)
    assert max(map(abs, z)) > 5
    assert root_mean_square(z) > 1.2


def test_each_hollow_lies_among_four_neighbours_and_counts_once_for_each() -> None:
    lattice = slab(5, 3)
    places = lattice.positions[lattice.corners]
    apart = (places - np.roll(places, 1, axis=1) + 2) % 5 - 2
    assert np.all(np.sum(apart**2, axis=-1) == 1)
    for site, hollows in enumerate(lattice.touching):
        assert all(site in lattice.corners[hollow] for hollow in hollows)
    assert np.all(np.bincount(lattice.corners.ravel()) == 4)


@pytest.mark.parametrize(("bulk_pairs", "number"), [(0, 50 * 2 + 25), (1, 50 * 2 + 50), (2, 200)])
def test_bulk_pairs_are_what_their_number_says(bulk_pairs: int, number: int) -> None:
    lattice = slab(5, 3)
    assert len(lattice.bulk_bonds(bulk_pairs)) == number
    bulk = tables_of(lattice, bulk_pairs).bulk
    own, column = np.nonzero(bulk >= 0)
    pairs = np.sort(np.stack([own, bulk[own, column]], axis=1), axis=1)
    listed = np.sort(lattice.bulk_bonds(bulk_pairs), axis=1)
    once = pairs[np.lexsort(pairs.T)][::2]
    assert np.array_equal(once, listed[np.lexsort(listed.T)])


def task(seed: npt.NDArray[np.uint64], lattice: Slab) -> SlabTask:
    couplings, heat = np.array([1.65, 6.28, -7.57]), GAS_CONSTANT * 1000
    return SlabTask(seed, couplings, heat, lattice.sites // 3, lattice.hollows // 2, bulk_pairs=1)


def test_law_5_a_slab_is_counted_by_the_function_that_counts_images() -> None:
    lattice, seeds = slab(4, 3), seeds_of(72, points=8)
    tasks = [task(seed, lattice) for seed in seeds]
    sums = [SlabSums.empty(lattice.layers) for _ in tasks]
    plain = SlabSums.empty(lattice.layers)
    lanes, scalar = (
        SlabMultispinBatch(lattice, tasks, sums),
        SlabReferenceBatch(lattice, tasks[0], plain),
    )
    drive([lanes], Schedule(7, 2, 1))
    drive([scalar], Schedule(7, 2, 1))
    for found in (*sums, plain):
        found.histogram[:], found.calcium[:], found.features[:] = 0, 0, 0
    lanes.add_sample(0)
    scalar.add_sample(0)
    bits = np.ascontiguousarray(lanes.bits[:-2, 0])
    hollows = np.arange(lattice.sites, lattice.sites + lattice.hollows)
    for found, each in ((sums[0], unpack_replicas(bits)), (plain, scalar.spins)):
        for replica, row in enumerate(each):
            counted = count_configurations(row, hollows, lattice.corners, CLASSES)
            assert np.array_equal(found.histogram[replica], counted)
            by_layer = row[: lattice.sites].reshape(lattice.layers, -1).sum(axis=1)
            assert np.array_equal(found.calcium[replica], by_layer)
            assert row[: lattice.sites].sum() == lattice.sites // 3
            assert row[lattice.sites :].sum() == lattice.hollows // 2
            cations = row[: lattice.sites].astype(int)
            bonds, top = cations[lattice.bulk_bonds(1)], cations[lattice.surface_bonds]
            contacts = (1 - cations[lattice.corners]) * row[hollows][:, None]
            features = [
                np.sum(bonds[:, 0] != bonds[:, 1]),
                np.sum(~top.any(axis=1)),
                contacts.sum(),
            ]
            assert found.features[replica].tolist() == features


def test_law_1_companions_change_no_bit_of_a_slab() -> None:
    model = SegregationSlab(w_LL=6.28, w_LO=-7.57)
    simulation = SlabKernel(slab(4, 4), model, Schedule(5, 4, 2), swept=("w_CL",))
    points, seeds = {"w_CL": np.linspace(-1.0, 2.0, 10)}, seeds_of(73, points=10)
    whole = simulation.compute(points, seeds)
    some = simulation.compute({"w_CL": points["w_CL"][[9, 2]]}, seeds[[9, 2]])
    for name, values in some.items():
        assert np.array_equal(values, whole[name][[9, 2]], equal_nan=True), name


def test_the_surface_takes_calcium_where_lanthanum_repels_itself() -> None:
    model = SegregationSlab(w_CL=0.0, w_LO=0.0)
    simulation = SlabKernel(slab(6, 4), model, Schedule(100, 40, 5), swept=("w_LL",))
    found = simulation.compute({"w_LL": np.array([0.0, 6.0])}, seeds_of(74, points=2))
    free, repelled = found["ca_fraction"][:, 0]
    assert abs(free - 0.375) < 0.02
    assert repelled > 0.45
    assert np.allclose(found["ca_fraction"].mean(axis=1), found["composition"])


@pytest.mark.parametrize("bad", [{"x": 0.5, "x_La": 0.6}, {"x_La": 1.2}, {"x": -0.1}])
def test_fractions_that_do_not_add_up_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=r"add up|bounds"):
        SegregationSlab(**bad)
