"""Distance landscapes: S² between observed and simulated histograms over the parameter space."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2

from latticescape.analysis.checks import check_has, listed
from latticescape.analysis.counts.classes import Classes, classes_of
from latticescape.analysis.counts.distances import normalized, statistical_distance
from latticescape.analysis.counts.overlap import COUNT_VARIABLES, count_covariance
from latticescape.analysis.inference.likelihood.likelihood import VARIABLES as LIKELIHOOD_VARIABLES
from latticescape.analysis.inference.likelihood.likelihood import exact_likelihood
from latticescape.physics.compiled import compiled
from latticescape.physics.errors import RequestError, shortened
from latticescape.physics.lattices.site_classes import SiteClasses, random_mixing_of
from latticescape.physics.models.alloys import COMPOSITION, COMPOSITION_TOLERANCE
from latticescape.physics.models.cluster_expansion import fraction_names
from latticescape.physics.variables import EQUILIBRATED

Floats = npt.NDArray[np.float64]

# The model without interactions.
RANDOM = "random"

# The covariance of counts is averaged over this many points of smallest S²: the 64 replicas of one
# point determine a variance to 18 %.
LOWEST = 8


def landscape(simulated: xr.Dataset, observed: xr.Dataset) -> xr.Dataset:
    """S² of every image, and of all together, at every point of a sweep.

    S²_d = arccos²Σ√(pq); the total weighs images by their counts, S² = Σ N_d S²_d / ΣN_d, so that
    −ln L = 2 N S². If the sweep has an axis ``x``, or axes of fractions of several species or
    sublattices (``x_Pd``), every image is compared with the simulation of its own measured
    composition.

    Parameters
    ----------
    simulated
        A sweep's Dataset (``open_sweep``), with ``histogram_replica``.
    observed
        Counts per image (``observed_counts``).

    Returns
    -------
    Dataset
        Over the axes of the sweep other than compositions: ``s2``, ``p_value`` (image, …) and
        ``s2_total``, ``p_value_total`` (…), each S² with ``…_se``, its Monte Carlo standard error,
        and ``…_bias``, how much too large the finite simulation makes it (about (k−1)/(4 N_eff);
        shown, not subtracted), both by jackknife over the replicas. ``p_value`` is
        χ²(k−1).sf(4 N S²). Points not computed are NaN. For later steps it keeps ``counts``
        (image, configuration), the simulated ``probability`` (image, …, configuration), and
        ``count_covariance`` (image, configuration, configuration_2), the covariance of the counts
        of one simulated configuration per neighbourhood, mean over the lowest points; and where
        the model's features are sums over the classes, the exact likelihood, see
        :func:`exact_likelihood`. Images of fewer sites than the lattice then count as sections of
        it: configurations are drawn at the lowest points and cut like the image.

    Raises
    ------
    RequestError
        If the classes differ, or an image's composition is not among those simulated.

    References
    ----------
    Vlcek et al., npj Comput. Mater. 7, 42 (2021), 10.1038/s41524-021-00507-7.

    Examples
    --------
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> observed = counts_dataset({"one": np.full(8, 20)}, configurations("honeycomb"))
    >>> replicas = np.ones((2, 64, 8)) * [[1, 3, 3, 1, 1, 3, 3, 1]]
    >>> simulated = xr.Dataset(
    ...     {"histogram_replica": (("T", "replica", "configuration"), replicas)},
    ...     coords={"T": [1.0, 2.0], "label": observed.label})
    >>> surface = landscape(simulated, observed)
    >>> surface.s2.dims, surface.s2_total.values.round(4)
    (('image', 'T'), array([0.0685, 0.0685]))
    """
    _check_classes(simulated, observed)
    needed = {*COUNT_VARIABLES, *LIKELIHOOD_VARIABLES, "composition", EQUILIBRATED}
    simulated = simulated[[name for name in simulated.data_vars if name in needed]]
    every = [observed.sel(image=image) for image in observed["image"].values]
    simulations = [_at_composition(simulated, image) for image in every]
    counts = observed["counts"].transpose("image", "configuration").values
    normalized(counts)  # raises for a negative count
    rows = [without_inner_coordinates(at["histogram_replica"]) for at in simulations]
    one = all(at is simulated for at in simulations)
    histograms = rows[0].expand_dims(image=observed["image"]) if one else _by_image(rows, observed)
    s2, total, probability = xr.apply_ufunc(
        _estimated,
        histograms,
        xr.DataArray(counts, dims=("image", "configuration")),
        input_core_dims=[["image", "replica", "configuration"], ["image", "configuration"]],
        output_core_dims=[["image", "estimate"], ["estimate"], ["image", "configuration"]],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": {"estimate": 3}},
        output_dtypes=[float] * 3,
    )
    axes = [name for name in histograms.dims if name not in ("replica", "configuration")]
    surface = _described(
        {
            **{
                f"{name}{suffix}": value.isel(estimate=number)
                for name, value in {"s2": s2, "s2_total": total}.items()
                for number, suffix in enumerate(["", "_se", "_bias"])
            },
            "probability": probability.assign_coords(configuration=observed["configuration"]),
        },
        observed,
        axes,
    )
    fixed = bool(conserved_fractions(simulated))
    if EQUILIBRATED in simulated:
        flags = [without_inner_coordinates(at[EQUILIBRATED]) for at in simulations]
        surface[EQUILIBRATED] = _by_image(flags, observed).all("image").assign_attrs(flags[0].attrs)
    lowest = lowest_points(surface["s2_total"])
    covariances = _covariances(simulations, lowest)
    surface = surface.assign(count_covariance=mean_covariance(covariances, surface))
    exact = exact_likelihood(simulated, simulations, surface, lowest, every)
    return surface.assign(exact).assign_attrs(fixed_composition=int(fixed))


def without_inner_coordinates(histograms: xr.DataArray) -> xr.DataArray:
    """Histograms without the coordinates of classes and replicas, and without scalar ones.

    Examples
    --------
    >>> histograms = xr.DataArray(np.ones((1, 2)), {"T": [2.0], "x": 0.5}, ("T", "configuration"))
    >>> list(without_inner_coordinates(histograms).coords)
    ['T']
    """
    inner = {"replica", "configuration"}
    others = [n for n, c in histograms.coords.items() if not c.dims or inner & set(c.dims)]
    return histograms.drop_vars(others)


def _covariances(
    simulations: Sequence[xr.Dataset], points: Sequence[Mapping[str, int]]
) -> list[Floats]:
    """The covariances of the counts, (images, classes, classes), at each of the lowest points."""
    if not points:
        return []
    place = {name: xr.DataArray([p[name] for p in points], dims="lowest") for name in points[0]}
    # All points are read together, and images of the same composition share one simulation.
    read = {id(at): at.isel(place).compute() for at in simulations}
    return [
        np.array(
            [
                count_covariance(read[id(at)].isel(lowest=k, missing_dims="ignore"))
                for at in simulations
            ]
        )
        for k in range(len(points))
    ]


def _estimated(histograms: npt.NDArray[Any], counts: Floats) -> tuple[Floats, Floats, Floats]:
    """S² of every image (…, images, 3) and of all images (…, 3), each with its Monte Carlo error
    and its bias, and probabilities (…, images, classes).

    ``histograms`` is (…, images, replicas, classes), and ``counts`` (images, classes).
    """
    points, images, classes = histograms.shape[:-3], *counts.shape
    flat = histograms.reshape(-1, *histograms.shape[-3:])
    s2, total = np.empty((len(flat), images, 3)), np.empty((len(flat), 3))
    probability = np.empty((len(flat), images, classes))
    weights = counts.sum(axis=1) / counts.sum()
    _jackknife(flat, np.sqrt(normalized(counts)), weights, s2, total, probability)
    return (
        s2.reshape(*points, images, 3),
        total.reshape(*points, 3),
        probability.reshape(*points, images, classes),
    )


@compiled
def _jackknife(
    histograms: Any, roots: Any, weights: Any, s2: Any, total: Any, probability: Any
) -> None:
    """Fill in what :func:`_estimated` returns; ``roots`` are square roots of the observed
    shares."""
    images, replicas, classes = histograms.shape[1:]
    # The distance of all replicas together, then of all but each one.
    parts, sums = np.empty(replicas + 1), np.empty(classes)
    for point in range(histograms.shape[0]):
        together = np.zeros(replicas + 1)
        for image in range(images):
            for k in range(classes):
                sums[k] = 0.0
                for replica in range(replicas):
                    sums[k] += histograms[point, image, replica, k]
            for part in range(replicas + 1):
                number = 0.0
                for k in range(classes):
                    left_out = histograms[point, image, part - 1, k] if part else 0.0
                    number += sums[k] - left_out
                squares = 0.0
                for k in range(classes):
                    left_out = histograms[point, image, part - 1, k] if part else 0.0
                    share = (sums[k] - left_out) / number if number > 0 else np.nan
                    squares += (np.sqrt(share) - roots[image, k]) ** 2
                    if part == 0:
                        probability[point, image, k] = share
                # 2 arcsin(|√p − √q|/2), at most π/2: the statistical distance.
                distance = 2 * np.arcsin(min(np.sqrt(squares) / 2, 1.0))
                if distance > np.pi / 2:
                    distance = np.pi / 2
                parts[part] = distance**2
                together[part] += weights[image] * distance**2
            _summarize(parts, s2[point, image])
        _summarize(together, total[point])


@compiled
def _summarize(parts: Any, found: Any) -> None:
    """The value from all replicas, and its standard error and bias from left-out replicas."""
    number, mean, square = len(parts) - 1, 0.0, 0.0
    for part in range(number):
        mean += parts[part + 1] / number
    for part in range(number):
        square += (parts[part + 1] - mean) ** 2 / number
    found[0] = parts[0]
    found[1] = np.sqrt((number - 1) * square)
    found[2] = (number - 1) * (mean - parts[0])


def random_mixing(observed: xr.Dataset) -> xr.Dataset:
    """The landscape of the random alloy: no parameters, composition as measured.

    Each site holds each species with its measured share of the centres: of two species,
    p = multiplicity · x^n (1 − x)^(z+1−n) with x the fraction of species-1 centres.

    Parameters
    ----------
    observed
        Counts per image (``observed_counts``).

    Returns
    -------
    Dataset
        As :func:`landscape`, with exact zeros as Monte Carlo errors and biases.

    Examples
    --------
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> counts = {"one": np.array([1, 3, 3, 1, 1, 3, 3, 1])}
    >>> surface = random_mixing(counts_dataset(counts, configurations("honeycomb")))
    >>> float(surface.s2_total)
    0.0
    """
    probabilities = xr.DataArray(
        random_mixing_of(
            classes_of(observed),
            observed["counts"].transpose("image", "configuration").values,
            observed["composition"].values,
        ),
        dims=("image", "configuration"),
        coords={"image": observed["image"]},
    )
    s2 = statistical_distance(observed["counts"], probabilities) ** 2
    total = (s2 * observed["n"]).sum("image") / observed["n"].sum()
    exact = {"s2": s2, "s2_total": total}
    zeros = {f"{n}_{part}": 0 * v for n, v in exact.items() for part in ("se", "bias")}
    described = _described({**exact, **zeros, "probability": probabilities}, observed)
    return described.assign_attrs(model=RANDOM)


def histograms_at(simulated: xr.Dataset, observed: xr.Dataset) -> xr.DataArray:
    """Simulated counts that each image is compared with, those of its own composition.

    Parameters
    ----------
    simulated, observed
        As for :func:`landscape`.

    Returns
    -------
    DataArray
        (image, …, configuration) over the axes of the sweep other than compositions; summed over
        the replicas, 0 at points that are not computed.

    Raises
    ------
    RequestError
        As :func:`landscape`.

    Examples
    --------
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> observed = counts_dataset({"one": np.full(8, 20)}, configurations("honeycomb"))
    >>> simulated = xr.Dataset(
    ...     {"histogram_replica": (("T", "replica", "configuration"), np.ones((2, 64, 8)))},
    ...     coords={"T": [1.0, 2.0], "label": observed.label})
    >>> histograms_at(simulated, observed).sizes
    Frozen({'image': 1, 'T': 2, 'configuration': 8})
    """
    _check_classes(simulated, observed)
    rows = [
        _at_composition(simulated, observed.sel(image=image))["histogram_replica"].sum("replica")
        for image in observed["image"].values
    ]
    return _by_image(rows, observed)


def parameters_of(landscape: xr.Dataset) -> tuple[str, ...]:
    """The parameters of a landscape: its axes, or those that vary together along a dimension.

    Raises
    ------
    RequestError
        If a dimension has no parameter, or a parameter is a word.

    Examples
    --------
    >>> parameters_of(xr.Dataset({"s2_total": ("point", [0.1])}, {"T": ("point", [2.0])}))
    ('T',)
    """
    names: list[str] = []
    for dim in map(str, landscape["s2_total"].dims):
        along = [str(n) for n, c in landscape.coords.items() if c.dims == (dim,)]
        own = [dim] if dim in along else along
        words = [name for name in own if landscape[name].dtype.kind not in "fiu"]
        if words or not own:
            problem = f"the landscape has no numbers along {(*words, dim)[0]}"
            came = "words, or true and false" if words else "a dimension without coordinates"
            allowed = "parameters that are numbers"
            hint = f"ds.isel({dim}=0), one of them"
            raise RequestError(problem, came=came, allowed=allowed, hint=hint)
        names += own
    return tuple(names)


def columns_of(landscape: xr.Dataset) -> dict[str, npt.NDArray[np.float64]]:
    """The value of each parameter at every point, (points,), by name.

    Examples
    --------
    >>> total = xr.DataArray(np.zeros((2, 2)), {"T": [1.0, 2.0], "H": [0.0, 0.5]}, ("T", "H"))
    >>> columns_of(xr.Dataset({"s2_total": total}))["H"].tolist()
    [0.0, 0.5, 0.0, 0.5]
    """
    total = landscape["s2_total"]
    return {
        name: landscape[name].broadcast_like(total).transpose(*total.dims).values.ravel() + 0.0
        for name in parameters_of(landscape)
    }


def check_grid(landscape: xr.Dataset, what: str, hint: str) -> tuple[str, ...]:
    """The axes of a landscape over a grid.

    Raises
    ------
    RequestError
        If it is at scattered points, or as :func:`parameters_of`.

    Examples
    --------
    >>> landscape = xr.Dataset({"s2_total": ("point", [0.1])}, {"T": ("point", [2.0])})
    >>> check_grid(landscape, "evidence", "compare, or fit")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: evidence needs a grid (came: points of T along point; ...
    """
    names = parameters_of(landscape)
    dims = landscape["s2_total"].dims
    if names != dims:
        along = listed(str(dim) for dim in dims if dim not in names)
        came = f"points of {listed(name for name in names if name not in dims)} along {along}"
        allowed = "a sweep with every parameter as an axis of its own in [grid]"
        raise RequestError(f"{what} needs a grid", came=came, allowed=allowed, hint=hint)
    return names


def lowest_points(total: xr.DataArray) -> list[dict[str, int]]:
    """Indices of the few smallest values of a landscape, the smallest first.

    Examples
    --------
    >>> total = xr.DataArray([0.2, np.nan, 0.1], {"T": [1.0, 2.0, 3.0]}, "T")
    >>> lowest_points(total)
    [{'T': 2}, {'T': 0}]
    """
    flat = total.values.ravel()
    order = np.argsort(flat)[: min(LOWEST, int(np.isfinite(flat).sum()))]
    places = [np.unravel_index(int(i), total.shape) for i in order]
    axes = [str(name) for name in total.dims]
    return [dict(zip(axes, map(int, place), strict=True)) for place in places]


def mean_covariance(
    covariances: Sequence[npt.NDArray[np.float64]], landscape: xr.Dataset
) -> xr.Variable:
    """``count_covariance`` of a landscape from those of its lowest points; NaN of none.

    Examples
    --------
    >>> landscape = xr.Dataset(coords={"image": ["one"], "configuration": [0, 1]})
    >>> mean_covariance([np.ones((1, 2, 2)), np.zeros((1, 2, 2))], landscape).values.tolist()
    [[[0.5, 0.5], [0.5, 0.5]]]
    """
    images, classes = landscape.sizes["image"], landscape.sizes["configuration"]
    unknown = np.full((images, classes, classes), np.nan)
    long_name = "covariance of counts of one simulated configuration, per neighbourhood"
    dims = ("image", "configuration", "configuration_2")
    mean = np.mean(covariances, axis=0) if covariances else unknown
    return xr.Variable(dims, mean, {"long_name": long_name, "units": "1"})


def p_values(s2: npt.ArrayLike, n: npt.ArrayLike, dof: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """χ²(dof).sf(4 N S²), the probability of an S² at least as large if the model is true.

    Examples
    --------
    >>> p_values(0.0325, 466, 25).round(4).item()
    0.0001
    """
    p: npt.NDArray[np.float64] = chi2(np.asarray(dof, float)).sf(4 * np.asarray(n) * np.asarray(s2))
    return p


def _check_classes(simulated: xr.Dataset, observed: xr.Dataset) -> None:
    check_histograms(simulated)
    own, seen = ([str(label) for label in ds["label"].values] for ds in (simulated, observed))
    if own != seen:
        problem = "observed and simulated configurations are of different lattices"
        came, allowed = f"{len(seen)} classes, {seen[0]!r} …", f"{len(own)} classes, {own[0]!r} …"
        hint = "a table of counts of the sweep's lattice, classes=classes_of(ds) in Python"
        raise RequestError(problem, came=came, allowed=allowed, hint=hint)
    described = [ds.attrs for ds in (observed, simulated) if "lattice" in ds.attrs]
    texts = [f"{attrs['lattice']} {attrs.get('classes', '')}" for attrs in described]
    if len(set(texts)) > 1:
        raise RequestError(
            "observed and simulated configurations are of different lattices or neighbours",
            came=texts[0],
            allowed=texts[1],
            hint="observed_counts(…, classes=classes_of(ds))",
        )
    theirs, ours = (ds.get_index("configuration") for ds in (observed, simulated))
    if not ours.equals(theirs):
        raise RequestError(
            "observed and simulated configurations are numbered differently: a store is damaged",
            came=shortened(list(theirs), 80),
            allowed=shortened(list(ours), 80),
            hint="latticescape measure the images again, and run the sweep into a new --store",
        )


def check_histograms(simulated: xr.Dataset) -> None:
    """Check that a sweep has histograms of configurations."""
    hint = "a sweep of a lattice model"
    check_has(simulated, ["histogram_replica"], "the Dataset holds no histograms", hint)


def _at_composition(simulated: xr.Dataset, image: xr.Dataset) -> xr.Dataset:
    """The simulation at an image's composition, along the axes of compositions that the sweep
    has."""
    for fraction in conserved_fractions(simulated):
        name, measured = fraction.name, float(fraction.measured(image))
        along = simulated[name].values if name in simulated.dims else fraction.of(simulated)
        available = np.unique(along[np.isfinite(along)])
        _check_composition(image, fraction, measured, available, swept=name in simulated.dims)
        if name in simulated.dims:
            simulated = simulated.sel({name: measured}, method="nearest").drop_vars(name)
        elif available.size and np.ptp(available) > COMPOSITION_TOLERANCE:
            raise RequestError(
                "the points are of different compositions, and an image has one",
                came=f"{name} from {available[0]:g} to {available[-1]:g} among the points",
                allowed=f"one {name} for all points, or {name} as an axis of its own",
                hint=f"{name} = [0.45, 0.55] in [grid], and points without {name}",
            )
    return simulated


@dataclass(frozen=True)
class Fraction:
    """A fraction that a sweep conserves.

    Attributes
    ----------
    name
        Of the parameter.
    species, sublattice
        The number and the name of the species, and the name of the sublattice; None for the
        fraction x of species 1 of all sites.
    classes
        The sweep's classes.
    """

    name: str
    species: tuple[int, str] | None = None
    sublattice: str | None = None
    classes: Classes | None = None

    def of(self, simulated: xr.Dataset) -> Floats:
        """The realised fraction at every point of a sweep; empty if it stores none."""
        if "composition" not in simulated:
            return np.empty(0)
        own = {"species": self.species and self.species[1], "sublattice": self.sublattice}
        realised = simulated["composition"]
        place = {dim: label for dim, label in own.items() if dim in realised.dims}
        return np.asarray(realised.sel(place).values, float)

    def measured(self, observed: xr.Dataset) -> Floats:
        """The fraction among the centres of an image, or of every image; NaN if it shows none."""
        if self.species is None or not isinstance(self.classes, SiteClasses):
            return np.asarray(observed["composition"].values, float)
        counts = observed["counts"].transpose(..., "configuration").values
        seen = self.classes.centres_in(counts)
        known = self.classes.geometry.sublattice_names
        rows = (
            seen.sum(-2) if self.sublattice is None else seen[..., known.index(self.sublattice), :]
        )
        with np.errstate(invalid="ignore"):
            share: Floats = rows[..., self.species[0]] / rows.sum(-1)
        return share


def conserved_fractions(simulated: xr.Dataset) -> list[Fraction]:
    """The fractions that a sweep conserves, or sweeps; none if the composition floats.

    Examples
    --------
    >>> [f.name for f in conserved_fractions(xr.Dataset({"composition": ("x", [0.5])}))]
    ['x']
    """
    dims = simulated["composition"].dims if "composition" in simulated else ()
    if "species" not in dims:
        known = "composition" in simulated or COMPOSITION in simulated.dims
        return [Fraction(COMPOSITION)] * known
    classes = classes_of(simulated)
    assert isinstance(classes, SiteClasses)
    species = dict(zip(classes.geometry.names, classes.species, strict=True))
    several = "sublattice" in dims
    held = species if several else {"": classes.species[0]}
    return [
        Fraction(name, (number, names[number]), sublattice if several else None, classes)
        for sublattice, names in held.items()
        for number, name in enumerate(fraction_names(sublattice, names), start=1)
        if len(names) > 1
    ]


def _check_composition(
    image: xr.Dataset, fraction: Fraction, measured: float, available: Floats, *, swept: bool
) -> None:
    name, shown = fraction.name, image["image"].item()
    if swept and np.isnan(measured):
        raise RequestError(
            f"the image {shown} shows no site of the sublattice {fraction.sublattice}",
            came=f"a sweep over {name}",
            allowed="counts around sites of every sublattice",
            hint=f"a sweep without the axis {name}",
        )
    if available.size and np.abs(available - measured).min() > COMPOSITION_TOLERANCE:
        problem = f"no simulation at the composition of the image {shown}"
        values = listed(f"{x:g}" for x in available)
        allowed = f"{name} = {values}, within {COMPOSITION_TOLERANCE}"
        hint = f"{name} = {measured:.5f} in [model], in a new sweep"
        if swept:
            hint = f"add {measured:.5f} to the axis {name} of the sweep"
        raise RequestError(problem, came=f"{name} = {measured:.5f}", allowed=allowed, hint=hint)


def _by_image(rows: list[xr.DataArray], observed: xr.Dataset) -> xr.DataArray:
    joined: xr.DataArray = xr.concat(
        rows, dim=observed["image"], coords="minimal", compat="override"
    )
    return joined


_LONG_NAMES = {
    "s2": "S² of the image",
    "s2_se": "Monte Carlo standard error of S²",
    "s2_bias": "bias of S² by the finite simulation",
    "s2_total": "S² of all images",
    "s2_total_se": "Monte Carlo standard error of the total S²",
    "s2_total_bias": "bias of the total S² by the finite simulation",
    "p_value": "χ² p-value of the image",
    "p_value_total": "χ² p-value of all images",
    "probability": "simulated share of the configuration",
}


def _described(
    results: Mapping[str, xr.DataArray], observed: xr.Dataset, axes: Sequence[Hashable] = ()
) -> xr.Dataset:
    """The landscape of these results over these axes, with p-values, long names and the counts."""
    dof, n = observed.sizes["configuration"] - 1, observed["n"]
    values: dict[str, Any] = dict(results)
    values["p_value"] = _p_value(results["s2"], n, dof)
    values["p_value_total"] = _p_value(results["s2_total"], n.sum(), dof * observed.sizes["image"])
    for name, value in values.items():
        ordered = value.transpose(*axes, ..., missing_dims="ignore")
        values[name] = ordered.assign_attrs(long_name=_LONG_NAMES[name], units="1")
    for name in ("n", "composition", "counts", "effective_n"):
        if name in observed:
            values[name] = observed[name]
    return xr.Dataset(values, attrs={**observed.attrs, "degrees_of_freedom": dof}).compute()


def _p_value(s2: xr.DataArray, n: xr.DataArray, dof: int) -> xr.DataArray:
    p: xr.DataArray = xr.apply_ufunc(
        p_values, s2, n, kwargs={"dof": dof}, dask="parallelized", output_dtypes=[float]
    )
    return p
