"""``SlabKernel``: the kernel of a segregation slab."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from latticescape.physics.errors import CancelCheck, RequestError, never_cancelled
from latticescape.physics.kernels.batches import Batch, drive_from
from latticescape.physics.kernels.kernel import (
    Axes,
    Coordinates,
    Earlier,
    ModelKernel,
    Seeds,
    complete,
    described,
)
from latticescape.physics.kernels.lattice_kernel import MULTISPIN, REFERENCE
from latticescape.physics.kernels.multispin.simd import WORDS
from latticescape.physics.kernels.restart import BEGINNING, Progress, pack, resume
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.slab.lattice import ARRANGEMENTS, CLASSES, Slab
from latticescape.physics.slab.model import FEATURES, GAS_CONSTANT, SPECIES, SegregationSlab
from latticescape.physics.slab.multispin import SlabMultispinBatch
from latticescape.physics.slab.observables import ESTIMATES, SUMS, SlabSums, SlabTask, observe
from latticescape.physics.slab.reference import SlabReferenceBatch
from latticescape.physics.variables import EQUILIBRATION, RESTART, Variable

OXYGEN = ("without", "with")

# Raised whenever the same seed gives other bits.
KERNEL_VERSIONS = {MULTISPIN: 2, REFERENCE: 2}


@dataclass(frozen=True)
class SlabKernel(ModelKernel):
    """A :class:`SegregationSlab` on a :class:`Slab` under a schedule, as the kernel of a sweep.

    Parameters
    ----------
    lattice, model, schedule, swept
        As for :class:`ModelKernel`; the lattice is a slab.
    keep
        Nothing but ``"restart"``.

    Raises
    ------
    RequestError
        If a swept name is unknown or also fixed, or a parameter is missing; if the lattice is no
        slab; or if cluster updates, tempering or ``keep`` are asked for.

    Examples
    --------
    >>> from latticescape import Schedule, slab
    >>> model = SegregationSlab(w_CL=1.65, w_LL=6.28, w_LO=-7.57)
    >>> kernel = SlabKernel(slab(4, 3), model, Schedule(10, 5, 2), swept=("T",))
    >>> results = kernel.compute({"T": np.array([1000.0])}, np.zeros((1, 4), np.uint64))
    >>> results["ca_fraction"].shape, results["histogram"].shape
    ((1, 3), (1, 2, 6))
    """

    lattice: Slab
    model: SegregationSlab

    name: ClassVar[str] = MULTISPIN
    version: ClassVar[int] = KERNEL_VERSIONS[MULTISPIN]
    nominal_rate: ClassVar[float] = 1e9
    batch_size: ClassVar[int] = WORDS

    def __post_init__(self) -> None:
        self.model.check_lattice(self.lattice)
        schedule = self.schedule
        for name, came, allowed in (
            ("keep", list(self.keep), [[], [RESTART]]),
            ("tempering_mcs", schedule.tempering_mcs, [0]),
            ("update", schedule.update, ["local"]),
            ("rule", schedule.rule, ["auto", "heat_bath", "metropolis"]),
        ):
            if came not in allowed:
                raise RequestError(
                    "a slab supports only local updates without demons, tempering and keep",
                    came=f"{name} = {json.dumps(came)}",
                    allowed=f"{name} = {json.dumps(allowed[0])}",
                )
        super().__post_init__()

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension besides the axes."""
        return {
            "replica": REPLICAS,
            "oxygen": len(OXYGEN),
            "configuration": ARRANGEMENTS,
            "layer": self.lattice.layers,
            "species": len(SPECIES),
            "feature": len(FEATURES),
            **self.kept_sizes,
        }

    @property
    def restart_words(self) -> int:
        """Words of the restart of a point."""
        slab = self.lattice
        sums = sum(array.size for array in SlabSums.arrays(1, slab.layers))
        return len(Progress._fields) + slab.sites + slab.hollows + 8 + sums

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that :meth:`compute` returns."""
        estimates = (v for e in ESTIMATES for v in (e, e.error))
        chosen = (*estimates, *EQUILIBRATION, *SUMS, *self.kept_variables)
        return tuple(v.in_units(self.model.energy_units) for v in chosen)

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the dimensions besides the axes: (dimension, values, attributes)."""
        dimensions = described(
            {
                "replica": (np.arange(REPLICAS), "independent replica"),
                "oxygen": (np.array(OXYGEN), "hollows without and with oxygen"),
                "configuration": (np.arange(ARRANGEMENTS), "arrangement of four surface A-sites"),
                "layer": (np.arange(self.lattice.layers), "layer of A-sites, 0 the surface"),
                "species": (np.array(SPECIES), "species"),
                "feature": (np.array(FEATURES), "integer feature of the model"),
            }
        )
        return {**dimensions, **arrangement_coordinates()}

    def simulate(
        self,
        points: Axes,
        seeds: Seeds,
        cancel_check: CancelCheck = never_cancelled,
        earlier: Earlier | None = None,
        *,
        kernel: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Compute every variable at points that are equally far.

        Parameters
        ----------
        points, seeds, cancel_check, earlier
            As for :meth:`ModelKernel.compute`.
        kernel
            ``"lanes"``, the multispin kernel (default), or ``"reference"``: other random numbers,
            the same distribution.
        """
        full = complete(self.model, points, len(seeds))
        couplings = self.model.coefficients(full, FEATURES)
        atoms = self.model.atoms(full, self.lattice)
        tasks = [
            SlabTask(
                seed=seeds[p],
                couplings=couplings[p],
                heat=float(GAS_CONSTANT * full["T"][p]),
                calcium=int(atoms[p, 0]),
                oxygen=int(atoms[p, 1]),
                bulk_pairs=int(full["bulk_pairs"][p]),
            )
            for p in range(len(seeds))
        ]
        arrays = SlabSums.arrays(len(tasks), self.lattice.layers)
        sums = [SlabSums(*(array[p] for array in arrays)) for p in range(len(tasks))]
        batches: list[Batch]
        if kernel == REFERENCE:
            batches = [
                SlabReferenceBatch(self.lattice, task, target)
                for task, target in zip(tasks, sums, strict=True)
            ]
        else:
            eights = [slice(first, first + WORDS) for first in range(0, len(tasks), WORDS)]
            batches = [SlabMultispinBatch(self.lattice, tasks[e], sums[e]) for e in eights]
        begin, dynamics = BEGINNING, None
        if earlier is not None:
            at_checkpoints = arrays[2]
            begin, dynamics = resume(earlier[RESTART], self.schedule, arrays, at_checkpoints)
        groups = ([batch] for batch in batches)
        dynamics = drive_from(groups, self.schedule, (), cancel_check, begin, dynamics)
        sampled = self.schedule.samples * self.schedule.stride_mcs
        ratio = self.schedule.equilibration_mcs / sampled
        rows = [
            observe(
                sums[p],
                self.lattice,
                self.schedule.samples,
                task.couplings,
                float(full["T"][p]),
                atoms[p],
                ratio,
            )
            for p, task in enumerate(tasks)
        ]
        results = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        results["restart"] = pack(Progress.end(self.schedule), [*arrays, dynamics])
        return {v.name: results[v.name] for v in self.variables}

    def updates(self, points: int) -> int:
        """Number of attempted exchanges and hops in ``points`` points."""
        places = self.lattice.sites + self.lattice.hollows
        return points * REPLICAS * places * self.schedule.total_mcs


def arrangement_coordinates() -> Coordinates:
    """Coordinates that describe the six arrangements of four surface A-sites.

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
        name: ("configuration", values, {"long_name": text})
        for name, values, text in (
            ("label", np.array(names), "Ca around the hollow"),
            ("multiplicity", CLASSES.multiplicity[:ARRANGEMENTS], "arrangements in the class"),
            ("n_ca", calcium, "Ca around the hollow"),
        )
    }
