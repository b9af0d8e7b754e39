"""Calibrate error bars: draw experiments like the user's from the sweep, fit each, and count."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import norm

from latticescape.analysis.checks import RUN_AGAIN, check_least
from latticescape.analysis.counts.classes import classes_of
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.inference.estimation.bootstrap import FEWEST_DRAWS, LEVELS, bootstrap
from latticescape.analysis.inference.estimation.deviance import Overlap
from latticescape.analysis.inference.estimation.fit import Fit, fit
from latticescape.analysis.inference.landscapes.landscape import (
    conserved_fractions,
    landscape,
    parameters_of,
)
from latticescape.analysis.inference.likelihood.ensemble import Ensemble
from latticescape.analysis.inference.likelihood.sections import (
    Shape,
    can_be_drawn,
    configurations_at,
)
from latticescape.physics.errors import RequestError, checked_choice
from latticescape.physics.kernels.lattice_kernel import has_random_bonds
from latticescape.physics.lattices.site_classes import classes_at
from latticescape.physics.models.model import REPLICAS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Method = Literal["laplace", "bootstrap"]
METHODS: tuple[Method, ...] = ("laplace", "bootstrap")

# Sections of the lattice among which each configuration is cut.
SECTIONS = 64


@dataclass(frozen=True)
class Experiments:
    """Counts like an image's, of configurations that the sweep's own kernel draws.

    An image of fewer sites than the lattice is drawn as a section of it, of the image's own shape
    if the counts hold it, else a round one; of an alloy, the section whose composition comes
    closest. A larger one is drawn as several lattices.

    Parameters
    ----------
    simulated
        A sweep's Dataset.
    observed
        Counts per image.
    parameters
        Where the configurations are drawn: a value of every swept parameter that is no
        composition.
    """

    simulated: xr.Dataset
    observed: xr.Dataset
    parameters: dict[str, float]

    def draw(self, number: int, seed: int) -> Iterator[xr.Dataset]:
        """Counts of ``number`` experiments, each as ``observed_counts`` has them."""
        ensemble, classes = Ensemble(self.simulated), classes_of(self.observed)
        rng = np.random.default_rng([seed, 1])
        counts: dict[str, list[Integers]] = {}
        for d, image in enumerate(self.observed["image"].values):
            one = self.observed.sel(image=image)
            shape = Shape(ensemble.lattice, one)
            lattices = max(1, round(shape.number / len(shape.rows.centers)))
            species = self._configurations(ensemble, one, number * lattices, [seed, 2, d])
            own = classes_at(species, shape.rows)
            drawn = counts.setdefault(str(image), [])
            sections = list(shape.sections(SECTIONS, rng)) if shape.is_section else []
            for k in range(number):
                part = own[k * lattices : (k + 1) * lattices]
                if sections:
                    chosen = int(rng.integers(len(sections)))
                    if ensemble.model.move == "exchange":
                        # Of an alloy, the section whose composition is that of the image.
                        centre = np.minimum(species[k][shape.rows.centers], 1)
                        shares = [centre[section].mean() for section in sections]
                        chosen = int(np.argmin(np.abs(shares - one["composition"].to_numpy())))
                    part = part[:, sections[chosen]]
                drawn.append(np.bincount(part.ravel(), minlength=len(classes)))
        # Sections have the shapes of the images.
        shapes = self.observed[["centres"]] if "centres" in self.observed else xr.Dataset()
        for k in range(number):
            drawn_counts = {image: of[k] for image, of in counts.items()}
            yield counts_dataset(drawn_counts, classes).assign(shapes)

    def _configurations(
        self, ensemble: Ensemble, image: xr.Dataset, number: int, seed: list[int]
    ) -> npt.NDArray[np.uint8]:
        """Configurations at the composition of an image, (number, sites)."""
        place = dict(self.parameters)
        for fraction in conserved_fractions(self.simulated):
            if fraction.name in self.simulated.dims:
                values, measured = self.simulated[fraction.name], float(fraction.measured(image))
                nearest = values.sel({fraction.name: measured}, method="nearest")
                place[fraction.name] = float(nearest)
        words = -(-number // REPLICAS)
        seeds = np.random.default_rng(seed).integers(2**64, size=(words, 4), dtype=np.uint64)
        return np.concatenate(list(configurations_at(ensemble, [place] * words, seeds)))[:number]


def calibrate(
    simulated: xr.Dataset,
    observed: xr.Dataset,
    *,
    draws: int = 128,
    seed: int = 1,
    method: Method = "laplace",
    overlap: Overlap | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Count how often the intervals of a fit hold the truth, in experiments like the user's.

    Configurations are drawn at the fitted parameters with the sweep's own kernel and lattice, as
    many sites are counted as each image has, and each experiment is fitted on the sweep.

    Parameters
    ----------
    simulated
        A complete sweep of a lattice model with two species.
    observed
        Counts per image.
    draws
        How many experiments.
    seed
        Of the configurations.
    method
        ``"laplace"``: the intervals of :func:`latticescape.fit`; ``"bootstrap"``: those of
        :func:`latticescape.bootstrap`.
    overlap
        As for :func:`latticescape.fit`.
    progress
        Called with how many experiments are fitted, and of how many: before the first one, and
        after each.

    Returns
    -------
    Dataset
        By parameter and draw: ``value``, ``se``, ``low68`` … ``high95``, and ``pit``, the
        probability that the fit gives to values below the truth, uniform between 0 and 1 if errors
        are right. By parameter: ``truth``, ``bias`` with ``bias_se``, ``pull_rms``, the root mean
        square of (value − truth)/se. ``coverage`` with ``coverage_se`` (parameter, level): share of
        the intervals that hold the truth. Fits without finite errors count as not holding it;
        ``failed`` is their number.

    Raises
    ------
    RequestError
        If the sweep is not complete or has random bonds or other species, if there are no
        parameters, or the fit lies at the edge of the grid or is
        not determined.

    References
    ----------
    Dawid, J. R. Stat. Soc. A 147, 278 (1984), for the probability integral transform.

    Examples
    --------
    >>> import tempfile
    >>> import latticescape as ls
    >>> sweep = ls.Sweep(ls.square(8), ls.Ising(H=0.1), {"T": np.linspace(2.2, 9.0, 12)},
    ...                  ls.Schedule(100, 50, 2), seed=1)
    >>> ds = ls.run(sweep, tempfile.mkdtemp() + "/ising.zarr")
    >>> from latticescape.analysis.counts.counting import count_lattices
    >>> one = count_lattices(np.tile([0, 1, 0, 0, 1, 1, 0, 1], (6, 8)), ls.square(8))
    >>> calibration = ls.calibrate(ds, one, draws=20)
    >>> calibration.coverage.sizes["level"]
    2
    """
    checked_choice(method, METHODS, "unknown method")
    check_least(draws, FEWEST_DRAWS, "draws")
    truth = _fitted(simulated, observed, overlap)
    tell = progress or (lambda done, of: None)
    tell(0, draws)
    experiments = Experiments(simulated, observed, truth)
    rows: list[list[list[float]]] = []
    pits: list[Floats] = []
    for k, experiment in enumerate(experiments.draw(draws, seed)):
        surface = landscape(simulated, experiment)
        if method == "laplace":
            estimate: Fit = fit(surface, overlap=overlap)
            table = estimate.table
            pulls = [(truth[name] - row["value"]) / row["se"] for name, row in table.items()]
            pits.append(np.asarray(norm.cdf(pulls), float))
        else:
            drawn = bootstrap(surface, seed=seed + k, overlap=overlap)
            table, below = dict(drawn.table), drawn.draws
            for name, row in table.items():
                for level in LEVELS:
                    ends = drawn.interval(name, level)
                    row[f"low{100 * level:.0f}"], row[f"high{100 * level:.0f}"] = ends
            pits.append(np.array([float((below[n].values < truth[n]).mean()) for n in table]))
        rows.append([list(table[name].values()) for name in truth])
        tell(k + 1, draws)
    return _summary(truth, np.array(rows, float), np.array(pits, float), method)


