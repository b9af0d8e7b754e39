"""The posterior of the parameters by Markov chains, and their joint confidence regions."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.linalg import sqrtm
from scipy.stats import chi2, lognorm, norm, uniform

from latticescape.analysis.checks import listed
from latticescape.analysis.inference.estimation.deviance import Overlap, deviance, part_of
from latticescape.analysis.inference.estimation.finer import finer
from latticescape.analysis.inference.estimation.fit import (
    Fit,
    Minimum,
    find_minimum,
    fit,
    interpolated,
    required_interpolation,
)
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError
from latticescape.physics.extras import optional_imports

Floats = npt.NDArray[np.float64]

Prior = tuple[str, float, float]

_PRIORS: dict[str, Callable[[float, float], Any]] = {
    "normal": lambda a, b: norm(a, b),
    "uniform": lambda a, b: uniform(a, b - a),
    "lognormal": lambda a, b: lognorm(b, scale=np.exp(a)),
}


class Density:
    """ln posterior at points (m, parameters), zero at the maximum of the likelihood.

    Where counts overlap or are few, and by as much as the simulation is noisy, the likelihood is
    stretched about its maximum so that its curvature is the inverse of the estimate's covariance.
    """

    def __init__(self, minimum: Minimum, priors: Sequence[Any]) -> None:
        self.minimum = minimum
        self.priors = priors
        self.low, self.high = minimum.between.design.low, minimum.between.design.high
        self.least = float(minimum.between.value(minimum.point)[0])
        # The stretch about the minimum, and a factor of −2 ln L: one of them is 1.
        self.stretch, self.factor = np.eye(len(minimum.point)), 1.0
        unit = np.outer(minimum.half, minimum.half)
        basis = minimum.basis
        has = basis.T @ (minimum.curvature * unit) @ basis
        wants = basis.T @ (minimum.covariance / unit) @ basis
        if basis.shape[1] and len(minimum.minima) > 1:
            ratio = 1 / (np.linalg.det(has) * np.linalg.det(wants))
            self.factor = float(min(ratio ** (1 / basis.shape[1]), 1.0))
        elif basis.shape[1]:
            inner = np.linalg.inv(np.real(sqrtm(has))) @ np.linalg.inv(np.real(sqrtm(wants)))
            scaled = basis @ inner @ basis.T + np.eye(len(basis)) - basis @ basis.T
            self.stretch = scaled * np.outer(minimum.half, 1 / minimum.half)

    def __call__(self, points: Floats) -> Floats:
        inside = ((points >= self.low) & (points <= self.high)).all(axis=1)
        ln_density = np.full(len(points), -np.inf)
        if inside.any():
            places = points[inside]
            value = self.minimum.between.value(self.adjusted(places)) - self.least
            ln_density[inside] = self.prior(places) - self.factor * value / 2
        return ln_density

    def adjusted(self, points: Floats) -> Floats:
        """The points of the landscape that give the likelihood of these points."""
        stretched: Floats = self.minimum.point + (points - self.minimum.point) @ self.stretch.T
        return stretched

    def prior(self, points: Floats) -> Floats:
        ln_prior = np.zeros(len(points))
        for column, prior in zip(points.T, self.priors, strict=True):
            if prior is not None:
                ln_prior += prior.logpdf(column)
        return ln_prior

    def starts(self, walkers: int, rng: np.random.Generator) -> Floats:
        """Points near the minima, wider than the posterior, where the prior is not zero."""
        axes = len(self.low)
        values, vectors = np.linalg.eigh(self.minimum.covariance)
        widths = np.sqrt(np.maximum(values, 1e-12 * np.abs(values).max()))
        starts: list[Floats] = []
        for attempt in range(200):
            centre = self.minimum.minima[rng.integers(len(self.minimum.minima), size=walkers)]
            point = centre + 1.5 * (rng.standard_normal((walkers, axes)) * widths) @ vectors.T
            if attempt >= 20:
                point = rng.uniform(self.low, self.high, (walkers, axes))
            starts.extend(point[np.isfinite(self(point))])
            if len(starts) >= walkers:
                return np.array(starts[:walkers])
        ranges = zip(self.minimum.deviances.names, self.low, self.high, strict=True)
        allowed = ", ".join(f"{name} from {a:g} to {b:g}" for name, a, b in ranges)
        raise RequestError("the prior is zero all over the grid", allowed=allowed)


def priors_of(names: tuple[str, ...], priors: Mapping[str, Prior]) -> list[Any]:
    """The prior distribution of each parameter; None for a flat one."""
    for name, prior in priors.items():
        if name not in names:
            problem = f"a prior of {name}, which is not fitted"
            raise RequestError(problem, came=name, allowed=listed(names))
        if len(prior) != 3 or prior[0] not in _PRIORS:
            allowed = "(normal, mean, sd) | (uniform, low, high) | (lognormal, mean, sd)"
            hint = f'prior={{"{name}": ("normal", 0.0, 0.1)}}'
            problem = f"the prior of {name} is not valid"
            raise RequestError(problem, came=prior, allowed=allowed, hint=hint)
    return [_PRIORS[priors[n][0]](*priors[n][1:]) if n in priors else None for n in names]


# The error of the mean is then below a twentieth of the width, and chains agree to a hundredth.
LEAST_ESS = 400.0
MOST_R_HAT = 1.02
ROUNDS = 6


class ConvergenceError(RequestError):
    """Chains that have not converged.

    Attributes
    ----------
    diagnostics
        By parameter: r_hat, ess_bulk, ess_tail and autocorrelation (steps).
    """

    diagnostics: Mapping[str, Mapping[str, float]] = {}


@optional_imports()
def posterior(
    landscape: xr.Dataset,
    *,
    prior: Mapping[str, Prior] | None = None,
    overlap: Overlap | None = None,
    chains: int = 4,
    walkers: int = 64,
    draws: int = 160,
    seed: int = 1,
) -> Any:
    """The posterior of a landscape's parameters, p(w|d) ∝ exp(−2 Σ_d N_d S²_d(w)) · prior.

    Ensembles of walkers (emcee) sample the interpolated landscape, freed of its biases. Each
    ensemble is one chain with its own start, so that R̂ compares independent chains.
    Where counts overlap or are few, and by as much as the simulation is noisy, the likelihood is
    stretched about its maximum, w → ŵ + C (w − ŵ), so that its curvature is the inverse of the
    estimate's covariance (:func:`fit`): the curvature adjustment of composite likelihoods. If
    there are several minima it is flattened by one factor instead.

    Parameters
    ----------
    landscape
        A landscape.
    prior
        By parameter ``("normal", mean, sd)``, ``("uniform", low, high)`` or ``("lognormal",
        mean of ln, sd of ln)``; by default flat over the grid and zero outside of it.
    overlap
        How overlapping neighbourhoods are taken, see :func:`deviance`.
    chains, walkers
        Ensembles, and walkers in each.
    draws
        Steps of a walker that are kept, after half as many that are not; doubled until the chains
        have converged, five times at the most.
    seed
        Of the chains.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        The latter since ArviZ 1. ``posterior`` (chain, draw): one variable per parameter, with its
        diagnostics in its attributes; ``log_likelihood``: by image; ``sample_stats``: ``lp``.
        Attributes of ``posterior`` hold the ``notes`` in words, whether it is ``multimodal``, and
        how it agrees with Laplace's approximation: ``laplace_shift`` (means, in standard errors)
        and ``laplace_ratio`` (widths).

    Raises
    ------
    ConvergenceError
        If chains do not converge; it carries their diagnostics.
    RequestError
        If there are no parameters, a prior is unknown or zero all over the grid, or too few points
        are computed.

    References
    ----------
    Foreman-Mackey et al., PASP 125, 306 (2013), 10.1086/670067, for emcee; Ribatet, Cooley and
    Davison, Statist. Sinica 22, 813 (2012), for the curvature adjustment; Vehtari et al., Bayesian
    Anal. 16, 667 (2021), for R̂ and ESS.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 9)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-7),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-7), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> chain = posterior(landscape).posterior.w1
    >>> abs(float(chain.mean()) + 0.08) < 0.002, abs(float(chain.std()) - 0.0158) < 0.002
    (True, True)
    """
    if not parameters_of(landscape):
        raise RequestError("the landscape has no parameters", allowed="one axis or more")
    deviances = finer(landscape, deviance(landscape, overlap))
    between = required_interpolation(deviances, "for a posterior")
    minimum = find_minimum(landscape, deviances, between)
    density = Density(minimum, priors_of(deviances.names, prior or {}))
    kept, lp, diagnostics = _converged(density, chains, walkers, draws, seed)
    return _described(landscape, density, kept, lp, diagnostics)


def _converged(
    density: Density, chains: int, walkers: int, draws: int, seed: int
) -> tuple[Floats, Floats, dict[str, dict[str, float]]]:
    """(chain, draw, walker, parameter), ln p, and diagnostics by parameter."""
    import emcee

    axes = len(density.low)
    size = max(walkers, 2 * axes + 2)
    moves = [(emcee.moves.StretchMove(), 0.5), (emcee.moves.DEMove(), 0.4)]
    # Steps as long as the distance between two walkers reach other minima.
    moves.append((emcee.moves.DEMove(gamma0=1.0), 0.1))
    samplers = []
    for chain in range(chains):
        rng = np.random.default_rng([seed, chain])
        sampler = emcee.EnsembleSampler(size, axes, density, vectorize=True, moves=moves)
        begin = density.starts(size, rng)
        random = np.random.RandomState(rng.integers(2**31)).get_state()
        samplers.append((sampler, emcee.State(begin, random_state=random)))
    steps = draws + draws // 2
    for _ in range(ROUNDS):
        for sampler, state in samplers:
            sampler.run_mcmc(state if sampler.iteration == 0 else None, steps)
        length = samplers[0][0].iteration
        drop = length // 3
        kept = np.array([sampler.get_chain(discard=drop) for sampler, _ in samplers])
        lp = np.array([sampler.get_log_prob(discard=drop) for sampler, _ in samplers])
        diagnostics = _diagnostics(density.minimum.deviances.names, kept)
        if all(
            one["r_hat"] <= MOST_R_HAT and min(one["ess_bulk"], one["ess_tail"]) >= LEAST_ESS
            for one in diagnostics.values()
        ):
            return kept, lp, diagnostics
        steps = length
    came = ", ".join(
        f"{name}: R̂ {one['r_hat']:.3f}, ESS {one['ess_bulk']:.0f}"
        for name, one in diagnostics.items()
    )
    problem = f"the chains have not converged after {length} steps"
    allowed = f"R̂ below {MOST_R_HAT} and an ESS of {LEAST_ESS:.0f} or more"
    hint = "more draws, or a grid with one minimum"
    error = ConvergenceError(problem, came=came, allowed=allowed, hint=hint)
    error.diagnostics = diagnostics
    raise error


def _diagnostics(names: tuple[str, ...], kept: Floats) -> dict[str, dict[str, float]]:
    """Diagnostics of every parameter.

    Walkers of one ensemble depend on each other, so the autocorrelation time is that of the
    ensemble, and R̂ compares independent ensembles.
    """
    import emcee

    arviz = imported_arviz()
    number, steps, walkers, _ = kept.shape
    diagnostics = {}
    for k, name in enumerate(names):
        # Draws in the order of steps, the walkers of a step one after another.
        chain = kept[..., k].reshape(number, steps * walkers)
        times = [emcee.autocorr.integrated_time(one[..., k : k + 1], tol=0) for one in kept]
        time = float(np.nanmax([t[0] for t in times])) if np.isfinite(times).any() else np.inf
        ess = number * steps * walkers / max(time, 1.0)
        diagnostics[name] = {
            "r_hat": float(arviz.rhat(chain)),
            "ess_bulk": min(float(arviz.ess(chain, method="bulk")), ess),
            "ess_tail": float(arviz.ess(chain, method="tail", prob=(0.05, 0.95))),
            "autocorrelation": time,
        }
    return diagnostics


def imported_arviz() -> Any:
    """ArviZ, without the announcement of its next version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def _described(
    landscape: xr.Dataset,
    density: Density,
    kept: Floats,
    lp: Floats,
    diagnostics: Mapping[str, Mapping[str, float]],
) -> Any:
    arviz = imported_arviz()
    minimum = density.minimum
    number, names = len(kept), minimum.deviances.names
    flat = kept.reshape(number, -1, kept.shape[-1])
    draws = {name: flat[..., k] for k, name in enumerate(names)}
    draws |= {
        name: np.full(flat.shape[:2], value)
        for name, value in minimum.deviances.design.fixed.items()
    }
    part = part_of(landscape)
    parts = minimum.deviances.parts[:, minimum.between.chosen]
    process = minimum.between.process.of(parts.T)
    places = minimum.between.scaled(density.adjusted(flat.reshape(-1, len(names))))
    likelihood = -density.factor * process.mean(places).reshape(*flat.shape[:2], -1) / 2
    groups = {
        "posterior": {name: draws[name] for name in minimum.fit.parameters},
        "log_likelihood": {"counts": likelihood},
        "sample_stats": {"lp": lp.reshape(number, -1)},
    }
    labels: dict[str, Any] = {
        "coords": {part: [str(name) for name in landscape[part].values]},
        "dims": {"counts": [part]},
    }
    # Since version 1 ArviZ takes the groups as one mapping, and returns a DataTree.
    one_mapping = not arviz.__version__.startswith("0.")
    data = arviz.from_dict(groups, **labels) if one_mapping else arviz.from_dict(**groups, **labels)
    for name, one in diagnostics.items():
        data.posterior[name].attrs.update(one)
    data.posterior.attrs.update(_summary(minimum, flat))
    return data


