"""Unmixing: spectra of windows as mixtures of a few endmembers, with maps of their abundances."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from numbers import Integral
from typing import Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.images.unmixing.bayesian import sample_posterior
from latticescape.analysis.images.unmixing.endmembers import (
    nfindr,
    nonnegative_endmembers,
    purest_windows,
)
from latticescape.analysis.images.unmixing.principal import (
    Components,
    WindowVectors,
    centred,
    principal_components,
)
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]

# All sets of endmembers that may take part are tried, and there are 2^q of them.
MOST_ENDMEMBERS = 10


def abundances(vectors: npt.ArrayLike, endmembers: npt.ArrayLike) -> Floats:
    """The mixture of endmembers nearest to each vector.

    Minimises |x − Σ_k a_k e_k|² with a ≥ 0, Σ a = 1. For every set of endmembers the least
    squares with only the sum constrained has a closed form, one matrix for all vectors; the best
    of those that are nowhere negative is the minimum.

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
        raise RequestError(
            "vectors and endmembers do not fit",
            came=f"{x.shape} and {e.shape}",
            allowed="(n, features) and (q, features)",
        )
    if len(e) > MOST_ENDMEMBERS:
        raise RequestError("too many endmembers", came=len(e), allowed=f"at most {MOST_ENDMEMBERS}")
    return from_products((x @ e.T).astype(np.float64), (e @ e.T).astype(np.float64))


def from_products(products: Floats, gram: Floats) -> Floats:
    """The same from inner products: (n, q) of vectors and endmembers, (q, q) of endmembers."""
    n, q = products.shape
    best, least = np.zeros((n, q)), np.full(n, np.inf)
    for size in range(1, q + 1):
        for members in combinations(range(q), size):
            some = list(members)
            inner = gram[np.ix_(some, some)]
            solution = _affine(products[:, some], inner)
            if solution is None:
                continue
            error = ((solution @ inner) * solution).sum(axis=1)
            error -= 2 * (solution * products[:, some]).sum(axis=1)
            better = (solution >= -ROUNDING).all(axis=1) & (error < least)
            least[better] = error[better]
            best[better] = 0
            best[np.ix_(better, some)] = np.maximum(solution[better], 0)
    best /= best.sum(axis=1, keepdims=True)
    return best


