"""A rehearsal: images drawn from a known interaction, measured and fitted like real ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.stats import norm

from latticescape.analysis.counts.counting import count_measured
from latticescape.analysis.images.measurement import measure
from latticescape.analysis.images.synthetic import draw_configuration, place_atoms
from latticescape.analysis.inference.estimation.fit import fit
from latticescape.analysis.inference.landscapes.landscape import landscape
from latticescape.physics.kernels.sampler import sample
from latticescape.physics.kernels.schedule import Schedule
from latticescape.physics.lattices.lattice import triangular
from latticescape.physics.models.alloys import PairAlloy
from latticescape.physics.variables import unpack_replicas
from latticescape.sweeps.spec.seeding import point_seeds

LATTICE = "triangular"
SIZE = 24
COMPOSITION = 0.5
SPACING = 12.0
SPECIES = ("dim", "bright")

# Long enough that nothing is left of the random start.
SCHEDULE = Schedule(equilibration_mcs=400, samples=2, stride_mcs=1)


@dataclass(frozen=True)
class Rehearsal:
    """What came out, beside what had gone in.

    Attributes
    ----------
    true
        The w1 of the simulation that the images were drawn from.
    fitted, error
        The fitted one, and its standard error.
    images, atoms
        As drawn, and as found in them.
    """

    true: float
    fitted: float
    error: float
    images: Mapping[str, xr.DataArray]
    atoms: Mapping[str, xr.Dataset]

    def held(self, confidence: float) -> bool:
        """Whether the interval of that confidence holds the truth."""
        return bool(abs(self.fitted - self.true) <= norm.ppf(0.5 + confidence / 2) * self.error)

    def as_dict(self) -> dict[str, object]:
        """The figures."""
        return {
            "true": self.true,
            "fitted": self.fitted,
            "error": self.error,
            "images": len(self.images),
        }


def rehearse(simulated: xr.Dataset, w1: float, *, images: int = 4, seed: int) -> Rehearsal:
    """Simulate, draw, measure, fit.

    A pair alloy on the triangular lattice is simulated at a known w1, and some of its replicas are
    drawn as noisy images. These are measured without being told anything but the lattice and that
    there are two species, and w1 is fitted to the counts.

    Parameters
    ----------
    simulated
        A sweep of ``pair_alloy`` over x and w1, as ``examples/rehearsal.toml`` asks for.
    w1
        The true interaction, in k_B·T.
    images
        How many, 1 to 64.
    seed
        Of the simulation, of the atoms' places and of the noise.
    """
    drawn = draw_images(w1, images=images, seed=seed)
    atoms = {name: measure(image, LATTICE, SPECIES) for name, image in drawn.items()}
    observed = count_measured(atoms, seed=seed)
    value, error = fit(landscape(simulated, observed)).parameters["w1"]
    return Rehearsal(w1, value, error, drawn, atoms)


def draw_images(w1: float, *, images: int, seed: int) -> dict[str, xr.DataArray]:
    """Configurations of an alloy: turned, with a second sublattice, vacancies, drift, noise."""
    alloy, lattice = PairAlloy(x=COMPOSITION, w1=w1), triangular(SIZE)
    seeds = point_seeds(seed, [alloy.fixed_parameters])
    samples = sample(alloy, lattice, {}, SCHEDULE, seeds, keep=("spins",))
    spins = unpack_replicas(samples.kept["spins"])[0, :images]
    turns = np.random.default_rng(seed).uniform(0, 60, images)
    return {
        f"drawn{k}": draw_configuration(
            place_atoms(
                lattice,
                spins[k].astype(int),
                spacing=SPACING,
                rotation=float(turns[k]),
                chalcogen=0.12,
                disorder=0.015,
                vacancies=0.003,
                seed=seed + k,
            ),
            seed=seed + k,
            peak=150.0,
            background=20.0,
            background_slope=(10.0, -8.0),
        )
        for k in range(images)
    }
