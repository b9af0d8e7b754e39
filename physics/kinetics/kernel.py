"""``AdatomKernel``: the kernel of adatoms: rates, times, diffusion and occupations."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import CancelCheck, RequestError, never_cancelled
from latticescape.physics.kernels.boltzmann import boltzmann
from latticescape.physics.kernels.kernel import (
    Axes,
    Coordinates,
    Earlier,
    ModelKernel,
    Seeds,
    complete,
    corners,
    described,
)
from latticescape.physics.kernels.observables import Estimates, jackknife
from latticescape.physics.kernels.restart import BEGINNING, Progress, pack, progress_of, unpack
from latticescape.physics.kinetics import hopping
from latticescape.physics.kinetics.adatoms import BOLTZMANN_EV, ENERGIES, Adatoms
from latticescape.physics.kinetics.hopping import Sums, Surface, Walkers
from latticescape.physics.lattices.geometry import neighbor_steps
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.model import REPLICAS, Points
from latticescape.physics.variables import (
    RESTART,
    SAMPLES,
    SPINS,
    Variable,
    Words,
    pack_replicas,
)

Floats = npt.NDArray[np.float64]

# Hops of one replica between two cancel checks: some milliseconds.
HOPS_BETWEEN_CHECKS = 10_000

OF_TYPE, BETWEEN = ("site_type",), ("site_type", "to_site_type")

RATES = (
    Variable("time", units="s", long_name="time simulated, mean over replicas"),
    Variable("population", OF_TYPE, long_name="share of adatoms on sites of a type, time average"),
    Variable("occupancy", OF_TYPE, long_name="share of a type's sites that are occupied"),
    Variable("hop_rate", BETWEEN, units="1/s", long_name="hops of an adatom on a site of a type"),
    Variable(
        "residence_time",
        OF_TYPE,
        units="s",
        long_name="mean time that an adatom stays on a site of a type",
        formula="time on sites of the type / hops from them",
    ),
    Variable(
        "mean_square_displacement",
        units="nm^2",
        long_name="mean squared displacement of an adatom in a window of stride_mcs hops an adatom",
    ),
    Variable(
        "diffusion_constant",
        units="nm^2/s",
        long_name="tracer diffusion constant",
        formula="⟨Δr²⟩ / 4⟨Δt⟩ over windows of stride_mcs hops an adatom",
    ),
    Variable("energy", units="eV", long_name="energy per adatom, time average"),
)

RAW = (
    Variable("hops", BETWEEN, "int64", "count", "hops between sites of two types, all replicas"),
    Variable(
        "occupation_time",
        ("replica", "site_type"),
        units="s",
        long_name="adatoms on sites of a type times seconds, of each replica",
    ),
    Variable("coverage_realised", long_name="adatoms / sites"),
)


@dataclass(frozen=True)
class AdatomKernel(ModelKernel):
    """Adatoms on a lattice under a schedule, as the kernel of a sweep.

    One Monte Carlo step is one hop per adatom: every step of the kernel is a hop, at any
    temperature. ``samples`` windows of ``stride_mcs`` steps are measured after
    ``equilibration_mcs``; averages are weighted with the time before each hop.

    Parameters
    ----------
    lattice, model, schedule, swept, keep
        As for :class:`ModelKernel`; the model is :class:`Adatoms`. Of the words of ``keep``
        ``"samples"`` is not supported; in ``"spins"`` a 1 is an adatom.

    Raises
    ------
    RequestError
        If a swept name is unknown or also fixed, or a parameter is missing; if the lattice does not
        fit the model; or if cluster updates, tempering or ``"samples"`` are asked for.

    Examples
    --------
    >>> from latticescape import Schedule, square
    >>> model = Adatoms(E_b=0.3, adatoms=1)
    >>> kernel = AdatomKernel(square(8), model, Schedule(0, 10, 20), swept=("T",))
    >>> results = kernel.compute({"T": np.array([300.0])}, np.ones((1, 4), np.uint64))
    >>> results["hops"].tolist(), results["population"].tolist()
    ([[[12800]]], [[1.0]])
    """

    model: Adatoms

    name: ClassVar[str] = "kinetic"
    version: ClassVar[int] = 1
    # Hops per second of one core.
    nominal_rate: ClassVar[float] = 3e5
    keepable: ClassVar[tuple[str, ...]] = (SPINS,)

    def __post_init__(self) -> None:
        local = self.schedule.update == "local" and not self.schedule.tempering_mcs
        local = local and self.schedule.rule in {"auto", "heat_bath"}
        if not local or SAMPLES in self.keep:
            raise RequestError(
                "adatom models support only local updates without tempering, and keep only spins",
                came=f"update = {self.schedule.update}, rule = {self.schedule.rule}, "
                f"tempering_mcs = {self.schedule.tempering_mcs}, keep = {list(self.keep)}",
                allowed='update = "local", rule = "auto", tempering_mcs = 0, keep = ["spins"]',
            )
        super().__post_init__()

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension besides the axes."""
        kinds = self.model.kinds
        return {
            "replica": REPLICAS,
            "site_type": kinds,
            "to_site_type": kinds,
            **self.kept_sizes,
        }

    @property
    def restart_words(self) -> int:
        """Words of the restart of a point."""
        sums = 2 + self.model.kinds + 1 + self.model.kinds**2
        return len(Progress._fields) + REPLICAS * (sums + 4 + self._most_adatoms)

    @property
    def _most_adatoms(self) -> int:
        """Number of adatoms; if it is swept, of sites."""
        fixed = self.model.fixed(self.swept)
        if "adatoms" not in fixed or "coverage" not in fixed:
            return self.lattice.sites
        point = {name: np.array([value]) for name, value in fixed.items()}
        return int(self.model.n_species1(point, self.lattice)[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that :meth:`compute` returns."""
        return (
            *(v for rate in RATES for v in (rate, rate.error)),
            *RAW,
            *self.kept_variables,
        )

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the dimensions besides the axes: (dimension, values, attributes)."""
        long_names = {
            "replica": "independent replica",
            "site_type": "type of site, that a hop starts from",
            "to_site_type": "type of site that a hop ends on",
            "site": f"site of the {self.lattice.kind} lattice",
        }
        sizes = self.sizes
        return described(
            {
                name: (np.arange(sizes[name]), text)
                for name, text in long_names.items()
                if name in sizes
            }
        )

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides a point's result besides its coordinates and seed."""
        pattern = self.model.structure.get("pattern", [[0]])
        return {**super().description, "model.pattern": pattern}

    def check(self, axes: Axes) -> None:
        """Raise a RequestError for axis values that the model does not allow."""
        super().check(axes)
        self.model.check_points(self.lattice, corners(self.model, axes))

    def updates(self, points: int) -> int:
        """Number of hops in ``points`` points; if the number of adatoms is swept, as if half of the
        sites were occupied."""
        swept = not {"adatoms", "coverage"}.isdisjoint(self.swept)
        number = self.lattice.sites // 2 if swept else self._most_adatoms
        return points * REPLICAS * number * self.schedule.total_mcs

    def simulate(
        self,
        points: Axes,
        seeds: Seeds,
        cancel_check: CancelCheck = never_cancelled,
        earlier: Earlier | None = None,
    ) -> dict[str, np.ndarray]:
        """Compute every variable at points that are equally far."""
        full = complete(self.model, points, len(seeds))
        self.model.check_points(self.lattice, full)
        rows = [
            self._point(
                {name: v[p : p + 1] for name, v in full.items()},
                seed,
                cancel_check,
                None if earlier is None else earlier[RESTART][p : p + 1],
            )
            for p, seed in enumerate(seeds)
        ]
        return {v.name: np.stack([row[v.name] for row in rows]) for v in self.variables}

    def _point(
        self, point: Points, seed: Any, cancel_check: CancelCheck, restart: Words | None
    ) -> dict[str, np.ndarray]:
        surface = surface_of(self.lattice, self.model, point)
        number = int(self.model.n_species1(point, self.lattice)[0])
        walkers = walkers_of(self.lattice, self.model, number, REPLICAS)
        kinds = self.model.kinds
        sums = Sums(
            time=np.zeros(REPLICAS),
            weighted=np.zeros((REPLICAS, kinds + 1)),
            hops=np.zeros((REPLICAS, kinds, kinds), np.int64),
            squares=np.zeros(REPLICAS),
        )
        hopping.initialize(walkers, seed, surface)
        begin = self._resume(restart, walkers, sums, surface)
        if not begin.samples:
            for hops in _parts(number * self.schedule.equilibration_mcs):
                cancel_check()
                hopping.advance(walkers, surface, hops)
            walkers.shifts[...] = 0.0
        for _ in range(begin.samples, self.schedule.samples):
            for hops in _parts(number * self.schedule.stride_mcs):
                cancel_check()
                hopping.measure(walkers, surface, hops, sums)
            hopping.close_window(walkers, sums)
        results = self._observe(sums, point, number)
        if SPINS in self.keep:
            results["spins"] = pack_replicas((walkers.adatoms >= 0).astype(np.uint8))
        if RESTART in self.keep:
            unused = self._most_adatoms - number
            sites = np.pad(walkers.sites, ((0, 0), (0, unused)), constant_values=-1)
            arrays = [array[None] for array in (*sums, walkers.states, sites)]
            results[RESTART] = pack(Progress.end(self.schedule), arrays)[0]
        return results

    def _resume(
        self, restart: Words | None, walkers: Walkers, sums: Sums, surface: Surface
    ) -> Progress:
        """Go on from a point's restart, (1, words); measuring draws random numbers, so that samples
        never serve as equilibration."""
        if restart is None:
            return BEGINNING
        (progress,) = progress_of(restart)
        begin = progress.towards(self.schedule)
        if begin is None or not begin.samples:
            return BEGINNING
        sites = np.empty((1, REPLICAS, self._most_adatoms), np.int64)
        unpack(restart, [*(array[None] for array in (*sums, walkers.states)), sites])
        walkers.sites[...] = sites[0, :, : walkers.sites.shape[1]]
        for replica in range(REPLICAS):
            hopping.settle(walkers, replica, surface)
        return begin

    def _observe(self, sums: Sums, point: Points, number: int) -> dict[str, np.ndarray]:
        second = unit_of_time(point)
        kinds = self.model.kinds
        energies = np.array([*(point[name][0] for name in ENERGIES[:kinds]), point["w"][0]])
        time, weighted = sums.time * second, sums.weighted * second
        columns = (time, weighted, sums.hops.reshape(REPLICAS, -1), sums.squares)
        rows = np.column_stack(columns).astype(np.float64)
        sites = np.bincount(self.model.types(self.lattice)).astype(np.float64)
        scale = _Scale(kinds, number, energies, sites, float(point["a"][0]) ** 2)
        samples = self.schedule.samples
        values, errors = jackknife(rows, lambda mean: scale.estimates(mean, samples))
        return {
            **values,
            **{f"{name}_se": error for name, error in errors.items()},
            "hops": sums.hops.sum(axis=0),
            "occupation_time": weighted[:, :kinds],
            "coverage_realised": np.asarray(number / self.lattice.sites),
        }


@dataclass(frozen=True)
class _Scale:
    """Counts, energies and areas that turn mean sums into estimates."""

    kinds: int
    number: int
    energies: Floats
    sites: Floats
    area: float

    def estimates(self, mean: Floats, samples: int) -> Estimates:
        """From means over replicas, (…, quantities): rates and averages, types last."""
        kinds = self.kinds
        time = mean[..., :1]
        weighted = mean[..., 1 : kinds + 2]
        hops = mean[..., kinds + 2 : -1].reshape(*mean.shape[:-1], kinds, kinds)
        squares = mean[..., -1] * self.area
        on = weighted[..., :kinds]
        with np.errstate(divide="ignore", invalid="ignore"):
            # A type that was never visited, or never left, has no rate: NaN.
            rates = hops / np.where(on > 0, on, np.nan)[..., None]
            left = hops.sum(axis=-1)
            residence = on / np.where(left > 0, left, np.nan)
        return {
            "time": time[..., 0],
            "population": on / (self.number * time),
            "occupancy": on / (self.sites * time),
            "hop_rate": rates,
            "residence_time": residence,
            "mean_square_displacement": squares / samples,
            "diffusion_constant": squares / (4 * time[..., 0]),
            "energy": np.sum(weighted * self.energies, axis=-1) / (self.number * time[..., 0]),
        }


def surface_of(lattice: Lattice, model: Adatoms, point: Points) -> Surface:
    """The tables of one point, every parameter (1,); rates depend on ΔE only."""
    kinds, z = model.kinds, lattice.coordination
    energies = np.array([point[name][0] for name in ENERGIES[:kinds]])
    climb = energies[None, :] - energies[:, None]
    gained = np.arange(-z, z + 1)
    change = climb[:, :, None] + point["w"][0] * gained
    steps = [neighbor_steps(lattice.kind, 1)[s] for s in range(lattice.geometry.sublattices)]
    return Surface(
        neighbors=lattice.neighbors(1),
        types=model.types(lattice),
        steps=np.array([[step.vector for step in ways] for ways in steps]),
        factors=boltzmann(np.maximum(change, 0.0) / (BOLTZMANN_EV * point["T"][0])),
        interacting=bool(point["w"][0] != 0),
    )


def walkers_of(lattice: Lattice, model: Adatoms, number: int, replicas: int) -> Walkers:
    """Empty tables for ``number`` adatoms in each of the replicas."""
    leaves = 1 << (number - 1).bit_length()
    return Walkers(
        sites=np.zeros((replicas, number), np.int64),
        adatoms=np.full((replicas, lattice.sites), -1, np.int64),
        rates=np.zeros((replicas, 2 * leaves)),
        shifts=np.zeros((replicas, number, 2)),
        counts=np.zeros((replicas, model.kinds + 1), np.int64),
        states=np.zeros((replicas, 4), np.uint64),
    )


def unit_of_time(point: Points) -> float:
    """1 / (rate between sites of one energy), s."""
    exponent = point["E_b"][0] / (BOLTZMANN_EV * point["T"][0])
    return float(1.0 / (point["nu0"][0] * boltzmann(exponent)))


def _parts(hops: int) -> list[int]:
    """``hops`` in parts, between which the cancel check is called."""
    full, rest = divmod(hops, HOPS_BETWEEN_CHECKS)
    return [HOPS_BETWEEN_CHECKS] * full + [rest] * bool(rest)
