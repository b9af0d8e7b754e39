"""Bootstrap: the scatter of fitted parameters over resampled experiments."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.linalg import sqrtm

from latticescape.analysis.checks import check_has, check_least
from latticescape.analysis.counts.blocks import Atoms, block_counts
from latticescape.analysis.inference.estimation.deviance import Overlap, deviance, deviances_of
from latticescape.analysis.inference.estimation.finer import finer
from latticescape.analysis.inference.estimation.fit import (
    Fit,
    Minimum,
    find_minimum,
    interpolated,
    required_interpolation,
)
from latticescape.analysis.inference.estimation.information import (
    coupling_slopes,
    information,
    root_histograms,
)
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError, checked_choice

Floats = npt.NDArray[np.float64]
Kind = Literal["parametric", "images", "blocks"]
KINDS: tuple[Kind, ...] = ("parametric", "images", "blocks")

LEVELS = (0.68, 0.95)
FEWEST_DRAWS = 20


@dataclass(frozen=True)
class Bootstrap(Fit):
    """A fit whose errors come from draws.

    Attributes
    ----------
    draws
        A variable a parameter, (draw,).
    kind
        The kind of bootstrap.
    """

    draws: xr.Dataset = field(default_factory=xr.Dataset)
    kind: Kind = "parametric"

    def interval(self, name: str, level: float = 0.68) -> tuple[float, float]:
        """The central interval of a parameter that holds this share of the draws."""
        ends = np.quantile(self.draws[name].values, [(1 - level) / 2, (1 + level) / 2])
        return float(ends[0]), float(ends[1])

    @property
    def intervals(self) -> Mapping[str, Mapping[float, tuple[float, float]]]:
        """68 % and 95 % intervals by parameter."""
        return {n: {level: self.interval(n, level) for level in LEVELS} for n in self.parameters}


def bootstrap(
    landscape: xr.Dataset,
    draws: int = 500,
    seed: int = 1,
    *,
    kind: Kind = "parametric",
    overlap: Overlap | None = None,
    atoms: Mapping[str, Atoms] | None = None,
    blocks: int = 4,
) -> Bootstrap:
    """Parameters with their scatter over resampled experiments.

    Parameters
    ----------
    landscape
        A landscape that holds its histograms, as :func:`latticescape.landscape` makes it.
    draws
        How many experiments; each is fitted on the same landscape.
    seed
        Of the draws.
    kind
        ``"parametric"``: counts are drawn from the simulation at the best point, as many as were
        seen. If neighbourhoods overlap, the draws' deviations are stretched so that they scatter as
        counts of complete configurations do. ``"images"``: images are drawn with replacement,
        without a model of their differences. ``"blocks"``: square blocks of every image are drawn
        with replacement; they must be wider than the correlation length.
    overlap
        How overlapping neighbourhoods are taken, see :func:`deviance`;
        draws of images and blocks contain the overlap already.
    atoms
        For blocks: of every image the result of ``measure``, or a table (or its path) with columns
        ``row_px, col_px, species`` with species 0 and 1.
    blocks
        Blocks along each side of an image.

    Returns
    -------
    Bootstrap
        A :class:`Fit` whose errors and covariance are those of ``draws``.

    Raises
    ------
    RequestError
        If there are no parameters, no counts, only one image to draw from, no atoms for the
        blocks, or too few points for a curve.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap (Chapman and Hall, 1993); Politis and
    Romano, Ann. Statist. 20, 1985 (1992), for blocks.

    Examples
    --------
    >>> from latticescape import landscape
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> from latticescape import configurations
    >>> classes = configurations("honeycomb")
    >>> x = np.linspace(0.3, 0.6, 13)
    >>> exact = (classes.random_mixing(x) * 1e6).astype(int)
    >>> sweep = xr.Dataset(
    ...     {"histogram_replica": (("p", "replica", "configuration"), exact[:, None].repeat(64, 1)),
    ...     },
    ...     coords={"p": x, "label": ("configuration", np.array(classes.labels))})
    >>> counts = np.random.default_rng(1).multinomial(400, classes.random_mixing(0.45))
    >>> surface = landscape(sweep, counts_dataset({"one": counts}, classes))
    >>> estimate = bootstrap(surface, draws=200, overlap="independent")
    >>> value, error = estimate.parameters["p"]
    >>> abs(value - 0.45) < 0.04, 0.008 < error < 0.02
    (True, True)
    """
    _check(landscape, kind, draws, atoms)
    deviances = finer(landscape, deviance(landscape, overlap))
    between = required_interpolation(deviances, "to draw experiments on")
    minimum = find_minimum(landscape, deviances, between)
    rng = np.random.default_rng(seed)
    if kind == "parametric":
        estimates = _parametric(landscape, minimum, draws, rng)
    elif kind == "images":
        images = len(deviances.numbers)
        times = rng.multinomial(images, np.full(images, 1 / images), size=draws)
        resampled = between.minimum(times @ deviances.parts[:, between.chosen])
        # The variance of resampled images is smaller than that of new ones by (n − 1)/n.
        estimates = minimum.point + np.sqrt(images / (images - 1)) * (resampled - minimum.point)
        estimates = estimates + _monte_carlo(minimum, draws, rng)
    else:
        resampled_counts = []
        for parts in block_counts(landscape, atoms or {}, blocks):
            number = len(parts)
            times = rng.multinomial(number, np.full(number, 1 / number), size=draws)
            total = parts.sum(axis=0)
            wider = np.sqrt(number / (number - 1))
            resampled_counts.append(np.maximum(total + wider * (times @ parts - total), 0))
        estimates = _fitted(landscape, minimum, np.stack(resampled_counts, axis=1))
        estimates = estimates + _monte_carlo(minimum, draws, rng)
    estimates = between.design.inside(estimates)
    return _described(minimum, estimates, kind)


def _check(landscape: xr.Dataset, kind: str, draws: int, atoms: Mapping[str, Atoms] | None) -> None:
    checked_choice(kind, KINDS, "unknown kind of bootstrap")
    check_least(draws, FEWEST_DRAWS, "draws")
    if not parameters_of(landscape):
        raise RequestError("the landscape has no parameters", allowed="one axis or more")
    if not (landscape["n"].values > 0).all():
        raise RequestError("there are no counts to draw", came=0, allowed="at least one per image")
    if kind == "images":
        hint = 'kind="blocks" with its atoms, or kind="parametric"'
        check_least(landscape["n"].size, 2, "images for a bootstrap over images", hint)
        return
    if kind == "blocks" and not atoms:
        hint = 'bootstrap(landscape, kind="blocks", atoms={"re05": "re05_atoms.csv"})'
        raise RequestError("blocks of an image need its atoms", allowed="atoms=", hint=hint)
    problem = "the landscape does not hold the histograms it was made from"
    check_has(landscape, ("probability", "counts"), problem, 'kind="images", or posterior')


def _parametric(
    landscape: xr.Dataset, minimum: Minimum, draws: int, rng: np.random.Generator
) -> Floats:
    """Fits of counts drawn as independent; the deviations are then scaled to the covariance. Of an
    exact likelihood, fits of features that scatter as those of configurations do."""
    if minimum.deviances.exact is not None:
        return _of_features(landscape, minimum, draws, rng) + _monte_carlo(minimum, draws, rng)
    independent = minimum
    if minimum.deviances.overlap == "simulated":
        deviances = deviance(landscape, "independent")
        between = interpolated(deviances)
        assert between is not None  # the same points as before
        independent = find_minimum(landscape, deviances, between)
    q = root_histograms(landscape, independent.deviances, independent.between, independent.point)[0]
    q = q**2
    numbers = np.rint(independent.deviances.numbers).astype(int)
    counts = [rng.multinomial(n, p / p.sum(), size=draws) for n, p in zip(numbers, q, strict=True)]
    estimates = _fitted(landscape, independent, np.stack(counts, axis=1).astype(float))
    deviations = estimates - independent.point
    if minimum.deviances.overlap == "simulated":
        # Map the deviations of one covariance to another, along directions that are not flat.
        basis = minimum.basis
        has, wants = (
            basis.T @ ((m.covariance - _simulation_noise(m)) / np.outer(m.half, m.half)) @ basis
            for m in (independent, minimum)
        )
        root = np.real(sqrtm(wants)) @ np.linalg.inv(np.real(sqrtm(has)))
        scaled = basis @ root @ basis.T + np.eye(len(basis)) - basis @ basis.T
        deviations = deviations @ (scaled * np.outer(minimum.half, 1 / minimum.half)).T
    return minimum.point + deviations + _monte_carlo(minimum, draws, rng)


def _of_features(
    landscape: xr.Dataset, minimum: Minimum, draws: int, rng: np.random.Generator
) -> Floats:
    """Minima of −2 ln L + 2 b·δ, with the deviations δ of the features of a configuration."""
    between, exact = minimum.between, minimum.deviances.exact
    assert exact is not None
    chosen = between.chosen
    # Of the deviations only what the parameters feel has an effect.
    slopes = coupling_slopes(minimum.deviances, between, minimum.point)
    known = information(landscape, minimum.deviances, between, minimum.point)
    values, vectors = np.linalg.eigh(known.slope_covariance)
    normal = rng.standard_normal((draws, len(values)))
    pulls = (normal * np.sqrt(np.maximum(values, 0))) @ vectors.T
    deviations = pulls @ np.linalg.pinv(slopes).T
    tilted = minimum.deviances.values[chosen] + 2 * deviations @ exact.couplings[chosen].T
    return between.minimum(tilted)


def _simulation_noise(minimum: Minimum) -> Floats:
    """The Monte Carlo covariance of the parameters that are fitted."""
    every = list(minimum.fit.parameters)
    at = [every.index(name) for name in minimum.deviances.names]
    return minimum.fit.monte_carlo_covariance[np.ix_(at, at)]


def _monte_carlo(minimum: Minimum, draws: int, rng: np.random.Generator) -> Floats:
    """Deviations due to the finite simulation, which all draws share with the fit."""
    noise = _simulation_noise(minimum)
    values, vectors = np.linalg.eigh((noise + noise.T) / 2)
    normal = rng.standard_normal((draws, len(noise)))
    return np.asarray((normal * np.sqrt(np.maximum(values, 0))) @ vectors.T, float)


def _fitted(landscape: xr.Dataset, minimum: Minimum, counts: Floats) -> Floats:
    """Minima for other counts (draws, images, classes), (draws, parameters)."""
    values = deviances_of(landscape, minimum.deviances, counts, minimum.between.chosen)
    return minimum.between.minimum(values)


def _described(minimum: Minimum, estimates: Floats, kind: Kind) -> Bootstrap:
    estimate, names = minimum.fit, minimum.deviances.names
    columns = {name: estimates[:, k] for k, name in enumerate(names)}
    draws = xr.Dataset(
        {
            name: ("draw", columns.get(name, np.full(len(estimates), value)))
            for name, (value, _) in estimate.parameters.items()
        },
        attrs={"kind": kind, "overlap": estimate.overlap},
    )
    spread = {name: float(draws[name].std(ddof=1)) for name in names}
    parameters = {
        name: (value, spread[name] if name in spread and np.isfinite(error) else error)
        for name, (value, error) in estimate.parameters.items()
    }
    covariance = estimate.covariance.copy()
    at = [list(estimate.parameters).index(name) for name in names]
    covariance[np.ix_(at, at)] = np.cov(estimates.T).reshape(len(names), len(names))
    kept = {f.name: getattr(estimate, f.name) for f in fields(Fit)}
    return Bootstrap(
        **{**kept, "parameters": parameters, "covariance": covariance}, draws=draws, kind=kind
    )