def _fitted(
    simulated: xr.Dataset, observed: xr.Dataset, overlap: Overlap | None
) -> dict[str, float]:
    """The fitted parameters, at which experiments are drawn."""
    if "done" in simulated and not bool(simulated["done"].all()):
        missing = int((~simulated["done"]).sum())
        problem = "a sweep must be complete to calibrate a fit"
        came, allowed = f"{missing} points are not computed", "all points"
        raise RequestError(problem, came=came, allowed=allowed, hint=RUN_AGAIN)
    surface = landscape(simulated, observed)
    if not parameters_of(surface):
        raise RequestError("the landscape has no parameters", allowed="one axis or more")
    ensemble = Ensemble(simulated)
    if not can_be_drawn(ensemble):
        disordered = has_random_bonds(ensemble.model)
        came = "random bonds" if disordered else "three species or more"
        allowed = "two species, and the same couplings everywhere"
        raise RequestError(
            "experiments cannot be drawn from this sweep", came=came, allowed=allowed
        )
    best = fit(surface, overlap=overlap)
    if best.border or best.flat or not np.isfinite(best.covariance).all():
        problem = "a fit must have its minimum and its errors within the grid to be calibrated"
        came = "; ".join(best.notes) or "infinite errors"
        allowed, hint = "a minimum within the grid", "latticescape refine, or wider axes"
        raise RequestError(problem, came=came, allowed=allowed, hint=hint)
    return {name: value for name, (value, _) in best.parameters.items()}


def _summary(truth: dict[str, float], rows: Floats, pits: Floats, method: str) -> xr.Dataset:
    names = ("value", "se", "low68", "high68", "low95", "high95")
    ds = xr.Dataset(
        {name: (("draw", "parameter"), rows[..., k]) for k, name in enumerate(names)}
        | {"pit": (("draw", "parameter"), pits), "truth": ("parameter", [*truth.values()])},
        coords={"parameter": list(truth), "level": list(LEVELS)},
        attrs={"method": method},
    )
    known: xr.DataArray = ds["se"] < np.inf
    off = (ds["value"] - ds["truth"]).where(known)
    held = [
        (ds[f"low{100 * level:.0f}"] <= ds["truth"])
        & (ds["truth"] <= ds[f"high{100 * level:.0f}"])
        & known
        for level in LEVELS
    ]
    coverage = xr.concat(held, ds["level"]).mean("draw").transpose("parameter", "level")
    ds = ds.assign(
        bias=off.mean("draw"),
        bias_se=off.std("draw", ddof=1) / np.sqrt(known.sum("draw")),
        pull_rms=np.sqrt(((off / ds["se"]) ** 2).mean("draw")),
        coverage=coverage,
        # Of the nominal level, so that a share of 1 has an error too.
        coverage_se=np.sqrt(ds["level"] * (1 - ds["level"]) / ds.sizes["draw"]),
        failed=(known.sum("parameter") < len(truth)).sum(),
    )
    long_names = {
        "pit": "probability that the fit gives to values below the truth",
        "coverage": "share of the intervals that hold the truth",
        "coverage_se": "standard error of the coverage if it is right",
        "pull_rms": "root mean square of (value − truth)/se",
        "failed": "fits without finite errors",
    }
    for name, long_name in long_names.items():
        ds[name].attrs.update(long_name=long_name, units="1")
    return ds
