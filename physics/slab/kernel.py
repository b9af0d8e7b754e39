"""A segregation slab as a kernel of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.batches import Group, drive
from latticescape.physics.kernels.cancellation import CancelCheck, never_cancelled
from latticescape.physics.kernels.lattice_kernel import Coordinates, LatticeKernel
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.sampler import LANES, REFERENCE, Seeds, complete
from latticescape.physics.models.model import REPLICAS, Points
from latticescape.physics.slab.lattice import Slab
from latticescape.physics.slab.model import FEATURES, GAS_CONSTANT, SPECIES, SegregationSlab
from latticescape.physics.slab.multispin import SlabLanes
from latticescape.physics.slab.scalar import SlabReference
from latticescape.physics.slab.sums import SlabSums, observe
from latticescape.physics.slab.tables import ARRANGEMENTS, CLASSES
from latticescape.physics.slab.task import SlabTask
from latticescape.physics.slab.variables import ESTIMATES, SUMS
from latticescape.physics.variables import Variable

OXYGEN = ("without", "with")

# Raised whenever the same seed gives other bits.
KERNEL_VERSIONS = {LANES: 1, REFERENCE: 1}


@dataclass(frozen=True)
class SlabKernel(LatticeKernel):
    """A :class:`SegregationSlab` on a :class:`Slab` under a schedule, ready to compute points.

    Raises
    ------
    RequestError
        As :class:`LatticeKernel`; or if the lattice is no slab, or the schedule
        asks for cluster updates or tempering, which a slab has not, or ``keep`` for anything.

    Examples
    --------
    >>> from latticescape import Schedule, slab
    >>> model = SegregationSlab(w_CL=1.65, w_LL=6.28, w_LO=-7.57)
    >>> simulation = SlabKernel(slab(4, 3), model, Schedule(10, 5, 2), swept=("T",))
    >>> found = simulation.compute({"T": np.array([1000.0])}, np.zeros((1, 4), np.uint64))
    >>> found["ca_fraction"].shape, found["histogram"].shape
    ((1, 3), (1, 2, 6))
    """

    lattice: Slab
    model: SegregationSlab

    def __post_init__(self) -> None:
        self.model.check_lattice(self.lattice)
        for asked, allowed in (
            (self.keep, "keep = []"),
            (self.schedule.tempering_mcs, "tempering_mcs = 0"),
            (self.schedule.update != "local", 'update = "local"'),
        ):
            if asked:
                raise RequestError(
                    "a sweep of a slab takes no such thing", came=asked, allowed=allowed
                )
        fixed = self.model.fixed(self.swept)
        self.model.check(self.lattice, {name: np.array([v]) for name, v in fixed.items()})

    @property
    def name(self) -> str:
        return LANES

    @property
    def version(self) -> int:
        return KERNEL_VERSIONS[self.name]

    @property
    def keepable(self) -> tuple[str, ...]:
        return ()

    @property
    def nominal_rate(self) -> float:
        return 1e9

    @property
    def features(self) -> tuple[str, ...]:
        return FEATURES

    @property
    def sizes(self) -> dict[str, int]:
        return {
            "replica": REPLICAS,
            "oxygen": len(OXYGEN),
            "configuration": ARRANGEMENTS,
            "layer": self.lattice.layers,
            "species": len(SPECIES),
            "feature": len(FEATURES),
        }

    @property
    def variables(self) -> tuple[Variable, ...]:
        estimates = (v for e in ESTIMATES for v in (e, e.error))
        return tuple(v.in_units(self.model.energy_units) for v in (*estimates, *SUMS))

    @property
    def coordinates(self) -> Coordinates:
        told = {
            "replica": (np.arange(REPLICAS), "independent replica"),
            "oxygen": (np.array(OXYGEN), "hollows without and with oxygen"),
            "configuration": (np.arange(ARRANGEMENTS), "arrangement of four surface A-sites"),
            "layer": (np.arange(self.lattice.layers), "layer of A-sites, 0 the surface"),
            "species": (np.array(SPECIES), "species"),
            "feature": (np.array(FEATURES), "integer feature of the model"),
        }
        each = {name: (name, values, {"long_name": text}) for name, (values, text) in told.items()}
        return {**each, **arrangement_coordinates()}

    def compute(
        self,
        points: Mapping[str, npt.NDArray[np.float64]],
        seeds: Seeds,
        cancel_check: CancelCheck = never_cancelled,
        *,
        kernel: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Every variable at the given points, points first; see :class:`LatticeKernel`.

        ``kernel`` is ``"lanes"``, the default, or ``"reference"``: other random numbers, the same
        distribution.
        """
        full = complete(self.model, points, len(seeds))
        tasks, sums = self._tasks(full, seeds), []
        for group, targets in self._groups(tasks, kernel or self.name):
            drive([group], self.schedule, cancel_check=cancel_check)
            sums += targets
        atoms = self.model.atoms(full, self.lattice)
        rows = [
            observe(
                found,
                self.lattice,
                self.schedule.samples,
                task.couplings,
                float(full["T"][p]),
                atoms[p],
            )
            for p, (found, task) in enumerate(zip(sums, tasks, strict=True))
        ]
        return {v.name: np.stack([row[v.name] for row in rows]) for v in self.variables}

    def updates(self, points: int) -> int:
        """Attempted exchanges and hops in so many points."""
        places = self.lattice.sites + self.lattice.hollows
        return points * REPLICAS * places * self.schedule.total_mcs

    def _tasks(self, points: Points, seeds: Seeds) -> list[SlabTask]:
        couplings, atoms = (
            self.model.coefficients(points, FEATURES),
            self.model.atoms(points, self.lattice),
        )
        return [
            SlabTask(
                seed=seeds[p],
                couplings=couplings[p],
                heat=float(GAS_CONSTANT * points["T"][p]),
                calcium=int(atoms[p, 0]),
                oxygen=int(atoms[p, 1]),
                bulk_pairs=int(points["bulk_pairs"][p]),
            )
            for p in range(len(seeds))
        ]

    def _groups(self, tasks: Sequence[SlabTask], kernel: str) -> list[tuple[Group, list[SlabSums]]]:
        sums = [SlabSums.empty(self.lattice.layers) for _ in tasks]
        if kernel == REFERENCE:
            return [
                (SlabReference(self.lattice, task, sums[p]), sums[p : p + 1])
                for p, task in enumerate(tasks)
            ]
        eights = [slice(first, first + WORDS) for first in range(0, len(tasks), WORDS)]
        return [(SlabLanes(self.lattice, tasks[e], sums[e]), sums[e]) for e in eights]


def arrangement_coordinates() -> dict[str, tuple[str, npt.NDArray[Any], dict[str, str]]]:
    """What tells the six arrangements of four surface A-sites apart.

    Examples
    --------
    >>> arrangement_coordinates()["label"][1].tolist()
    ['Ca 0', 'Ca 1', 'Ca 2, adjacent', 'Ca 2, opposite', 'Ca 3', 'Ca 4']
    """
    calcium = CLASSES.neighbors[:ARRANGEMENTS]
    opposite = CLASSES.pairs("opposite")[:ARRANGEMENTS]
    names = [
        f"Ca {n}" + (", opposite" if across else ", adjacent") * int(n == 2)
        for n, across in zip(calcium, opposite, strict=True)
    ]
    return {
        name: ("configuration", values, {"long_name": told})
        for name, values, told in (
            ("label", np.array(names), "Ca around the hollow"),
            ("multiplicity", CLASSES.multiplicity[:ARRANGEMENTS], "arrangements in the class"),
            ("n_ca", calcium, "Ca around the hollow"),
        )
    }
