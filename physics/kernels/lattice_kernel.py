"""``LatticeKernel``: the kernel of a model that is defined by its orbits."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.cancellation import CancelCheck, never_cancelled
from latticescape.physics.kernels.kernel import (
    Axes,
    Coordinates,
    ModelKernel,
    Seeds,
    complete,
    corners,
    described,
)
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.observables import observe
from latticescape.physics.kernels.reference import MOMENTS
from latticescape.physics.kernels.sampler import (
    CLUSTER,
    KERNEL_VERSIONS,
    MULTISPIN,
    check_keep,
    kernel_of,
    parameters_used,
    sample,
)
from latticescape.physics.kernels.swendsen_wang import check_clusters
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.models.model import REPLICAS, Model, Orbit, features_of
from latticescape.physics.variables import (
    COUNTS,
    ESTIMATES,
    KEEP,
    KEPT,
    SAMPLES,
    SPINS,
    TEMPERING,
    Variable,
)

# Bytes of one variable at one point: a block has at least eight points, and a chunk must stay below
# 2 GiB.
MOST_KEPT_BYTES = 2**27


@dataclass(frozen=True)
class LatticeKernel(ModelKernel):
    """A model on a lattice under a schedule, as the kernel of a sweep.

    Parameters
    ----------
    lattice, model, schedule
        What to simulate.
    swept
        Names of the parameters that a sweep varies.
    keep
        What to return in addition to the averages: ``"samples"``, ``"spins"``.

    Raises
    ------
    RequestError
        If a swept name is unknown or also fixed, or a parameter is missing; if the lattice is too
        small for the model; or if ``keep`` has an unknown word, or needs more bytes for one point
        than a store supports.

    Examples
    --------
    >>> from latticescape import Ising, Schedule, square
    >>> kernel = LatticeKernel(square(4), Ising(), Schedule(10, 5, 2), swept=("T",))
    >>> seeds = np.zeros((1, 4), np.uint64)
    >>> kernel.compute({"T": np.array([2.0])}, seeds)["histogram"].shape
    (1, 12)
    """

    model: Model

    keepable: ClassVar[tuple[str, ...]] = KEEP

    def __post_init__(self) -> None:
        _ = self.lattice.geometry  # raises for a slab
        super().__post_init__()
        self._check_kept_bytes()
        if "T" not in self.swept:
            self._check_ladder(1)

    @cached_property
    def orbits(self) -> list[Orbit]:
        """The model's orbits on this lattice."""
        used = parameters_used(self.model, dict.fromkeys(self.swept))
        return self.model.orbits(self.lattice, used)

    @property
    def name(self) -> str:
        """The name of the kernel in digests: ``lanes`` for the multispin kernel, ``reference``
        where the multispin kernel does not support the model, ``swendsen_wang`` for cluster
        updates."""
        return kernel_of(self.model, self.lattice, self.orbits, self.schedule.update)

    @property
    def version(self) -> int:
        """Raised whenever the same seed gives other bits."""
        return KERNEL_VERSIONS[self.name]

    @property
    def nominal_rate(self) -> float:
        """A cautious estimate of the updates per second of one core."""
        return 2e9 if self.name == MULTISPIN else 2e7

    @property
    def batch_size(self) -> int:
        """Number of points that are computed together in the time of one."""
        return WORDS if self.name == MULTISPIN else 1

    @property
    def uncut_axes(self) -> tuple[str, ...]:
        """The axis of the ladders of parallel tempering, whose points need each other."""
        return ("T",) if self.schedule.tempering_mcs else ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the model's features on this lattice."""
        return features_of(self.orbits)

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension besides the axes."""
        kept = {SAMPLES: ("sample", self.schedule.samples), SPINS: ("site", self.lattice.sites)}
        return {
            "replica": REPLICAS,
            "configuration": len(configurations(self.lattice.kind)),
            "moment": len(MOMENTS),
            "feature": len(self.features),
            **{dim: size for word, (dim, size) in kept.items() if word in self.keep},
        }

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that :meth:`compute` returns."""
        conserved = self.model.move == "exchange"
        counts = (v for v in COUNTS if conserved or v.name != "composition")
        estimates = (*ESTIMATES, *[TEMPERING] * bool(self.schedule.tempering_mcs))
        kept = (v for word in self.keep for v in KEPT[word])
        chosen = (*(v for e in estimates for v in (e, e.error)), *counts, *kept)
        return tuple(v.in_units(self.model.energy_units) for v in chosen)

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the dimensions besides the axes: (dimension, values, attributes)."""
        classes = configurations(self.lattice.kind)
        dimensions = described(
            {
                "replica": (np.arange(REPLICAS), "independent replica"),
                "configuration": (
                    np.arange(len(classes)),
                    f"{self.lattice.kind} configuration class",
                ),
                "moment": (np.array(MOMENTS), "moment per site"),
                "feature": (np.array(self.features), "integer feature of the model"),
                "sample": (np.arange(self.schedule.samples), "measurement"),
                "site": (np.arange(self.lattice.sites), f"site of the {self.lattice.kind} lattice"),
            }
        )
        return {
            **{name: entry for name, entry in dimensions.items() if name in self.sizes},
            **{
                name: ("configuration", values, {"long_name": text})
                for name, (values, text) in classes.descriptors.items()
            },
        }

    def check(self, axes: Axes) -> None:
        """Raise a RequestError for axis values that the kernel does not support."""
        super().check(axes)
        self._check_ladder(len(axes.get("T", [])))
        if self.name == CLUSTER:
            check_clusters(self.model, self.orbits, corners(self.model, axes))

    def _check_kept_bytes(self) -> None:
        if self.model.bond_disorder is not None:
            check_keep(self.keep)
        sizes = self.sizes
        for variable in (v for word in self.keep for v in KEPT[word]):
            numbers = np.prod([sizes[dim] for dim in variable.dims], dtype=object)
            size = int(numbers) * np.dtype(variable.dtype).itemsize
            if size > MOST_KEPT_BYTES:
                raise RequestError(
                    f"{variable.name} needs too many bytes",
                    came=f"{size / 2**20:.0f} MiB for each point",
                    allowed=f"up to {MOST_KEPT_BYTES // 2**20} MiB",
                    hint=f"fewer than {self.schedule.samples} samples, with a longer stride_mcs",
                )

    def _check_ladder(self, temperatures: int) -> None:
        if self.schedule.tempering_mcs and temperatures < 2:
            raise RequestError(
                "parallel tempering needs at least two temperatures",
                came=f"tempering_mcs = {self.schedule.tempering_mcs} and one temperature",
                allowed="an axis T of two or more values in [grid]",
                hint="T = { start = 1.5, stop = 3.5, num = 21 }",
            )

    def updates(self, points: int) -> int:
        """Number of attempted flips or exchanges in ``points`` points."""
        return points * REPLICAS * self.lattice.sites * self.schedule.total_mcs

    def compute(
        self, points: Axes, seeds: Seeds, cancel_check: CancelCheck = never_cancelled
    ) -> dict[str, np.ndarray]:
        """Compute every variable at some points, points first.

        Parameters
        ----------
        points
            Swept parameters by name, (points,) each.
        seeds
            (points, 4) uint64.
        cancel_check
            Called every few Monte Carlo steps; any exception that it raises ends the computation.
        """
        full = complete(self.model, points, len(seeds))
        samples = sample(
            self.model,
            self.lattice,
            points,
            self.schedule,
            seeds,
            keep=self.keep,
            cancel_check=cancel_check,
        )
        results = observe(samples, self.model.coefficients(full, samples.features), full["T"])
        results |= samples.kept
        n_species1 = self.model.n_species1(full, self.lattice)
        if n_species1 is not None:
            results["composition"] = n_species1 / self.lattice.sites
        return {variable.name: results[variable.name] for variable in self.variables}
