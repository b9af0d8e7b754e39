"""The demo: fit the interactions of Mo(1-x)Re(x)S2 to four images, and check the workflow."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import norm

from latticescape.analysis.counts.counting import count_measured, observed_counts
from latticescape.analysis.images.measurement import measure
from latticescape.analysis.images.synthetic import draw_configuration, place_atoms
from latticescape.analysis.inference.comparison.comparison import compare
from latticescape.analysis.inference.comparison.models import argmin_s2
from latticescape.analysis.inference.estimation.fit import Fit, fit
from latticescape.analysis.inference.landscapes.landscape import landscape, random_mixing
from latticescape.analysis.plots.maps import landscape_map, save
from latticescape.analysis.plots.pictures import measured_maps
from latticescape.deploy.examples import example
from latticescape.physics.kernels.kernel import Schedule
from latticescape.physics.kernels.lattice_kernel import sample
from latticescape.physics.lattices.lattice import triangular
from latticescape.physics.models.alloys import PairAlloy
from latticescape.physics.variables import unpack_replicas
from latticescape.sweeps.execution.run import Report, execute
from latticescape.sweeps.spec.sweep import Sweep, point_seeds
from latticescape.sweeps.store.store import open_sweep

# Two sweeps over (w1, w2); the pair model of nearest neighbours is the cut w2 = 0 of the first.
SWEEPS = {"pair_nnn": "mores2_pair.toml", "three_body": "mores2_three_body.toml"}

# The interaction of the synthetic images, which the fit has to recover.
SYNTHETIC_W1 = -0.15
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


@dataclass(frozen=True)
class Demo:
    """The results of the demo, and their files.

    Attributes
    ----------
    reports
        The report of each sweep.
    fits
        The fit of each model with parameters.
    published_fits
        The fits by the published convention: the minimum of S², with the Laplace error of
        independent counts.
    comparison, published
        The comparison of all models, and the published table.
    synthetic_check
        The fit of synthetic images with a known interaction.
    pictures
        The landscapes, and the first of the synthetic images.
    seconds
        Wall time in seconds.
    """

    reports: Mapping[str, Report]
    fits: Mapping[str, Fit]
    published_fits: Mapping[str, Fit]
    comparison: xr.Dataset
    published: pd.DataFrame
    synthetic_check: SyntheticCheck
    pictures: tuple[Path, ...]
    seconds: float

    @property
    def failed(self) -> int:
        """Number of points that could not be computed."""
        return sum(report.failed for report in self.reports.values())

    def as_dict(self) -> dict[str, object]:
        """The results as one JSON object; ``parameters`` are those of the pair model."""
        by_model = self.comparison.set_index(model="model").to_dict(data="list")["data_vars"]
        fits = {model: estimate.table for model, estimate in self.fits.items()}
        published = {model: estimate.table for model, estimate in self.published_fits.items()}
        return {
            "store": self.reports["pair_nnn"].store,
            "stores": {model: report.store for model, report in self.reports.items()},
            "points": sum(report.points for report in self.reports.values()),
            "computed": sum(report.computed for report in self.reports.values()),
            "failed": self.failed,
            "models": [str(m) for m in self.comparison["model"].values],
            "images": [str(i) for i in self.comparison["image"].values],
            "table": {name: values["data"] for name, values in by_model.items()},
            "fits": fits,
            "published_convention_independent_counts": published,
            "parameters": fits["pair"],
            "synthetic_check": self.synthetic_check.as_dict(),
            "pictures": [str(path) for path in self.pictures],
            "seconds": self.seconds,
        }


def demo(folder: Path, *, progress: bool = True) -> Demo:
    """Sweep two models, fit them to the images, and compare them with the random alloy.

    The same workflow is first checked on synthetic images with a known interaction.

    Parameters
    ----------
    folder
        The folder of the stores and the pictures; in the same folder a second run computes only
        what is missing.
    progress
        Show a progress bar in a terminal.
    """
    begin = time.perf_counter()
    observed = observed_counts(example("mores2_counts.csv"), species=("Mo", "Re"))
    reports = {
        name: execute(
            Sweep.from_file(example(spec)), folder / f"{Path(spec).stem}.zarr", progress=progress
        )
        for name, spec in {"synthetic_check": "synthetic_check.toml", **SWEEPS}.items()
    }
    check_sweep = open_sweep(reports["synthetic_check"].store)
    synthetic_check = run_synthetic_check(check_sweep, SYNTHETIC_W1, seed=1)
    sweeps = {model: open_sweep(reports[model].store) for model in SWEEPS}
    pair = sweeps["pair_nnn"].sel(w2=0.0, method="nearest", drop=True)
    surfaces = {model: landscape(sweep, observed) for model, sweep in sweeps.items()}
    models = {"pair": landscape(pair, observed), **surfaces}
    fits = {model: fit(surface) for model, surface in models.items()}
    pictures = {
        f"{Path(SWEEPS[model]).stem}.{kind}": landscape_map(surface)
        for model, surface in surfaces.items()
        for kind in ("png", "html")
    }
    first = next(iter(synthetic_check.images))
    pictures["synthetic_check.png"] = measured_maps(
        synthetic_check.images[first], synthetic_check.atoms[first]
    )
    for name, picture in pictures.items():
        save(picture, folder / name)
    return Demo(
        reports=reports,
        fits=fits,
        published_fits={model: argmin_s2(surface) for model, surface in models.items()},
        comparison=compare({"random": random_mixing(observed), **models}),
        published=pd.read_csv(example("mores2_published.csv"), comment="#"),
        synthetic_check=synthetic_check,
        pictures=tuple(folder / name for name in pictures),
        seconds=time.perf_counter() - begin,
    )


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
