"""Sample size: neighbourhoods and images for a wanted error, or to distinguish two models."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import brentq
from scipy.stats import chi2, ncx2

from latticescape.analysis.inference.comparison.models import (
    Model,
    Predictions,
    argmin_s2,
    effective_numbers,
    landscape_of,
    predictions,
    reweighed,
)
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Need:
    """The required sample size.

    Attributes
    ----------
    neighborhoods
        As counted in images, where they overlap.
    effective
        The equivalent number of independent neighbourhoods.
    images
        Of the mean size of the observed ones, in their proportion of compositions.
    there
        Neighbourhoods observed so far.
    by_parameter
        Neighbourhoods for the error of each parameter; empty where two models are compared.
    s2
        S² between the two models, the second at its best.
    power
        Simulated at this number, with its standard error; NaN without simulation.
    """

    neighborhoods: int
    effective: float
    images: int
    there: int
    by_parameter: Mapping[str, float] = field(default_factory=dict)
    s2: float = float("nan")
    power: tuple[float, float] = (float("nan"), float("nan"))


def sample_size(
    model: Model,
    observed: xr.Dataset,
    *,
    errors: Mapping[str, float] | None = None,
    against: Model | None = None,
    power: float = 0.9,
    alpha: float = 0.05,
    fraction: npt.ArrayLike | None = None,
    draws: int = 0,
    seed: int = 1,
) -> Need:
    """Neighbourhoods needed for wanted errors of parameters, or to distinguish two models.

    Give either ``errors`` or ``against``. For errors, Cov = (2 N f ∂²S²)⁻¹ at the minimum, so N
    scales as one over the error squared. To distinguish models, ``model``, at its best, is taken as
    true, and
    ``against`` is fitted to it, which leaves the distance s. The likelihood ratio
    4 N f (S²_against − S²_model) then follows a non-central χ² with λ = 4 N f s² and as many
    degrees of freedom as ``model`` has parameters more, at least one (Kendall and Stuart, The
    Advanced Theory of Statistics II, ch. 24); a test of ``against`` at level ``alpha`` finds it
    wrong with probability ``power``.

    Parameters
    ----------
    model
        A sweep's Dataset, or ``"random"``; for ``errors`` also a landscape.
    observed
        Images that set the best point, the compositions and their weights.
    errors
        Standard error wanted, by parameter.
    against
        The model to distinguish it from: a sweep's Dataset or ``"random"``.
    power, alpha
        Of the test, between 0 and 1.
    fraction
        Effective fraction of each image's neighbourhoods, or of all; by default ``effective_n`` of
        the images where they carry it, else 1.
    draws
        If not 0, the power is also simulated with this many sets of images from either model: how
        often those of ``model`` exceed the (1 − alpha) quantile of the other's. It needs no
        asymptotics; where it differs much from ``power``, trust the simulation.
    seed
        Of the draws.

    Raises
    ------
    RequestError
        If neither or both of ``errors`` and ``against`` are passed, a parameter or its error is
        unknown, an error or probability is out of bounds, or the two models agree.

    Examples
    --------
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> from latticescape import configurations
    >>> classes = configurations("honeycomb")
    >>> observed = counts_dataset({"one": classes.multiplicity * 30}, classes)
    >>> w = np.linspace(-0.3, 0.1, 81)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-5),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-5), "n": ("image", [480])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> need = sample_size(landscape, observed, errors={"w1": 0.01})
    >>> round(need.neighborhoods, -1), need.images
    (2500, 6)
    """
    if (errors is None) == (against is None):
        raise RequestError(
            "ask for errors or for a comparison, not both",
            came="both" if errors else "neither",
            allowed="errors of parameters, or a model to compare with",
            hint='errors={"w1": 0.01}, or against="random"',
        )
    if errors is not None:
        landscape = landscape_of("to be fitted", model, observed)
        used = effective_numbers(observed, fraction, measured=True)
        fit = argmin_s2(reweighed(landscape, used))
        ratios = {name: _ratio(name, fit, wanted) for name, wanted in errors.items()}
        n = observed["n"].to_numpy().astype(float)
        return _need(
            max(ratios.values()) * float(used.sum()),
            n,
            float(used.sum() / n.sum()),
            by_parameter={name: float(n.sum()) * ratio for name, ratio in ratios.items()},
        )
    assert against is not None
    for name, value in (("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise RequestError(f"{name} is a probability", came=value, allowed="above 0, below 1")
    if power <= alpha:
        raise RequestError(
            "the power of the test must exceed alpha", came=f"power {power}", allowed=f"> {alpha}"
        )
    return _to_distinguish(model, against, observed, power, alpha, fraction, draws, seed)


def _ratio(name: str, fit: Fit, wanted: float) -> float:
    """Required data over available data."""
    if name not in fit.parameters:
        raise RequestError(
            f"the model has no parameter {name}",
            came=name,
            allowed=", ".join(fit.parameters) or "none",
        )
    if not wanted > 0:
        raise RequestError(
            f"the wanted error of {name} must be positive", came=wanted, allowed="> 0"
        )
    error = fit.parameters[name][1]
    if not np.isfinite(error):
        raise RequestError(
            f"the error of {name} is not known from these images",
            came="a landscape without a minimum inside",
            allowed="a minimum inside the grid",
            hint=f"extend or refine the axis {name} of the sweep",
        )
    return (error / wanted) ** 2


def _need(
    effective: float,
    n: Floats,
    share: float,
    *,
    by_parameter: Mapping[str, float] | None = None,
    s2: float = float("nan"),
    power: tuple[float, float] = (float("nan"), float("nan")),
) -> Need:
    neighborhoods = effective / share
    return Need(
        neighborhoods=_rounded_up(neighborhoods),
        effective=float(effective),
        images=_rounded_up(neighborhoods / n.mean()),
        there=int(n.sum()),
        by_parameter=by_parameter or {},
        s2=s2,
        power=power,
    )


def _rounded_up(number: float) -> int:
    """The next whole number; the tolerance absorbs rounding errors."""
    return int(np.ceil(number * (1 - 1e-9)))


def _to_distinguish(
    model: Model,
    against: Model,
    observed: xr.Dataset,
    power: float,
    alpha: float,
    fraction: npt.ArrayLike | None,
    draws: int,
    seed: int,
) -> Need:
    used = effective_numbers(observed, fraction, measured=True)
    weights = used / used.sum()
    mine, other = predictions(model, observed), predictions(against, observed)
    best = mine.at(int(np.argmin(weights @ mine.s2(observed["counts"].to_numpy()))))
    difference = weights @ other.s2(best.probability[:, 0])
    s2 = float(difference.min())
    dof = max(1, len(mine.names) - len(other.names))
    if s2 < 1e-9:
        raise RequestError(
            "the two models are identical at their best, so no amount of data distinguishes them",
            came=f"S² = {s2:.1e} between them",
            allowed="models that differ at their best",
        )
    effective = noncentrality(power, alpha, dof) / (4 * s2)
    simulated = float("nan"), float("nan")
    if draws:
        # How often images of the model exceed the (1 − alpha) quantile of images of the other.
        rng = np.random.default_rng(seed)
        numbers = effective * weights
        of_model, of_other = (
            likelihood_ratios(mine, other, truth.draws(numbers, draws, rng), numbers)
            for truth in (best, other.at(int(np.argmin(difference))))
        )
        share = float((of_model > np.quantile(of_other, 1 - alpha)).mean())
        simulated = share, float(np.sqrt(max(share * (1 - share), 1 / draws) / draws))
    n = observed["n"].to_numpy().astype(float)
    return _need(effective, n, float(used.sum() / n.sum()), s2=s2, power=simulated)


def noncentrality(power: float, alpha: float, dof: int) -> float:
    """λ at which χ²(dof, λ) exceeds the (1 − alpha) quantile of χ²(dof) with this probability.

    Examples
    --------
    >>> round(noncentrality(0.9, 0.05, 1), 2)
    10.51
    """
    limit = chi2(dof).isf(alpha)
    return float(brentq(lambda value: ncx2.sf(limit, dof, value) - power, 1e-9, 1e4))


def likelihood_ratios(
    mine: Predictions, other: Predictions, images: npt.NDArray[np.int64], numbers: Floats
) -> Floats:
    """4 N (S²_other − S²_mine) of sets of images, each model at its best, (sets,)."""
    least = [
        np.array([(numbers @ model.s2(one)).min() for one in images]) for model in (other, mine)
    ]
    ratios: Floats = 4 * (least[0] - least[1])
    return ratios
