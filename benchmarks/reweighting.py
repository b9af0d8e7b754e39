"""A fine landscape from a coarse sweep, held against direct simulation.

The three-body alloy at x = 1/2. The samples that a coarse sweep over (w1, w2) kept give a landscape
of 101 × 101 points, over the box of the sweep and over one that is far larger. Points of
it are simulated directly. z is the difference of the two S² over both errors, each S² less the bias
that it tells.
"""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis import landscape, reweight, reweighted_landscape
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.physics import Schedule, ThreeBodyAlloy, configurations, triangular
from latticescape.sweeps import Sweep
from latticescape.sweeps.spec.sweep import point_seeds

BOX = {"w1": (-0.30, 0.10), "w2": (-0.25, 0.15)}
TRUE = {"w1": [-0.13], "w2": [-0.04]}
ATOMS = 2000

# How far beyond the sweep the larger box reaches.
BEYOND = 0.3


@dataclass(frozen=True)
class Comparison:
    """Reweighted points beside the same ones simulated.

    Attributes
    ----------
    z, trusted
        Deviation of every point, and whether reweighting trusts it.
    gain
        Median over trusted points of the square of the direct error over the reweighted one:
        how many times the samples of a direct point it is worth.
    """

    z: npt.NDArray[np.float64]
    trusted: npt.NDArray[np.bool_]
    gain: float

    def reported(self, *, trusted: bool) -> str:
        """Root mean square and largest z of the points that are trusted, or not."""
        z = np.abs(self.z[self.trusted == trusted])
        if not len(z):
            return "none"
        return f"{len(z)} points, z: rms {np.sqrt(np.mean(z**2)):.2f}, largest {z.max():.1f}"


def sweep_of(
    grid: dict[str, npt.ArrayLike], schedule: Schedule, size: int, seed: int, keep: list[str]
) -> Sweep:
    """The three-body alloy at x = 1/2 over (w1, w2)."""
    return Sweep(
        triangular(size),
        ThreeBodyAlloy(x=0.5),
        grid,
        schedule,
        seed,
        keep=keep,  # type: ignore[arg-type]
    )


def computed(sweep: Sweep) -> xr.Dataset:
    """The Dataset of a small sweep, computed here and now."""
    points = sweep.coordinates(tuple(slice(0, n) for n in sweep.shape))
    axes = {name: np.array([point[name] for point in points]) for name in sweep.axes}
    seeds = point_seeds(sweep.seed, map(sweep.kernel.parameters, points))
    found = sweep.kernel.compute(axes, seeds)
    variables = {
        v.name: (
            (*sweep.axes, *v.dims),
            found[v.name].reshape(*sweep.shape, *found[v.name].shape[1:]),
        )
        for v in sweep.kernel.variables
    }
    beside = {name: (dim, values) for name, (dim, values, _) in sweep.kernel.coordinates.items()}
    attrs = {**sweep.kernel.attrs, "spec": sweep.to_toml()}
    return xr.Dataset(variables, {**sweep.axes, **beside}, attrs)


def observed_at_truth(schedule: Schedule, size: int) -> xr.Dataset:
    """An image's counts at x = 1/2, drawn from a simulation of the true parameters."""
    truth = computed(sweep_of(TRUE, schedule, size, 3, []))["histogram"]
    centres = [truth.where(truth["centre"] == species, 0).values.ravel() for species in (0, 1)]
    random = np.random.default_rng(3)
    counts = sum(random.multinomial(ATOMS // 2, p / p.sum()) for p in centres)
    return counts_dataset({"image": counts}, configurations("triangular"))


def compared(reweighted: xr.Dataset, direct: xr.Dataset, observed: xr.Dataset) -> Comparison:
    """The landscapes of reweighted points and of the same ones simulated."""
    found, other = landscape(reweighted, observed), landscape(direct, observed)
    error = np.hypot(found["s2_total_se"], other["s2_total_se"])
    apart = found["s2_total"] - found["s2_total_bias"]
    apart = apart - (other["s2_total"] - other["s2_total_bias"])
    trusted = reweighted["trusted"].values.ravel()
    ratio = ((other["s2_total_se"] / found["s2_total_se"]) ** 2).values.ravel()
    gain = float(np.median(ratio[trusted])) if trusted.any() else np.nan
    return Comparison((apart / error).values.ravel(), trusted, gain)


def fine_grid(number: int, beyond: float = 0.0) -> dict[str, npt.NDArray[np.float64]]:
    """The grid of a landscape, of the box or of one that is so much larger on all sides."""
    return {
        name: np.linspace(low - beyond, high + beyond, number) for name, (low, high) in BOX.items()
    }


def report(
    side: int = 6,
    tests: int = 12,
    fine: int = 101,
    size: int = 24,
    schedule: Schedule = Schedule(300, 50, 10),  # noqa: B008 - frozen
) -> str:
    """The comparison as text."""
    grid = {name: np.linspace(*ends, side) for name, ends in BOX.items()}
    coarse = sweep_of(grid, schedule, size, 1, ["samples"])
    ds, observed = computed(coarse), observed_at_truth(schedule, size)
    wall, cpu = time.perf_counter(), time.process_time()
    surface = reweighted_landscape(ds, observed, fine_grid(fine))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    lines = [
        f"{side} x {side} references of {64 * schedule.samples} samples, L = {size}: "
        f"landscape of {fine} x {fine} points in {wall:.0f} s ({cpu:.0f} s of processor time), "
        f"{float(surface['trusted'].mean()):.0%} trusted"
    ]
    random = np.random.default_rng(7)
    for name, beyond in (("inside", 0.0), ("box of the double side and more", BEYOND)):
        points = {
            axis: np.sort(random.choice(values, tests, replace=False))
            for axis, values in fine_grid(fine, beyond).items()
        }
        direct = computed(sweep_of(points, schedule, size, 2, []))
        found = compared(reweight(ds, points), direct, observed)
        lines += [
            f"{name}: trusted {found.reported(trusted=True)}",
            f"{name}: not trusted {found.reported(trusted=False)}",
        ]
        if not beyond:
            flips = fine**2 * found.gain / side**2
            lines.append(
                f"a point is worth {found.gain:.1f} simulated ones, so a direct sweep as precise "
                f"takes {flips:.0f} times the flips"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(report())
