"""Sample size for a wanted error or to distinguish models, also while images are added."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import brentq
from scipy.stats import chi2, ncx2

from latticescape.analysis.checks import listed
from latticescape.analysis.counts.classes import Classes
from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.inference.comparison.evidence import bayes_factors
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
from latticescape.physics.lattices.configurations import configurations

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
        problem = "ask for errors or for a comparison, not both"
        came = "both" if errors else "neither"
        hint = 'errors={"w1": 0.01}, or against="random"'
        raise RequestError(problem, came=came, allowed="one of the two", hint=hint)
    if errors is not None:
        landscape = landscape_of("to be fitted", model, observed)
        used = effective_numbers(observed, fraction, measured=True)
        fit = argmin_s2(reweighed(landscape, used))
        # Required data over available data.
        ratios = {}
        for name, wanted in errors.items():
            if name not in fit.parameters:
                allowed = listed(fit.parameters)
                problem = f"the model has no parameter {name}"
                raise RequestError(problem, came=name, allowed=allowed)
            if not wanted > 0:
                raise RequestError(
                    f"the wanted error of {name} must be positive", came=wanted, allowed="> 0"
                )
            error = fit.parameters[name][1]
            if not np.isfinite(error):
                problem = f"the error of {name} is not known: the landscape has no minimum inside"
                raise RequestError(problem, hint=f"extend or refine the axis {name} of the sweep")
            ratios[name] = (error / wanted) ** 2
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
        problem = "the power of the test must exceed alpha"
        raise RequestError(problem, came=f"power {power}", allowed=f"> {alpha}")
    return _to_distinguish(model, against, observed, power, alpha, fraction, draws, seed)


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
        problem = (
            "the two models are identical at their best, so no amount of data distinguishes them"
        )
        came, allowed = f"S² = {s2:.1e} between them", "models that differ at their best"
        raise RequestError(problem, came=came, allowed=allowed)
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


@dataclass(frozen=True)
class Progress:
    """The state of the analysis after an image.

    Attributes
    ----------
    images, n
        Images, and neighbourhoods in them.
    fits
        Best parameters of every model.
    ln_bayes_factor
        Of every model against the best of the others.
    decision
        The model decided for; None while undecided.
    precise
        Whether the leading model has reached all wanted errors.
    """

    images: int
    n: int
    fits: Mapping[str, Fit]
    ln_bayes_factor: Mapping[str, float]
    decision: str | None
    precise: bool


@dataclass
class Accumulator:
    """Add images one by one until the wanted errors or a decision are reached.

    The decision is Wald's sequential test (Ann. Math. Statist. 16, 117 (1945)) on Bayes factors:
    a model is chosen once its evidence is ``1/error`` times that of every other. Testing after
    every image does not raise the error rate: if a model is true, with its parameters from its
    prior, the probability that another is ever chosen is at most ``error`` (Ville's inequality),
    provided that exp(−2 N S²) is the likelihood. Set the effective fraction of overlapping
    neighbourhoods: the test is sensitive to it.

    Parameters
    ----------
    models
        Sweeps' Datasets, or ``"random"``, by name; the prior is uniform over a sweep's grid.
    lattice
        Kind of the images' lattice, or the classes that are counted, ``classes_of(ds)``.
    errors
        Standard errors wanted, by parameter.
    error
        Probability of a wrong decision, above 0 and below ½.
    fraction
        Effective fraction of the neighbourhoods of an image that carries no ``effective_n``.

    Examples
    --------
    >>> from latticescape import configurations
    >>> running = Accumulator({"null": "random"}, "honeycomb")
    >>> running.add(configurations("honeycomb").multiplicity * 10).n
    160
    >>> running.add(configurations("honeycomb").multiplicity * 5).images
    2
    """

    models: Mapping[str, Model]
    lattice: str | Classes
    errors: Mapping[str, float] = field(default_factory=dict)
    error: float = 0.05
    fraction: float = 1.0
    history: list[Progress] = field(default_factory=list, init=False)
    _landscapes: dict[str, xr.Dataset] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.models:
            raise RequestError("no model to follow", came="{}", allowed="models by name")
        for name, value, most in (("error", self.error, 0.5), ("fraction", self.fraction, 1.0)):
            if not (0 < value < most or value == most == 1):
                allowed = f"above 0, up to {most:g}"
                raise RequestError(f"{name} is out of bounds", came=value, allowed=allowed)
        landscapes = [name for name, model in self.models.items() if "s2_total" in model]
        if landscapes:
            problem = "a landscape belongs to its own images and cannot take another"
            allowed = "sweeps' Datasets, or 'random'"
            raise RequestError(problem, came=listed(landscapes), allowed=allowed)

    def add(self, image: npt.ArrayLike | xr.Dataset) -> Progress:
        """Add one image.

        Parameters
        ----------
        image
            (classes,) counts, or a Dataset of counts (``observed_counts``) with one image or more.

        Raises
        ------
        RequestError
            If it has no counts, not the lattice's classes, or a composition that no sweep
            simulates; the image is then not added.
        """
        if isinstance(image, xr.Dataset):
            observed = image
        else:
            classes = (
                configurations(self.lattice) if isinstance(self.lattice, str) else self.lattice
            )
            counts = np.asarray(image)
            if counts.shape != (len(classes),) or np.any(counts < 0):
                problem, came = "the counts are not those of one image", f"shape {counts.shape}"
                allowed = f"{len(classes)} counts, the classes of the {classes.kind} lattice"
                raise RequestError(problem, came=came, allowed=allowed)
            number = self.history[-1].images + 1 if self.history else 1
            observed = counts_dataset({f"image {number}": counts}, classes)
        numbers = observed.get("effective_n", observed["n"] * self.fraction)
        landscapes = {name: landscape_of(name, m, observed) for name, m in self.models.items()}
        for name, landscape in landscapes.items():
            by_image = [
                key for key, values in landscape.data_vars.items() if "image" in values.dims
            ]
            joined: xr.Dataset = landscape[by_image].assign(
                n=("image", numbers.to_numpy().astype(float)),
                counted=("image", landscape["n"].to_numpy()),
            )
            if name in self._landscapes:
                earlier = self._landscapes[name][list(joined.data_vars)]
                joined = xr.concat([earlier, joined], "image")
            landscapes[name] = reweighed(joined, joined["n"])
        self._landscapes = landscapes
        self.history.append(self._progress())
        return self.history[-1]

    @property
    def finished(self) -> bool:
        """Whether all wanted errors and the decision are reached."""
        if not self.history:
            return False
        last = self.history[-1]
        return last.precise and (len(self.models) < 2 or last.decision is not None)

    @property
    def table(self) -> xr.Dataset:
        """After every image: ``n``, ``ln_bayes_factor`` (model), ``best`` and ``best_se``."""
        names = list(self.models)
        fitted = [[p.fits[name].parameters for name in names] for p in self.history]
        parameters = list(dict.fromkeys(k for row in fitted for one in row for k in one))
        absent = (np.nan, np.nan)
        values = np.array(
            [[[one.get(k, absent) for k in parameters] for one in row] for row in fitted]
        ).reshape(len(fitted), len(names), len(parameters), 2)
        factors = [[p.ln_bayes_factor[name] for name in names] for p in self.history]
        dims = ("image", "model", "parameter")
        return xr.Dataset(
            {
                "n": ("image", [p.n for p in self.history]),
                "ln_bayes_factor": (("image", "model"), factors),
                "best": (dims, values[..., 0]),
                "best_se": (dims, values[..., 1]),
                "decision": ("image", [p.decision or "" for p in self.history]),
                "precise": ("image", [p.precise for p in self.history]),
            },
            coords={"model": names, "parameter": parameters},
        )

    def _progress(self) -> Progress:
        fits = {name: argmin_s2(landscape) for name, landscape in self._landscapes.items()}
        table = bayes_factors(self._landscapes)
        evidence = dict(zip(self._landscapes, table["ln_evidence"].values.tolist(), strict=True))
        factors = {}
        for name, value in evidence.items():
            others = [evidence[other] for other in evidence if other != name]
            factors[name] = value - max(others) if others else float("inf")
        leader = max(factors, key=lambda name: factors[name])
        sure = len(factors) > 1 and factors[leader] >= -np.log(self.error)
        earlier = self.history[-1].decision if self.history else None
        first = next(iter(self._landscapes.values()))
        known, unknown = fits[earlier or leader].parameters, (0.0, float("inf"))
        return Progress(
            images=first.sizes["image"],
            n=int(first["counted"].sum()),
            fits=fits,
            ln_bayes_factor=factors,
            decision=earlier or (leader if sure else None),
            precise=all(
                known.get(name, unknown)[1] <= wanted for name, wanted in self.errors.items()
            ),
        )
