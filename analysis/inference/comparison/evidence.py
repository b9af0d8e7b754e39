"""Bayes factors: the evidence of models, each averaged over its prior."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import logsumexp, softmax

from latticescape.analysis.inference.comparison.models import (
    Model,
    argmin_s2,
    effective_numbers,
    landscapes_of,
    reweighed,
)
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
    grid: Z is inversely proportional to the box's volume, so state the box. The integral is the
    trapezoidal sum over the grid's points inside the box. Laplace's approximation, L_max (2π)^(k/2)
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
    landscapes = landscapes_of(models, observed)
    boxes = _boxes(landscapes, prior or {})
    rows = {}
    for name, landscape in landscapes.items():
        n = effective_numbers(landscape, fraction, measured=False)
        inside = _inside(
            name, reweighed(landscape, n) if fraction is not None else landscape, boxes[name]
        )
        ends = [f"{axis} {low:g} … {high:g}" for axis, (low, high) in boxes[name].items()]
        rows[name] = {**_evidence(inside), "prior": ", ".join(ends) or "none"}
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
    unknown = sorted(set(prior) - set(landscapes))
    if unknown:
        raise RequestError(
            "the prior of a model that is not compared", came=unknown, allowed=", ".join(landscapes)
        )
    boxes: dict[str, dict[str, tuple[float, float]]] = {}
    for model, landscape in landscapes.items():
        names, box = parameters_of(landscape), prior.get(model, {})
        unknown = sorted(set(box) - set(names))
        if unknown:
            raise RequestError(
                f"the prior of {model} names a parameter that the model does not have",
                came=", ".join(unknown),
                allowed=", ".join(names) or "none",
            )
        boxes[model] = {}
        for name in names:
            axis = landscape[name].to_numpy().astype(float)
            boxes[model][name] = box.get(name, (float(axis.min()), float(axis.max())))
    return boxes


def _inside(model: str, landscape: xr.Dataset, box: Box) -> xr.Dataset:
    for name, (low, high) in box.items():
        axis = landscape[name]
        if not low < high or low < float(axis.min()) - 1e-12 or high > float(axis.max()) + 1e-12:
            raise RequestError(
                f"the prior of {model} in {name} reaches outside its grid, or is empty",
                came=f"{low:g} … {high:g}",
                allowed=f"within {float(axis.min()):g} … {float(axis.max()):g}",
                hint="a wider axis of the sweep",
            )
        landscape = landscape.sel({name: (axis >= low - 1e-12) & (axis <= high + 1e-12)})
        if landscape.sizes[name] < 2:
            raise RequestError(
                f"the prior of {model} holds fewer than two points of {name}",
                came=f"{low:g} … {high:g}",
                allowed="a box of at least two points of each axis",
                hint="a finer grid",
            )
    return landscape


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
    laplace = float("nan")
    if np.isfinite(fit.covariance).all():
        sign, log_determinant = np.linalg.slogdet(fit.covariance) if fit.parameters else (1.0, 0.0)
        k = len(fit.parameters)
        if sign > 0:
            laplace = float(
                -2 * n * fit.s2_total
                + k / 2 * np.log(2 * np.pi)
                + log_determinant / 2
                - np.log(volume)
            )
    return {
        "ln_evidence": total,
        "ln_evidence_se": float(np.sqrt(np.sum((share * errors) ** 2))),
        "ln_evidence_laplace": laplace,
        "border_mass": float(share[border].sum()),
        "points_missing": int(np.isnan(s2).sum()),
    }
