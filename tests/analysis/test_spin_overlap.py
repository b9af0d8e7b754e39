"""Overlaps of replicas against every pair of arrangements of 3×3 spins."""

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from latticescape.analysis import disorder_average, spin_overlap
from latticescape.physics import Ising, RequestError, Schedule, square
from latticescape.physics.kernels.lattice_kernel import sample
from latticescape.sweeps import Sweep, run
from tests.support.runs import in_process
from tests.support.statistics import root_mean_square, seeds_of

BONDS = {"distribution": "normal", "mean": 0.0, "sd": 1.0, "seed": 3}
MODEL = Ising(bonds=BONDS)
REALISATIONS, T = np.arange(40.0), 0.9


def exact(realisation: int, power: int) -> float:
    """⟨q^power⟩ of two replicas, arrangement by arrangement."""
    lattice = square(3)
    bonds, drawn = lattice.bonds(1), MODEL.bond_disorder
    assert drawn is not None
    J = drawn.draw(lattice, realisation, len(bonds))
    spins = 2.0 * (np.arange(2**9)[:, None] >> np.arange(9) & 1) - 1
    energy = -(spins[:, bonds[:, 0]] * spins[:, bonds[:, 1]]) @ J
    weights = np.exp(-(energy - energy.min()) / T)
    weights /= weights.sum()
    return float(weights @ (spins @ spins.T / 9) ** power @ weights)


@pytest.fixture(scope="module")
def words() -> npt.NDArray[np.uint64]:
    """The last spins of every realisation."""
    points = {"realisation": REALISATIONS, "T": np.full(40, T)}
    schedule, seeds = Schedule(300, 2, 1), seeds_of(41, points=40)
    found = sample(MODEL, square(3), points, schedule, seeds, keep=["spins"]).spins
    assert found is not None
    return found


@pytest.mark.statistical
@pytest.mark.parametrize(("name", "power"), [("overlap_squared", 2), ("overlap_fourth", 4)])
def test_moments_agree_with_enumeration_and_have_honest_errors(
    words: npt.NDArray[np.uint64], name: str, power: int
) -> None:
    ds = xr.Dataset({"spins": (("realisation", "site"), words)}, {"realisation": REALISATIONS})
    found = spin_overlap(ds)
    truth = np.array([exact(int(realisation), power) for realisation in REALISATIONS])
    z = ((found[name] - truth) / found[f"{name}_se"]).values
    print(f"rms z {root_mean_square(z):.2f}, worst {np.abs(z).max():.2f}")
    assert np.abs(z).max() < 5
    assert 0.7 < root_mean_square(z) < 1.4
    average = disorder_average(found)
    spread = truth.std(ddof=1)
    assert float(average[f"{name}_spread"]) == pytest.approx(spread, rel=0.15)
    other = np.roll(truth, 1)
    assert np.abs((found[name] - other) / found[f"{name}_se"]).max() > 5


def test_a_sweep_that_keeps_spins_has_overlaps(tmp_path: object) -> None:
    sweep = Sweep(
        square(4),
        MODEL,
        {"realisation": [0, 1], "T": [1.0, 50.0]},
        Schedule(50, 4, 2),
        keep=["spins"],
    )
    with in_process() as client:
        ds = run(sweep, f"{tmp_path}/bonds.zarr", client, progress=False)
    found = spin_overlap(ds)
    assert found.overlap_squared.dims == ("realisation", "T")
    assert (found.overlap_squared.sel(T=1.0) > 2 * found.overlap_squared.sel(T=50.0)).all()
    # Of free spins 1/N.
    free = found.sel(T=50.0)
    assert np.allclose(free.spin_glass_susceptibility, 1.0, atol=0.3)
    partly = ds.assign(done=ds.done & (ds["T"] > 10))
    assert np.isnan(spin_overlap(partly).overlap_fourth.sel(T=1.0)).all()
    with pytest.raises(RequestError, match="holds no spins"):
        spin_overlap(ds.drop_vars("spins"))