def _summary(minimum: Minimum, flat: Floats) -> dict[str, Any]:
    every = flat.reshape(-1, flat.shape[-1])
    errors = np.sqrt(np.diag(minimum.covariance))
    several = len(minimum.minima) > 1
    notes = list(minimum.fit.notes)
    if several:
        separation = ((every[:, None] - minimum.minima[None]) / minimum.half) ** 2
        share = np.bincount(
            np.argmin(separation.sum(axis=-1), axis=1), minlength=len(minimum.minima)
        )
        parts = ", ".join(f"{part:.0%}" for part in share / share.sum())
        modes = len(minimum.minima)
        notes.append(
            f"the posterior has {modes} modes ({parts}), so its mean is not a useful summary"
        )
    return {
        "overlap": minimum.deviances.overlap,
        "multimodal": int(several),
        "notes": notes,
        "laplace_shift": ((every.mean(axis=0) - minimum.point) / errors).tolist(),
        "laplace_ratio": (every.std(axis=0) / errors).tolist(),
    }


# Points along each axis of the region's grid, by number of parameters.
POINTS = {1: 501, 2: 101}
FEWEST_POINTS = 31


def joint_region(
    landscape: xr.Dataset,
    level: float = 0.95,
    *,
    overlap: Overlap | None = None,
    points: int | None = None,
) -> xr.Dataset:
    """The joint confidence region of the parameters.

    It holds the points where −2 ln L exceeds its minimum by less than the quantile of χ². It is an
    ellipse where the landscape is a parabola, as :func:`fit` assumes; otherwise it may be bent, or
    open at an edge of the grid. The likelihood is that of :func:`posterior`, adjusted for
    overlapping counts.

    Parameters
    ----------
    landscape
        A landscape.
    level
        Of confidence, between 0 and 1.
    overlap
        How overlapping neighbourhoods are taken, see :func:`deviance`.
    points
        Of the region's own grid, an axis; by default 501, 101, or 31 from three parameters on.

    Returns
    -------
    Dataset
        ``excess``, −2 ln L above its minimum, and ``inside``, over the parameters on a grid of
        their own. Attributes: ``level``; ``threshold``, χ²; ``share`` of the grid's box that is
        inside; ``open_at``, the parameters at whose edges it is cut off, so that the share is a
        lower bound.

    Raises
    ------
    RequestError
        If the level is not between 0 and 1, or too few points of the landscape are computed.

    References
    ----------
    Wilks, Ann. Math. Statist. 9, 60 (1938); Ribatet, Cooley and Davison, Statist. Sinica 22, 813
    (2012), for the adjustment.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 9)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-7),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-7), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> region = joint_region(landscape)
    >>> region.w1[region.inside].values[[0, -1]].round(2).tolist(), region.attrs["open_at"]
    ([-0.11, -0.05], [])
    """
    if not 0 < level < 1:
        raise RequestError(
            "the level of confidence must lie between 0 and 1", came=level, allowed="0 < level < 1"
        )
    _, excess = fit_with_excess(landscape, overlap=overlap, points=points)
    if excess is None:
        problem = "too few points of the landscape are computed for a region"
        allowed = "three values or more of each parameter, computed"
        came = int(np.isfinite(landscape["s2_total"]).sum())
        raise RequestError(problem, came=came, allowed=allowed, hint="a finer grid")
    threshold = float(chi2(excess.ndim).ppf(level))
    inside = (excess <= threshold).assign_attrs(long_name=f"inside the joint {level:.0%} region")
    reach = {name: inside.isel({name: [0, -1]}).any() for name in excess.dims}
    return xr.Dataset(
        {"excess": excess, "inside": inside},
        attrs={
            "level": level,
            "threshold": threshold,
            "share": float(inside.mean()),
            "open_at": [str(name) for name, reaches in reach.items() if reaches],
        },
    )


