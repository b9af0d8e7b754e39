"""Evidence of models: Bayes factors, and leave-one-out cross-validation."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_t, qmc

from latticescape.analysis.checks import check_least, listed
from latticescape.analysis.inference.comparison.models import (
    Model,
    argmin_s2,
    effective_numbers,
    landscapes_of,
    reweighed,
)
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.analysis.inference.landscapes.designs import GridDesign, design_of, flat
from latticescape.analysis.inference.landscapes.interpolation import interpolate
from latticescape.analysis.inference.landscapes.landscape import parameters_of
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Box = Mapping[str, tuple[float, float]]


def bayes_factors(
    models: Mapping[str, Model],
    observed: xr.Dataset | None = None,
    *,
    prior: Mapping[str, Box] | None = None,
    fraction: npt.ArrayLike | None = None,
) -> xr.Dataset:
    """Evidence Z = ∫ L(w) prior(w) dw of each model, and its ratio to the best one's.

    L = exp(−2 Σ N S²), and the prior is uniform over a box, by default that of the model's own
    grid or points: Z is inversely proportional to the box's volume, so state the box. The integral
    is the trapezoidal sum over the grid's points inside the box; of scattered points, it is taken
    over their interpolation by importance sampling. Laplace's approximation, L_max (2π)^(k/2)
    √|Cov| / volume from the parabola at the minimum, is returned as well. Where the two differ by
    more than a few tenths, the box truncates the posterior, the grid is coarse, or the posterior is
    not Gaussian.

    Kass and Raftery, J. Am. Stat. Assoc. 90, 773 (1995): ln B below 1 is not worth a mention, above
    3 strong, above 5 very strong.

    Parameters
    ----------
    models, observed
        As for :func:`compare`.
    prior
        By model, by parameter: the box's lower and upper end, within the grid, which must have
        points inside.
    fraction
        Effective fraction of each image's neighbourhoods, or of all; by default 1.

    Returns
    -------
    Dataset
        By model: ``ln_evidence`` with ``ln_evidence_se``, from the Monte Carlo errors of S²;
        ``ln_evidence_laplace``, NaN where there is no parabola; ``ln_bayes_factor``, of the model
        against the one of the largest evidence, at most 0; ``probability`` of models alike before;
        ``border_mass``, how much of the posterior lies at the box's ends; ``points_missing``, which
        count as impossible. ``prior`` describes the box in words.

    Raises
    ------
    RequestError
        If a prior names an unknown model or parameter, or holds fewer than two points of an axis.

    Examples
    --------
    >>> w = np.linspace(-0.3, 0.1, 81)
    >>> s2 = 0.02 + (w + 0.08) ** 2
    >>> wide = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 1e-5),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 1e-5), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> found = bayes_factors({"pair": wide})
    >>> found.ln_evidence.values.round(3), found.ln_evidence_laplace.values.round(3)
    (array([-42.312]), array([-42.312]))
    """
    # An axis of one value is no parameter: its prior would have no width.
    landscapes = {
        name: one.isel({d: 0 for d in one["s2_total"].dims if one.sizes[d] == 1}, drop=True)
        for name, one in landscapes_of(models, observed).items()
    }
    boxes = _boxes(landscapes, prior or {})
    rows = {}
    for name, landscape in landscapes.items():
        n = effective_numbers(landscape, fraction, measured=False)
        inside = reweighed(landscape, n) if fraction is not None else landscape
        for parameter, (low, high) in boxes[name].items():
            axis = inside[parameter]
            least, most = float(axis.min()), float(axis.max())
            if not low < high or low < least - 1e-12 or high > most + 1e-12:
                problem = f"the prior of {name} in {parameter} is empty or reaches outside its grid"
                came, allowed = f"{low:g} … {high:g}", f"within {least:g} … {most:g}"
                raise RequestError(problem, came=came, allowed=allowed)
            if axis.dims == (parameter,):
                within = (axis >= low - 1e-12) & (axis <= high + 1e-12)
                inside = inside.sel({parameter: within})
                what = f"points of {parameter} in the prior of {name}"
                check_least(inside.sizes[parameter], 2, what)
        ends = [f"{axis} {low:g} … {high:g}" for axis, (low, high) in boxes[name].items()]
        gridded = isinstance(design_of(inside), GridDesign)
        integral = _evidence(inside) if gridded else _sampled_evidence(inside, boxes[name])
        rows[name] = {**integral, "prior": ", ".join(ends) or "none"}
    table = {key: [row[key] for row in rows.values()] for key in next(iter(rows.values()))}
    evidence = np.array(table["ln_evidence"], float)
    return xr.Dataset(
        {key: ("model", values) for key, values in table.items()}
        | {
            "ln_bayes_factor": ("model", evidence - evidence.max()),
            "probability": ("model", softmax(evidence)),
        },
        coords={"model": list(rows)},
    )


def _boxes(
    landscapes: Mapping[str, xr.Dataset], prior: Mapping[str, Box]
) -> dict[str, dict[str, tuple[float, float]]]:
    if unknown := sorted(set(prior) - set(landscapes)):
        problem = "the prior of a model that is not compared"
        raise RequestError(problem, came=listed(unknown), allowed=listed(landscapes))
    boxes: dict[str, dict[str, tuple[float, float]]] = {}
    for model, landscape in landscapes.items():
        names, box = parameters_of(landscape), prior.get(model, {})
        if unknown := sorted(set(box) - set(names)):
            problem = f"the prior of {model} names a parameter that the model does not have"
            raise RequestError(problem, came=listed(unknown), allowed=listed(names))
        boxes[model] = {}
        for name in names:
            axis = landscape[name].to_numpy().astype(float)
            boxes[model][name] = box.get(name, (float(axis.min()), float(axis.max())))
    return boxes


def _evidence(landscape: xr.Dataset) -> dict[str, float | int]:
    names = parameters_of(landscape)
    n = float(landscape["n"].sum())
    s2 = landscape["s2_total"].transpose(*names).to_numpy()
    fit = argmin_s2(landscape)
    # Trapezoidal weight of every point.
    cells = np.ones(())
    for name in names:
        along = np.abs(np.gradient(landscape[name].to_numpy().astype(float)))
        along[[0, -1]] /= 2
        cells = cells[..., None] * along
    volume = float(cells.sum())
    border = np.ones(s2.shape, bool)
    border[tuple(slice(1, -1) for _ in names)] = False
    terms = np.where(np.isfinite(s2), np.log(cells / volume) - 2 * n * s2, -np.inf)
    total = float(logsumexp(terms))
    share = np.exp(terms - total)
    errors = 2 * n * np.nan_to_num(landscape["s2_total_se"].transpose(*names).to_numpy())
    return {
        "ln_evidence": total,
        "ln_evidence_se": float(np.sqrt(np.sum((share * errors) ** 2))),
        "ln_evidence_laplace": _laplace(fit, n, volume),
        "border_mass": float(share[border].sum()),
        "points_missing": int(np.isnan(s2).sum()),
    }


def _laplace(fit: Fit, n: float, volume: float) -> float:
    """ln Z from the parabola at the minimum; NaN without one."""
    if not np.isfinite(fit.covariance).all():
        return float("nan")
    sign, log_determinant = np.linalg.slogdet(fit.covariance) if fit.parameters else (1.0, 0.0)
    width = len(fit.parameters) / 2 * np.log(2 * np.pi) + log_determinant / 2
    return float(-2 * n * fit.s2_total + width - np.log(volume)) if sign > 0 else float("nan")


# Places at which the evidence of scattered points is sampled: 2^DRAWS in the box, and as many of a
# t distribution around the minimum.
DRAWS = 13
TAILS = 5
OF_ERRORS = 200


def _sampled_evidence(
    landscape: xr.Dataset, box: Mapping[str, tuple[float, float]]
) -> dict[str, float | int]:
    """The evidence of scattered points, from their interpolation."""
    n, fit, between = float(landscape["n"].sum()), argmin_s2(landscape), interpolate(landscape)
    design, rng = between.design, np.random.default_rng(1)
    low, high = np.array([box[name] for name in design.names]).T
    volume = float(np.prod(high - low))
    places = low + qmc.Sobol(len(low), rng=rng).random_base2(DRAWS) * (high - low)
    density = np.full(len(places), 1 / volume)
    at = [list(fit.parameters).index(name) for name in design.names]
    covariance = fit.covariance[np.ix_(at, at)]
    if np.isfinite(covariance).all():
        best = [fit.parameters[name][0] for name in design.names]
        peak = multivariate_t(best, covariance, df=TAILS, allow_singular=True)
        places = np.concatenate(
            [places, peak.rvs(len(places), random_state=rng).reshape(-1, len(at))]
        )
        density = np.asarray((1 / volume + peak.pdf(places)) / 2, float)
    inside = ((places >= low) & (places <= high)).all(axis=1)
    terms = np.full(len(places), -np.inf)
    terms[inside] = -2 * n * between.value(places[inside]) - np.log(volume * density[inside])
    total = float(logsumexp(terms))
    share = np.exp(terms - total)
    # Errors of the interpolation are alike all over the peak.
    errors = between(places[rng.choice(len(places), OF_ERRORS, p=share)])[1]
    spacing = (high - low) * len(design.places) ** (-1 / len(low)) / 2
    border = ((places < low + spacing) | (places > high - spacing)).any(axis=1)
    return {
        "ln_evidence": total - float(np.log(len(places))),
        "ln_evidence_se": float(2 * n * errors.mean()),
        "ln_evidence_laplace": _laplace(fit, n, volume),
        "border_mass": float(share[border].sum()),
        "points_missing": int(np.isnan(landscape["s2_total"]).sum()),
    }


def leave_one_out(
    models: Mapping[str, Model],
    observed: xr.Dataset | None = None,
    *,
    fraction: npt.ArrayLike | None = None,
) -> xr.Dataset:
    """S² of every image at the parameters fitted to all others.

    An image does not take part in the fit that it tests, so no penalty for parameters is needed:
    the model with the smallest ``s2_total`` predicts best.

    Parameters
    ----------
    models, observed
        As for :func:`compare`; at least two images.
    fraction
        Effective fraction of each image's neighbourhoods, or of all; by default 1.

    Returns
    -------
    Dataset
        ``s2`` and ``s2_se`` (model, image): S² of the image left out, interpolated linearly (by
        inverse distance between scattered points), and its Monte Carlo error; ``s2_total`` (model)
        and ``s2_total_se``; ``s2_others`` (model, image) and ``n_others`` (image), of the others
        at their fit; ``ln_likelihood`` (model), −2 Σ N f S²; ``best`` (model, image, parameter):
        the others' fit;
        ``border`` (model, image): axes at whose end it lies.

    Raises
    ------
    RequestError
        If there is only one image, or as for :func:`compare`.

    Examples
    --------
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> from latticescape import configurations
    >>> counts = {"one": np.arange(8), "two": np.arange(8) + 1}
    >>> observed = counts_dataset(counts, configurations("honeycomb"))
    >>> leave_one_out({"random": "random"}, observed).s2.dims
    ('model', 'image')
    """
    landscapes = landscapes_of(models, observed)
    first = next(iter(landscapes.values()))
    check_least(first.sizes["image"], 2, "images for leave-one-out", "compare them by their BIC")
    numbers = effective_numbers(first, fraction, measured=False)
    names = list(
        dict.fromkeys(n for landscape in landscapes.values() for n in parameters_of(landscape))
    )
    rows = [
        [_left_out(landscape, numbers, image, names) for image in range(len(numbers))]
        for landscape in landscapes.values()
    ]
    table = xr.Dataset(
        {
            name: (("model", "image"), [[one[name] for one in row] for row in rows])
            for name in ("s2", "s2_se", "s2_others", "border")
        },
        coords={"model": list(landscapes), "image": first["image"].values},
    )
    if names:
        best = np.array([[one["best"] for one in row] for row in rows])
        dims = ("model", "image", "parameter")
        table["best"] = xr.DataArray(best, {"parameter": names}, dims)
    weights = xr.DataArray(numbers, dims="image") / numbers.sum()
    total = (table["s2"] * weights).sum("image", skipna=False)
    return table.assign(
        s2_total=total,
        s2_total_se=((table["s2_se"] * weights) ** 2).sum("image") ** 0.5,
        n_others=("image", numbers.sum() - numbers),
        ln_likelihood=-2 * numbers.sum() * total,
    )


def _left_out(
    landscape: xr.Dataset, numbers: Floats, image: int, names: list[str]
) -> dict[str, object]:
    others = np.arange(len(numbers)) != image
    fit = argmin_s2(reweighed(landscape.isel(image=others), numbers[others]))
    place = {name: value for name, (value, _) in fit.parameters.items()}
    design, one = design_of(landscape), landscape.isel(image=[image])
    s2, error = (flat(one, variable, "image")[0] for variable in ("s2", "s2_se"))
    point = np.array([place[name] for name in design.names])
    computed = np.isfinite(s2)
    if design.names and design.linear(np.where(computed, 1.0, 0.0))(point[None])[0] > 1 - 1e-9:
        s2, error = (design.linear(values)(point[None]) for values in (s2, error))
    elif design.names:
        # Next to a missing point take the nearest one that is computed.
        nearest = design.nearest(point, computed)
        s2, error = s2[[nearest]], error[[nearest]]
    return {
        "s2": float(s2[0]),
        "s2_se": float(error[0]),
        "s2_others": fit.s2_total,
        "border": ", ".join(fit.border),
        "best": [place.get(name, np.nan) for name in names],
    }