def _affine(products: Floats, gram: Floats) -> Floats | None:
    """Least squares under Σ a = 1 alone; None if the endmembers span less than a simplex.

    The edges d_k = e_k − e_0 free it of the constraint: a_k = D⁻¹ (x − e_0)·d, a_0 = 1 − Σ a_k.
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

# What is taken of the spectra by a method that needs them in memory.
MEMORY_BYTES = 2**28


# A smaller share of the variance, or an abundance less below zero, is a rounding error.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Endmembers:
    """What a method found.

    Attributes
    ----------
    vectors
        (q, features).
    windows
        (q,): the window that each endmember is, if it is one.
    errors
        (q, features) standard errors, if the method knows them.
    shares, shares_se
        (windows, q) abundances with standard errors, if the method finds them itself.
    told
        What else there is to tell.
    """

    vectors: npt.NDArray[np.floating]
    windows: npt.NDArray[np.int64] | None = None
    errors: Floats | None = None
    shares: Floats | None = None
    shares_se: Floats | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def unmix(
    spectra: xr.DataArray, endmembers: int = 2, *, method: Method = "nfindr", seed: int = 0
) -> xr.Dataset:
    """Endmembers e and abundances a of spectra x ≈ Σ_k a_k e_k, with a ≥ 0 and Σ a = 1.

    Spectra pass through in blocks, a few times, and are never all in memory; if they are lazy they
    are computed anew each time, so ``spectra.persist()`` first where there is room for them.

    Parameters
    ----------
    spectra
        (…, window_row, window_col, k_row, k_col), as from :func:`sliding_fft`.
    endmembers
        How many, 1 to 10; :func:`count_endmembers` helps to choose. One is the mean spectrum.
    method
        ``"nfindr"``: the windows that span the largest simplex in q − 1 principal components.
        ``"ica"``: the windows in the tails of q − 1 independent components; of either only what
        lies in the space of these components. ``"nmf"``: nonnegative
        factorisation, of at most 256 MB of spectra (windows drawn at random beyond that). All
        three: abundances by fully constrained least squares. ``"bayes"``: Gibbs sampling from
        N-FINDR's endmembers on, which gives standard errors.
    seed
        Of all chance; the same seed gives the same result.

    Returns
    -------
    Dataset
        ``endmember`` (endmember, k_row, k_col), by mean abundance, the largest first;
        ``abundance`` (endmember, …, window_row, window_col); ``residual`` (…, window_row,
        window_col), the root mean square of what the mixture leaves; ``variance_explained``, the
        fraction of the windows' variance around their mean that it does not. Of N-FINDR
        ``vertex`` (endmember, dims of windows) tells where; of ``"bayes"`` ``endmember_se`` and
        ``abundance_se`` one posterior standard deviation, and attrs ``r_hat`` and ``noise``.

    Raises
    ------
    RequestError
        If there are fewer windows than endmembers, all spectra are alike or not finite, or the
        method is unknown.

    References
    ----------
    R. Kannan et al., Adv. Struct. Chem. Imaging 4, 6 (2018), 10.1186/s40679-018-0055-8; and see the
    modules of the methods.

    Examples
    --------
    >>> pure = np.array([[[1.0, 0.0]], [[0.0, 3.0]]])
    >>> mixed = np.array([[1, 0], [0.5, 0.5], [0.25, 0.75], [0, 1]]) @ pure.reshape(2, 2)
    >>> spectra = xr.DataArray(mixed.reshape(2, 2, 1, 2),
    ...                        dims=("window_row", "window_col", "k_row", "k_col"))
    >>> found = unmix(spectra)
    >>> np.abs(found.endmember.values[:, 0]).round(6).tolist(), found.vertex.values.tolist()
    ([[0.0, 3.0], [1.0, 0.0]], [[1, 1], [0, 0]])
    >>> found.abundance.values[0].round(6).tolist()
    [[0.0, 0.5], [0.75, 1.0]]
    """
    vectors = WindowVectors.of(spectra)
    _check(vectors, endmembers, method)
    components = principal_components(vectors, max(1, endmembers - 1), seed=seed)
    if endmembers == 1:
        found = Endmembers(components.mean[None])
    else:
        _check_span(components, endmembers)
        found = METHODS[method](vectors, components, endmembers, seed)
    shares, squares = _mixtures(vectors, components, found)
    order = np.argsort(-shares.mean(axis=0), kind="stable")
    left = float(squares.sum()) / (components.total * vectors.windows)
    variables = _variables(vectors, found, shares, squares, order)
    variables["variance_explained"] = (
        (),
        1 - left,
        {"long_name": "variance explained", "units": "1"},
    )
    told = {"method": method, "seed": seed, **found.told}
    kept = {name: spectra.attrs[name] for name in KEPT if name in spectra.attrs}
    return xr.Dataset(variables, spectra.coords, {**kept, **told})


KEPT = ("image", "source", "window", "step", "taper", "pixel_size", "pixel_units")


def _check(vectors: WindowVectors, endmembers: int, method: str) -> None:
    if method not in METHODS:
        raise RequestError("unknown method", came=repr(method), allowed=" | ".join(METHODS))
    most = min(MOST_ENDMEMBERS, vectors.windows)
    if not isinstance(endmembers, Integral) or not 1 <= endmembers <= most:
        raise RequestError(
            "that many endmembers cannot be told apart",
            came=endmembers,
            allowed=f"1 to {most}, for there are {vectors.windows} windows",
        )


def _check_span(components: Components, endmembers: int) -> None:
    spanned = int((components.variances > ROUNDING * components.total).sum())
    if spanned < endmembers - 1:
        raise RequestError(
            "the spectra span no simplex of so many endmembers",
            came=endmembers,
            allowed=f"1 to {spanned + 1}",
        )


def _by_nfindr(vectors: WindowVectors, components: Components, q: int, seed: int) -> Endmembers:
    windows = nfindr(components.scores, seed=seed)
    return Endmembers(_spectra_at(vectors, components, components.scores[windows]), windows)


def _by_ica(vectors: WindowVectors, components: Components, q: int, seed: int) -> Endmembers:
    purest, converged = purest_windows(components.scores, seed=seed)
    corners = np.stack([components.scores[some].mean(axis=0) for some in purest])
    found = _spectra_at(vectors, components, corners)
    return Endmembers(found, told={"converged": int(converged)})


def _by_nmf(vectors: WindowVectors, components: Components, q: int, seed: int) -> Endmembers:
    matrix, most = vectors.matrix, MEMORY_BYTES // (vectors.matrix.shape[1] * 4)
    if vectors.windows > most:
        drawn = np.random.default_rng(seed).choice(vectors.windows, most, replace=False)
        matrix = matrix[np.sort(drawn)]
    scale = np.sqrt(vectors.weights)
    known = np.asarray(matrix.compute(), np.float32) * scale.astype(np.float32)
    found, converged = nonnegative_endmembers(known, q, seed=seed)
    return Endmembers(found / scale, told={"converged": int(converged)})


def _by_bayes(vectors: WindowVectors, components: Components, q: int, seed: int) -> Endmembers:
    scale = np.sqrt(vectors.weights)
    start = components.scores[nfindr(components.scores, seed=seed)]
    floor = components.mean * scale
    attrs = vectors.spectra.attrs
    posterior = sample_posterior(
        components,
        start,
        floor=floor if bool(vectors.matrix.min().compute() >= 0) else None,
        independent=independent_fraction(int(attrs.get("window", 1)), int(attrs.get("step", 1))),
        seed=seed,
    )
    spread = np.einsum("fi,kij,fj->kf", components.axes, posterior.vertices_cov, components.axes)
    return Endmembers(
        _spectra_at(vectors, components, posterior.vertices),
        errors=np.sqrt(np.maximum(spread, 0)) / scale,
        shares=posterior.abundances,
        shares_se=posterior.abundances_se,
        told={"r_hat": posterior.r_hat, "noise": posterior.noise},
    )


def _spectra_at(vectors: WindowVectors, components: Components, scores: Floats) -> Floats:
    """Spectra at points of the space of the principal components.

    Of a window's spectrum, that which it shares with others: its own noise, of which nearly all
    lies outside of these few components, would make endmembers seem further apart than they are,
    and with that all abundances more alike.
    """
    return components.mean + scores @ components.axes.T / np.sqrt(vectors.weights)


METHODS: Mapping[str, Callable[[WindowVectors, Components, int, int], Endmembers]] = {
    "nfindr": _by_nfindr,
    "ica": _by_ica,
    "nmf": _by_nmf,
    "bayes": _by_bayes,
}


def independent_fraction(window: int, step: int) -> float:
    """How many independent windows there are for each of the overlapping ones.

    Powers of two Hann windows a distance s apart correlate as c(s)², c = Σ h(x) h(x+s) / Σ h²; the
    mean of many of them has the variance of 1/Σ c(s)² times as many, over all distances s.

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
    vectors: WindowVectors, components: Components, found: Endmembers
) -> tuple[Floats, Floats]:
    """Abundances of all windows, and the squares that their mixtures leave."""
    moved = centred(found.vectors.astype(np.float64), components.mean, vectors.weights)
    given = found.shares
    q, matrix = len(moved), vectors.matrix
    ends, mean, weights = (
        da.from_array(values, chunks=-1) for values in (moved, components.mean, vectors.weights)
    )
    inputs = [matrix, "wf", mean, "f", weights, "f", ends, "qf"]
    if given is not None:
        inputs += [da.from_array(given, chunks=(matrix.chunks[0], -1)), "wq"]
    both = da.blockwise(_mixed, "wm", *inputs, dtype=float, new_axes={"m": q + 1}, concatenate=True)
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
    rest = moved - known.astype(moved.dtype) @ ends
    return np.column_stack([known, np.einsum("wf,wf->w", rest, rest, dtype=np.float64)])