def fit_with_excess(
    landscape: xr.Dataset, *, overlap: Overlap | None = None, points: int | None = None
) -> tuple[Fit, xr.DataArray | None]:
    """The fit of a landscape, and −2 ln L above its minimum for confidence contours.

    Verbs, pictures and pages that show parameters use this function or :func:`latticescape.fit`, so
    that they all agree.

    Parameters
    ----------
    landscape
        A landscape.
    overlap
        How overlapping neighbourhoods are taken, see :func:`deviance`.
    points
        Of the excess's own grid, an axis; by default 501, 101, or 31 from three parameters on.

    Returns
    -------
    fit, excess
        The excess is 0 at the fit's parameters, and its confidence region of level p is where it is
        below the quantile p of χ² with as many degrees of freedom as it has dimensions. It is None
        where too few points are computed for a curve.

    Raises
    ------
    RequestError
        If no point of the landscape is computed.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 9)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-7),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-7), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> estimate, excess = fit_with_excess(landscape)
    >>> value, error = estimate.parameters["w1"]
    >>> round(float(excess.interp(w1=value + error)), 2)
    1.0
    """
    values = finer(landscape, deviance(landscape, overlap))
    between = interpolated(values) if values.names else None
    if between is None:
        return fit(landscape, overlap=overlap), None
    minimum = find_minimum(landscape, values, between)
    names = values.names
    density = Density(minimum, [None] * len(names))
    number = points or POINTS.get(len(names), FEWEST_POINTS)
    axes = np.linspace(between.design.low, between.design.high, number).T
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    excess = -2 * density(mesh.reshape(-1, len(names))).reshape(mesh.shape[:-1])
    return minimum.fit, xr.DataArray(
        excess,
        {name: (name, axis, landscape[name].attrs) for name, axis in zip(names, axes, strict=True)},
        names,
        "excess",
        {"long_name": "−2 ln L above its minimum"},
    )


def of_one_part(landscape: xr.Dataset, part: object) -> xr.Dataset:
    """The landscape of one image, or of one source, by its name.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2": ("image", [0.01, 0.03]), "s2_se": ("image", [0.0, 0.0]),
    ...     "s2_total": 0.02, "n": ("image", [100, 100])}, {"image": ["one", "two"]})
    >>> float(of_one_part(landscape, "two").s2_total)
    0.03
    """
    dim = part_of(landscape)
    one = landscape.isel({dim: landscape[dim].values.tolist().index(part)})
    totals = {
        f"s2_total{end}": one[f"s2{end}"] for end in ("", "_se", "_bias") if f"s2{end}" in one
    }
    chosen = landscape.sel({dim: [part]})
    return chosen.assign({name: values.drop_vars(dim) for name, values in totals.items()})
