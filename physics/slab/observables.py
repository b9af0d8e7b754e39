"""Points, sums over samples, observables and Dataset variables of a segregation slab."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.equilibration import equilibration
from latticescape.physics.kernels.observables import Estimates, energy_drift, jackknife
from latticescape.physics.kernels.restart import MOST_CHECKPOINTS
from latticescape.physics.models.model import REPLICAS
from latticescape.physics.slab.lattice import ARRANGEMENTS, Slab
from latticescape.physics.slab.model import GAS_CONSTANT, SPECIES
from latticescape.physics.variables import Variable


@dataclass(frozen=True)
class SlabTask:
    """A point: its seed, energies and atoms.

    Attributes
    ----------
    seed
        (4,) uint64.
    couplings
        w_CL, w_LL, w_LO in kJ/mol, (3,).
    heat
        RT in kJ/mol.
    calcium, oxygen
        Numbers of atoms.
    bulk_pairs
        Which pairs are bulk, see :meth:`latticescape.Slab.bulk_bonds`.
    """

    seed: npt.NDArray[np.uint64]
    couplings: npt.NDArray[np.float64]
    heat: float
    calcium: int
    oxygen: int
    bulk_pairs: int


Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SlabSums:
    """Sums over the samples of every replica of a point; integers, so that the order is irrelevant.

    Attributes
    ----------
    features
        (64, 3): unlike bulk pairs, La–La pairs of the surface, La–O contacts.
    products
        (64, 3, 3): products of any two of them, for the variance of the energy.
    checkpoints
        (9, 64, 3): features over the samples up to each of the :func:`checkpoints`, the first of
        which is the first half of the samples.
    histogram
        (64, 12): classes of hollows.
    calcium
        (64, layers): Ca atoms of every layer.
    """

    features: Integers
    products: Integers
    checkpoints: Integers
    histogram: Integers
    calcium: Integers

    @staticmethod
    def arrays(points: int, layers: int) -> list[Integers]:
        """Sums of zero of several points, points first."""
        features = (MOST_CHECKPOINTS, REPLICAS, 3)
        replicas = ((3,), (3, 3), (2 * ARRANGEMENTS,), (layers,))
        shapes = [(REPLICAS, *shape) for shape in replicas]
        shapes.insert(2, features)
        return [np.zeros((points, *shape), np.int64) for shape in shapes]

    @classmethod
    def empty(cls, layers: int) -> "SlabSums":
        """Sums of zero of one point."""
        return cls(*(array[0] for array in cls.arrays(1, layers)))

    @property
    def first_half(self) -> Integers:
        """Features summed over the first half of the samples, (64, 3)."""
        half: Integers = self.checkpoints[0]
        return half

    def add(self, features: Integers, histogram: Integers, calcium: Integers) -> None:
        """One sample of every replica: (64, 3), (64, 12), (64, layers)."""
        np.add(self.features, features, out=self.features)
        np.add(self.products, features[:, :, None] * features[:, None], out=self.products)
        np.add(self.histogram, histogram, out=self.histogram)
        np.add(self.calcium, calcium, out=self.calcium)


def observe(
    sums: SlabSums,
    lattice: Slab,
    samples: int,
    couplings: Floats,
    temperature: float,
    atoms: Integers,
    ratio: float = 0.0,
) -> dict[str, np.ndarray]:
    """Compute every variable of one point, with jackknife errors over its replicas.

    Parameters
    ----------
    sums
        Of this point.
    lattice, samples
        What was simulated, and how often it was measured.
    couplings
        Energy of a unit of each feature, kJ/mol, (3,).
    temperature
        K.
    atoms
        Numbers of Ca and of O.
    ratio
        Steps of equilibration / steps of sampling.
    """
    energy = np.sum(sums.features * couplings, axis=-1) / samples
    pairs = couplings[:, None] * couplings
    square = np.sum(sums.products * pairs, axis=(-1, -2)) / samples
    fraction = sums.calcium / (samples * lattice.hollows)
    rows = np.column_stack([energy, square, fraction])

    def estimates(mean: Floats) -> Estimates:
        energy, square = mean[..., 0], mean[..., 1]
        width = GAS_CONSTANT * temperature
        heat_capacity = (square - energy * energy) / (lattice.sites * width**2)
        return {"energy": energy / lattice.sites, "heat_capacity": heat_capacity}

    values, errors = jackknife(rows, estimates)
    drift = energy_drift(sums, couplings, lattice.sites, samples)
    values["energy_drift"] = np.asarray(drift.mean())
    errors["energy_drift"] = np.asarray(drift.std(ddof=1) / np.sqrt(REPLICAS))
    alike = np.zeros(REPLICAS, np.int64)
    trust = equilibration(sums, np.stack([energy, square])[None], samples, alike, ratio)
    spread = fraction.std(axis=0, ddof=1) / np.sqrt(REPLICAS)
    # Fraction of a layer's places with each species, (64, layers).
    oxygen = np.zeros_like(fraction)
    oxygen[:, 0] = atoms[1] / lattice.hollows
    share = {"La": 1.0 - fraction, "Ca": fraction, "O": oxygen}
    return {
        **values,
        **trust,
        **{f"{name}_se": error for name, error in errors.items()},
        "ca_fraction": fraction.mean(axis=0),
        "ca_fraction_se": spread,
        "occupation": np.stack([share[species] for species in SPECIES], axis=-1),
        "histogram": sums.histogram.sum(axis=0).reshape(2, ARRANGEMENTS),
        "histogram_replica": sums.histogram.reshape(REPLICAS, 2, ARRANGEMENTS),
        "features": sums.features / samples,
        "composition": np.asarray(atoms[0] / lattice.sites),
        "coverage": np.asarray(atoms[1] / lattice.hollows),
    }


ESTIMATES = (
    Variable("energy", units="{energy}", long_name="energy per A-site", formula="⟨E⟩/N"),
    Variable(
        "heat_capacity",
        units="R",
        long_name="heat capacity per A-site",
        formula="(⟨E²⟩-⟨E⟩²)/N(RT)²",
    ),
    Variable(
        "energy_drift",
        units="{energy}",
        long_name="energy per A-site, second half of the samples minus first",
        formula="many standard errors from zero: not equilibrated",
    ),
    Variable("ca_fraction", ("layer",), long_name="Ca fraction of a layer's A-sites"),
)

SUMS = (
    Variable(
        "occupation",
        ("replica", "layer", "species"),
        long_name="share of a layer's places that a species holds, of each replica",
        formula="La and Ca on A-sites; O on the hollows of layer 0",
    ),
    Variable(
        "histogram",
        ("oxygen", "configuration"),
        "int64",
        "count",
        "counts of hollows by the arrangement around them, all replicas",
    ),
    Variable(
        "histogram_replica",
        ("replica", "oxygen", "configuration"),
        "int64",
        "count",
        "counts of hollows by the arrangement around them, of each replica",
    ),
    Variable(
        "features",
        ("replica", "feature"),
        long_name="mean feature of the whole slab, of each replica",
        formula="E = couplings · features",
    ),
    Variable("composition", long_name="realised fraction of Ca", formula="round(x·N)/N"),
    Variable("coverage", long_name="hollows with oxygen", formula="round(coverage·L²)/L²"),
)
