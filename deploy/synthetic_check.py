"""Check of the workflow: synthetic images with a known interaction, measured and fitted."""

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
from latticescape.physics.kernels.kernel import Schedule
from latticescape.physics.kernels.lattice_kernel import sample
from latticescape.physics.lattices.lattice import triangular
from latticescape.physics.models.alloys import PairAlloy
from latticescape.physics.variables import unpack_replicas
from latticescape.sweeps.spec.sweep import point_seeds

LATTICE = "triangular"
SIZE = 24
COMPOSITION = 0.5
SPACING = 12.0
SPECIES = ("dim", "bright")

# Long enough to forget the random start.
SCHEDULE = Schedule(equilibration_mcs=400, samples=2, stride_mcs=1)


@dataclass(frozen=True)
class SyntheticCheck:
    """The fitted interaction and the true one.

    Attributes
    ----------
    true
        The w1 of the simulation that the images show.
    fitted, error
        The fitted w1, and its standard error.
    images, atoms
        The synthetic images, and the atoms measured in them.
    """

    true: float
    fitted: float
    error: float
    images: Mapping[str, xr.DataArray]
    atoms: Mapping[str, xr.Dataset]

    def contains_truth(self, confidence: float) -> bool:
        """Whether the confidence interval contains the true w1."""
        return bool(abs(self.fitted - self.true) <= norm.ppf(0.5 + confidence / 2) * self.error)

    def as_dict(self) -> dict[str, object]:
        """The values as one JSON object."""
        return {
            "true": self.true,
            "fitted": self.fitted,
            "error": self.error,
            "images": len(self.images),
        }


def run_synthetic_check(
    simulated: xr.Dataset, w1: float, *, images: int = 4, seed: int
) -> SyntheticCheck:
    """Simulate an alloy, draw images of it, measure them and fit w1.

    A pair alloy on the triangular lattice is simulated at a known w1, and some of its replicas are
    drawn as noisy images. The measurement knows only the lattice and that there are two species;
    w1 is fitted to the counts.

    Parameters
    ----------
    simulated
        A sweep of ``pair_alloy`` over x and w1, as ``examples/synthetic_check.toml`` defines.
    w1
        The true interaction, in k_B·T.
    images
        The number of images, 1 to 64.
    seed
        The seed of the simulation, of the atoms' positions and of the noise.
    """
    synthetic = draw_images(w1, images=images, seed=seed)
    atoms = {name: measure(image, LATTICE, SPECIES) for name, image in synthetic.items()}
    observed = count_measured(atoms, seed=seed)
    value, error = fit(landscape(simulated, observed)).parameters["w1"]
    return SyntheticCheck(w1, value, error, synthetic, atoms)


def draw_images(w1: float, *, images: int, seed: int) -> dict[str, xr.DataArray]:
    """Draw an alloy: rotated, with a second sublattice, vacancies, drift and noise."""
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
