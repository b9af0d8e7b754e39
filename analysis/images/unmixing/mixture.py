"""Unmixing: spectra of windows as mixtures of endmembers, and how many endmembers there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import check_least, check_within
from latticescape.analysis.images.unmixing.endmembers import (
    nfindr,
    nonnegative_endmembers,
    purest_windows,
    sample_posterior,
)
from latticescape.analysis.images.unmixing.principal import (
    Components,
    WindowVectors,
    centred,
    principal_components,
)
from latticescape.analysis.labelled import Column, labelled_variables
from latticescape.physics.errors import RequestError, checked_choice, checked_integer

Floats = npt.NDArray[np.float64]

# All 2^q sets of endmembers are tried.
MOST_ENDMEMBERS = 10


def abundances(vectors: npt.ArrayLike, endmembers: npt.ArrayLike) -> Floats:
    """The mixture of endmembers nearest to each vector.

    Minimises |x − Σ_k a_k e_k|² with a ≥ 0, Σ a = 1. For every set of endmembers the least
    squares solution with only the sum constrained has a closed form, one matrix for all vectors;
    the best of those without negative abundances is the minimum.

    Parameters
    ----------
    vectors
        (n, features).
    endmembers
        (q, features), q ≤ 10.

    Returns
    -------
    floats
        (n, q).

    Raises
    ------
    RequestError
        If shapes differ, or there are too many endmembers.

    References
    ----------
    D. C. Heinz and C.-I Chang, IEEE Trans. Geosci. Remote Sens. 39, 529 (2001), 10.1109/36.911111,
    state the problem; their iteration only drops endmembers and may miss the minimum.

    Examples
    --------
    >>> abundances([[0.25, 0.0], [2.0, 1.0]], [[0, 0], [1, 0], [0, 1]]).round(3).tolist()
    [[0.75, 0.25, 0.0], [0.0, 1.0, 0.0]]
    """
    x, e = np.asarray(vectors), np.asarray(endmembers)
    if x.ndim != 2 or e.ndim != 2 or x.shape[1] != e.shape[1] or len(e) == 0:
        came, allowed = f"{x.shape} and {e.shape}", "(n, features) and (q, features)"
        raise RequestError("vectors and endmembers do not fit", came=came, allowed=allowed)
    check_within(len(e), 1, MOST_ENDMEMBERS, "too many endmembers")
    products, gram = (x @ e.T).astype(np.float64), (e @ e.T).astype(np.float64)
    n, q = products.shape
    best, least = np.zeros((n, q)), np.full(n, np.inf)
    for size in range(1, q + 1):
        for members in combinations(range(q), size):
            chosen = list(members)
            inner = gram[np.ix_(chosen, chosen)]
            solution = _affine(products[:, chosen], inner)
            if solution is None:
                continue
            error = ((solution @ inner) * solution).sum(axis=1)
            error -= 2 * (solution * products[:, chosen]).sum(axis=1)
            better = (solution >= -ROUNDING).all(axis=1) & (error < least)
            least[better] = error[better]
            best[better] = 0
            best[np.ix_(better, chosen)] = np.maximum(solution[better], 0)
    best /= best.sum(axis=1, keepdims=True)
    return best


def _affine(products: Floats, gram: Floats) -> Floats | None:
    """Least squares under Σ a = 1; None if the endmembers span no simplex.

    The edges d_k = e_k − e_0 eliminate the constraint: a_k = D⁻¹ (x − e_0)·d, a_0 = 1 − Σ a_k.
    """
    if len(gram) == 1:
        return np.ones((len(products), 1))
    edges = gram[1:, 1:] - gram[1:, :1] - gram[:1, 1:] + gram[0, 0]
    if np.linalg.cond(edges) > 1 / np.finfo(np.float32).eps:
        return None
    right = products[:, 1:] - products[:, :1] - gram[0, 1:] + gram[0, 0]
    rest = np.linalg.solve(edges, right.T).T
    return np.column_stack([1 - rest.sum(axis=1), rest])


Method = Literal["nfindr", "ica", "nmf", "bayes"]

# Bytes of spectra for a method that needs them in memory.
MEMORY_BYTES = 2**28


# A smaller share of the variance, or an abundance less below zero, is a rounding error.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Endmembers:
    """Endmembers as a method returns them.

    Attributes
    ----------
    vectors
        (q, features).
    windows
        (q,): the window of each endmember, if endmembers are windows.
    errors
        (q, features) standard errors, if the method estimates them.
    shares, shares_se
        (windows, q) abundances with standard errors, if the method estimates them.
    attrs
        Attributes of the result.
    """

    vectors: npt.NDArray[np.floating]
    windows: npt.NDArray[np.int64] | None = None
    errors: Floats | None = None
    shares: Floats | None = None
    shares_se: Floats | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)


def unmix(
    spectra: xr.DataArray, endmembers: int = 2, *, method: Method = "nfindr", seed: int = 0
) -> xr.Dataset:
    """Endmembers e and abundances a of spectra x ≈ Σ_k a_k e_k, with a ≥ 0 and Σ a = 1.

    Spectra are processed in blocks in a few passes and never all in memory. Lazy spectra are
    recomputed in each pass, so call ``spectra.persist()`` first if they fit into memory.

    Parameters
    ----------
    spectra
        (…, window_row, window_col, k_row, k_col), as :func:`sliding_fft` returns them. Windows
        whose coordinate ``left_out`` exceeds 0.1 are not unmixed; their abundances are NaN.
    endmembers
        Number, 1 to 10; :func:`count_endmembers` helps to choose. With 1 it is the mean spectrum.
    method
        ``"nfindr"``: the windows that span the largest simplex in q − 1 principal components.
        ``"ica"``: the windows in the tails of q − 1 independent components. Both use only the part
        of the spectra in the space of these components. ``"nmf"``: nonnegative factorisation of at
        most 256 MB of spectra (a random subset of the windows above that). All three compute
        abundances by fully constrained least squares. ``"bayes"``: Gibbs sampling, started from
        N-FINDR's endmembers, which gives standard errors.
    seed
        Of all random numbers; the same seed gives the same result.

    Returns
    -------
    Dataset
        ``endmember`` (endmember, k_row, k_col), by mean abundance, the largest first;
        ``abundance`` (endmember, …, window_row, window_col); ``residual`` (…, window_row,
        window_col), the root mean square of spectrum less mixture; ``variance_explained``, the
        fraction of the windows' variance around their mean that the mixtures explain. With
        ``"nfindr"`` also ``vertex`` (endmember, axis), the position of each endmember's window;
        with ``"bayes"`` ``endmember_se`` and ``abundance_se``, one posterior standard deviation,
        and attrs ``r_hat`` and ``noise``.

    Raises
    ------
    RequestError
        If there are fewer windows than endmembers, the spectra are equal or not finite, or the
        method is unknown.

    References
    ----------
    R. Kannan et al., Adv. Struct. Chem. Imaging 4, 6 (2018), 10.1186/s40679-018-0055-8; see also
    the functions of the methods.

    Examples
    --------
    >>> pure = np.array([[[1.0, 0.0]], [[0.0, 3.0]]])
    >>> mixed = np.array([[1, 0], [0.5, 0.5], [0.25, 0.75], [0, 1]]) @ pure.reshape(2, 2)
    >>> spectra = xr.DataArray(mixed.reshape(2, 2, 1, 2),
    ...                        dims=("window_row", "window_col", "k_row", "k_col"))
    >>> unmixed = unmix(spectra)
    >>> np.abs(unmixed.endmember.values[:, 0]).round(6).tolist(), unmixed.vertex.values.tolist()
    ([[0.0, 3.0], [1.0, 0.0]], [[1, 1], [0, 0]])
    >>> unmixed.abundance.values[0].round(6).tolist()
    [[0.0, 0.5], [0.75, 1.0]]
    """
    vectors = WindowVectors.of(spectra)
    checked_choice(method, METHODS, "unknown method")
    most = min(MOST_ENDMEMBERS, vectors.windows)
    checked_integer(
        endmembers,
        1,
        most,
        "that number of endmembers cannot be distinguished",
        allowed=f"1 to {most}, as there are {vectors.windows} windows",
    )
    components = principal_components(vectors, max(1, endmembers - 1), seed=seed)
    spanned = int((components.variances > ROUNDING * components.total).sum())
    if spanned < endmembers - 1:
        problem = f"the spectra span no simplex of {endmembers} endmembers"
        raise RequestError(problem, came=endmembers, allowed=f"1 to {spanned + 1}")
    if endmembers == 1:
        estimate = Endmembers(components.mean[None])
    else:
        estimate = METHODS[method](vectors, components, endmembers, seed)
    shares, squares = _mixtures(vectors, components, estimate)
    order = np.argsort(-shares.mean(axis=0), kind="stable")
    variables = labelled_variables(_variables(vectors, estimate, shares, squares, order))
    explained = 1 - float(squares.sum()) / (components.total * vectors.windows)
    labels = {"long_name": "variance explained", "units": "1"}
    variables["variance_explained"] = ((), explained, labels)
    kept = {name: spectra.attrs[name] for name in KEPT if name in spectra.attrs}
    attrs = {**kept, "method": method, "seed": seed, **estimate.attrs}
    return xr.Dataset(variables, spectra.coords, attrs)


KEPT = ("image", "source", "window", "step", "taper", "pixel_size", "pixel_units")


def _by_nfindr(vectors: WindowVectors, components: Components, q: int, seed: int) -> Endmembers:
    windows = nfindr(components.scores, seed=seed)
    return Endmembers(_spectra_at(vectors, components, components.scores[windows]), windows)


def _by_ica(vectors: WindowVectors, components: Components, q: int, seed: int) -> Endmembers:
    purest, converged = purest_windows(components.scores, seed=seed)
    corners = np.stack([components.scores[windows].mean(axis=0) for windows in purest])
    spectra = _spectra_at(vectors, components, corners)
    return Endmembers(spectra, attrs={"converged": int(converged)})


def _by_nmf(vectors: WindowVectors, components: Components, q: int, seed: int) -> Endmembers:
    matrix, most = vectors.matrix, MEMORY_BYTES // (vectors.matrix.shape[1] * 4)
    if vectors.windows > most:
        subset = np.random.default_rng(seed).choice(vectors.windows, most, replace=False)
        matrix = matrix[np.sort(subset)]
    scale = np.sqrt(vectors.weights)
    weighted = np.asarray(matrix.compute(), np.float32) * scale.astype(np.float32)
    spectra, converged = nonnegative_endmembers(weighted, q, seed=seed)
    return Endmembers(spectra / scale, attrs={"converged": int(converged)})


def _by_bayes(vectors: WindowVectors, components: Components, q: int, seed: int) -> Endmembers:
    scale = np.sqrt(vectors.weights)
    start = components.scores[nfindr(components.scores, seed=seed)]
    attrs = vectors.spectra.attrs
    posterior = sample_posterior(
        components,
        start,
        floor=components.mean * scale if bool(vectors.matrix.min().compute() >= 0) else None,
        independent=independent_fraction(int(attrs.get("window", 1)), int(attrs.get("step", 1))),
        seed=seed,
    )
    spread = np.einsum("fi,kij,fj->kf", components.axes, posterior.vertices_cov, components.axes)
    return Endmembers(
        _spectra_at(vectors, components, posterior.vertices),
        errors=np.sqrt(np.maximum(spread, 0)) / scale,
        shares=posterior.abundances,
        shares_se=posterior.abundances_se,
        attrs={"r_hat": posterior.r_hat, "noise": posterior.noise},
    )


def _spectra_at(vectors: WindowVectors, components: Components, scores: Floats) -> Floats:
    """Spectra at points of the space of the principal components.

    They contain only what windows share. The noise of a single window, nearly all of it outside
    these few components, would exaggerate the distances of endmembers and thus make all abundances
    more similar.
    """
    return components.mean + scores @ components.axes.T / np.sqrt(vectors.weights)


METHODS: Mapping[str, Callable[[WindowVectors, Components, int, int], Endmembers]] = {
    "nfindr": _by_nfindr,
    "ica": _by_ica,
    "nmf": _by_nmf,
    "bayes": _by_bayes,
}


def independent_fraction(window: int, step: int) -> float:
    """Number of independent windows per overlapping window.

    Powers of two Hann windows at distance s correlate as c(s)², c = Σ h(x) h(x+s) / Σ h²; the mean
    of many has the variance of 1/Σ c(s)² times as many independent windows, summed over all s.

    Examples
    --------
    >>> independent_fraction(64, 64), round(independent_fraction(64, 16), 2)
    (1.0, 0.27)
    """
    hann = np.sin(np.pi * np.arange(window) / window) ** 2
    overlap = np.correlate(hann, hann, "full")[window - 1 :: step]
    along = (overlap / overlap[0]) ** 2 if overlap[0] > 0 else np.ones(1)
    return float((2 * along.sum() - 1) ** -2)


def _mixtures(
    vectors: WindowVectors, components: Components, estimate: Endmembers
) -> tuple[Floats, Floats]:
    """Abundances of all windows, and the squared residuals of their mixtures."""
    ends = centred(estimate.vectors.astype(np.float64), components.mean, vectors.weights)
    q, matrix = len(ends), vectors.matrix
    arguments: list[Any] = [matrix, "wf"]
    for values, dims in ((components.mean, "f"), (vectors.weights, "f"), (ends, "qf")):
        arguments += [da.from_array(values, chunks=-1), dims]
    if estimate.shares is not None:
        arguments += [da.from_array(estimate.shares, chunks=(matrix.chunks[0], -1)), "wq"]
    both = da.blockwise(
        _mixed, "wm", *arguments, dtype=float, new_axes={"m": q + 1}, concatenate=True
    )
    table = np.asarray(both.compute())
    return table[:, :q], table[:, q]


def _mixed(
    block: npt.NDArray[Any],
    mean: Floats,
    weights: Floats,
    ends: Floats,
    shares: Floats | None = None,
) -> Floats:
    moved = centred(block, mean, weights)
    ends = ends.astype(moved.dtype)
    known = abundances(moved, ends) if shares is None else shares
    residual = moved - known.astype(moved.dtype) @ ends
    squares = np.einsum("wf,wf->w", residual, residual, dtype=np.float64)
    return np.column_stack([known, squares])


def _variables(
    vectors: WindowVectors,
    estimate: Endmembers,
    shares: Floats,
    squares: Floats,
    order: npt.NDArray[np.int64],
) -> dict[str, Column]:
    spectra, of_windows = vectors.spectra, ("endmember", *vectors.dims)
    of_spectra = ("endmember", *(str(dim) for dim in spectra.dims[-2:]))
    name, units = (
        str(spectra.attrs.get(*key)) for key in (("long_name", "spectrum"), ("units", "1"))
    )
    ends = vectors.unfolded(estimate.vectors[order])
    residual = vectors.placed(np.sqrt(squares / vectors.weights.sum()))
    columns: dict[str, Column] = {
        "endmember": (of_spectra, ends, name, units),
        "abundance": (of_windows, vectors.placed(shares[:, order]), "abundance", "1"),
        "residual": (vectors.dims, residual, "root mean square of the residual", units),
    }
    if estimate.errors is not None and estimate.shares_se is not None:
        errors = vectors.unfolded(estimate.errors[order])
        columns["endmember_se"] = (of_spectra, errors, f"standard error of {name}", units)
        errors = vectors.placed(estimate.shares_se[:, order])
        columns["abundance_se"] = (of_windows, errors, "standard error of the abundance", "1")
    if estimate.windows is not None:
        sizes = tuple(spectra.sizes[dim] for dim in vectors.dims)
        windows = np.flatnonzero(vectors.kept)[estimate.windows[order]]
        places = np.stack(np.unravel_index(windows, sizes), axis=1)
        columns["vertex"] = (("endmember", "axis"), places, "window of the endmember", "1")
    return columns


# A component is structure if windows without common pixels share more than half its variance, and
# the share exceeds zero by this many standard errors.
LEAST_PERSISTENCE, LEAST_SIGNIFICANCE = 0.5, 2.0

# The last component that counts is followed by at least this share of the largest drop.
LEAST_DROP = 0.2


def count_endmembers(spectra: xr.DataArray, *, most: int = 8, seed: int = 0) -> xr.Dataset:
    """Number of endmembers for :func:`unmix`: one more than the components that are structure.

    Two criteria apply together. *Persistence*: the correlation of a component's map with itself,
    shifted by a full window along rows or columns, whichever is larger. Such windows share no
    noise, so this is the fraction of the variance that is structure larger than a window; the
    component counts if it exceeds a half. *Elbow*: components count up to the last one that is
    followed by a drop of the variance of at least a fifth of the largest. Mixtures of two phases in
    a window do not lie on a straight line between their logarithmic spectra, and the curvature
    makes a component of about a tenth of the first's variance: without the elbow every boundary
    would be an endmember.

    Parameters
    ----------
    spectra
        (…, window_row, window_col, k_row, k_col), from :func:`sliding_fft`.
    most
        Largest number of endmembers.
    seed
        Of the search for components.

    Returns
    -------
    Dataset
        (component): ``variance`` and ``variance_explained``, as fractions of the total, the second
        cumulative; ``persistence``; ``significance``, persistence in standard errors with the
        overlap of windows taken into account; ``drop``, to the next component's variance.
        attrs ``endmembers``: their number.

    Raises
    ------
    RequestError
        If there are fewer windows than components, or all windows overlap.

    References
    ----------
    P. Switzer and A. A. Green, Stanford Tech. Rep. 6 (1984), and A. A. Green et al., IEEE Trans.
    Geosci. Remote Sens. 26, 65 (1988), 10.1109/36.3001, whose noise also is what neighbours do not
    share; the elbow after R. B. Cattell, Multivariate Behav. Res. 1, 245 (1966),
    10.1207/s15327906mbr0102_10.

    Examples
    --------
    >>> from latticescape import sliding_fft
    >>> row, col = np.indices((96, 96))
    >>> waves = np.where(row < 48, np.cos(row / 2), np.cos(col / 2))
    >>> noise = np.random.default_rng(1).standard_normal((96, 96))
    >>> count_endmembers(sliding_fft(waves + noise, window=24), most=4).attrs["endmembers"]
    2
    """
    vectors = WindowVectors.of(spectra)
    if spectra.dims[-4:-2] != ("window_row", "window_col") or not spectra.attrs.get("step"):
        hint = "sliding_fft(image, window=64)"
        raise RequestError("spectra are not of sliding windows", came=spectra.dims, hint=hint)
    # Steps from one window to the next without common pixels.
    window, step = int(spectra.attrs["window"]), int(spectra.attrs["step"])
    lag = -(-window // step)
    if max(spectra.shape[-4:-2]) <= lag:
        problem = "all windows overlap: their structure and noise cannot be distinguished"
        came = f"{spectra.sizes['window_row']} × {spectra.sizes['window_col']} windows"
        hint = f"--window {window // 2}, window={window // 2} in Python"
        allowed = f"more than {lag} in one direction"
        raise RequestError(problem, came=came, allowed=allowed, hint=hint)
    count = min(most, MOST_ENDMEMBERS, vectors.windows - 1)
    check_least(count, 2, "components to choose from")
    components = principal_components(vectors, count, seed=seed)
    variance = components.variances / components.total
    drop = variance[:-1] - variance[1:]
    fraction = independent_fraction(window, step)
    maps = vectors.placed(components.scores)[:-1]
    persistence, significance = np.array([_persistence(scores, lag, fraction) for scores in maps]).T
    structure = (persistence >= LEAST_PERSISTENCE) & (significance >= LEAST_SIGNIFICANCE)
    leading = np.logical_and.accumulate(structure) & (drop >= LEAST_DROP * drop.max())
    endmembers = 1 + int(np.flatnonzero(leading)[-1] + 1 if leading.any() else 0)
    table = {
        "variance": (variance[:-1], "fraction of the variance"),
        "variance_explained": (np.cumsum(variance)[:-1], "fraction of the variance, cumulative"),
        "persistence": (persistence, "correlation over the distance of a window"),
        "significance": (significance, "persistence in standard errors"),
        "drop": (drop, "drop to the next component"),
    }
    return xr.Dataset(
        {
            name: ("component", values, {"long_name": long_name, "units": "1"})
            for name, (values, long_name) in table.items()
        },
        attrs={"endmembers": endmembers, "lag": lag},
    )


def _persistence(scores: Floats, lag: int, fraction: float) -> tuple[float, float]:
    """Correlation over a lag along rows or columns, and how many standard errors that is."""
    moved = scores - np.nanmean(scores)
    variance = max(float(np.nanmean(moved**2)), np.finfo(float).tiny)
    candidates = []
    for along in (moved, np.swapaxes(moved, -1, -2)):
        pairs = along[..., lag:, :] * along[..., :-lag, :]
        pairs = pairs[np.isfinite(pairs)]
        if pairs.size:
            correlation = float(pairs.mean()) / variance
            candidates.append((correlation * np.sqrt(fraction * pairs.size), correlation))
    significance, persistence = max(candidates)
    return persistence, significance