def _variables(
    vectors: WindowVectors,
    found: Endmembers,
    shares: Floats,
    squares: Floats,
    order: npt.NDArray[np.int64],
) -> dict[str, Any]:
    spectra, where = vectors.spectra, ("endmember", *vectors.dims)
    ks = ("endmember", *(str(dim) for dim in spectra.dims[-2:]))
    told = {
        "long_name": str(spectra.attrs.get("long_name", "spectrum")),
        "units": str(spectra.attrs.get("units", "1")),
    }
    residual = vectors.placed(np.sqrt(squares / vectors.weights.sum()))
    left = {"long_name": "root mean square of what is left", "units": told["units"]}
    held = {"long_name": "abundance", "units": "1"}
    variables: dict[str, Any] = {
        "endmember": (ks, vectors.unfolded(found.vectors[order]), told),
        "abundance": (where, vectors.placed(shares[:, order]), held),
        "residual": (vectors.dims, residual, left),
    }
    if found.errors is not None and found.shares_se is not None:
        error = {**told, "long_name": f"standard error of {told['long_name']}"}
        variables["endmember_se"] = (ks, vectors.unfolded(found.errors[order]), error)
        error = {**held, "long_name": "standard error of the abundance"}
        variables["abundance_se"] = (where, vectors.placed(found.shares_se[:, order]), error)
    if found.windows is not None:
        sizes = tuple(spectra.sizes[dim] for dim in vectors.dims)
        places = np.stack(np.unravel_index(found.windows[order], sizes), axis=1)
        told = {"long_name": "window that the endmember is, by number", "units": "1"}
        variables["vertex"] = (("endmember", "axis"), places, told)
    return variables
