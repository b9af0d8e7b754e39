"""``guess``: models and their parameters from counts alone, and the ranges to simulate."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import listed
from latticescape.analysis.counts.classes import Classes, classes_of
from latticescape.analysis.inference.comparison.comparison import model_weights
from latticescape.analysis.inference.comparison.models import check_counts
from latticescape.analysis.inference.comparison.verdict import verdict
from latticescape.analysis.inference.landscapes.landscape import RANDOM
from latticescape.analysis.inference.pseudo_likelihood.likelihood import (
    Candidate,
    Estimate,
    estimate,
)
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import Configurations
from latticescape.physics.models.alloys import PairAlloy, ThreeBodyAlloy
from latticescape.physics.models.cluster_expansion import ClusterExpansion, Term
from latticescape.physics.models.ising import Ising
from latticescape.physics.models.model import ParametricModel

Floats = npt.NDArray[np.float64]
Models = Mapping[str, tuple[ParametricModel, Sequence[str]]]

# Half the width of a proposed range, in standard errors. The final fit differs from the guess by
# less than one of them, because it uses more of the counts.
ERRORS = 5.0

# A guess with a standard error above this, in k_B T, says that the counts do not bound the energy.
UNBOUNDED = 1.0

ISING = "ising"


@dataclass(frozen=True)
class Guess:
    """What counts say about models before any simulation.

    Attributes
    ----------
    table
        As :func:`latticescape.compare` returns it, without p-values: ``s2`` (model, image),
        ``s2_total``, ``parameters``, ``bic``, ``delta_bic``, ``weight`` (model), ``best``,
        ``best_se``, ``low`` and ``high`` (model, parameter), the ends of the range to simulate. The
        attribute ``verdict`` says which model is preferred.
    models
        The models by name, each with the names of its parameters.
    notes
        Warnings, and the models that these counts cannot tell, with the reason.
    """

    table: xr.Dataset
    models: Mapping[str, Candidate]
    notes: tuple[str, ...]

    @property
    def best(self) -> str:
        """The preferred model among those with parameters."""
        with_parameters = self.table["model"].values[self.table["parameters"].values > 0]
        if not len(with_parameters):
            raise RequestError(
                "no model has a parameter to sweep",
                came=listed(self.models),
                allowed="a model with interactions",
                hint="models={'pair': (PairAlloy(), ['w1'])}",
            )
        return str(with_parameters[0])

    def ranges(self, model: str | None = None) -> dict[str, tuple[float, float]]:
        """The ranges to simulate, by parameter; of the preferred model by default."""
        row = self.table.sel(model=model or self.best)
        return {
            name: (float(row["low"].sel(parameter=name)), float(row["high"].sel(parameter=name)))
            for name in self.models[model or self.best].parameters
        }


def guess(
    observed: xr.Dataset, models: Models | None = None, *, independent: bool = False
) -> Guess:
    """Estimate the parameters of models from counts alone, by their pseudo-likelihood.

    The species of an atom, given its neighbours, depends on the energy of its own bonds only, so
    the counts determine the parameters without a simulation (:func:`estimate`). The result is a
    start: it names the models worth simulating and the ranges that hold the parameters. Near a
    phase transition its errors are up to 1.3 times those of the final fit.

    Parameters
    ----------
    observed
        Counts per image (:func:`latticescape.observed_counts`).
    models
        By name: a model, and the names of its parameters to estimate; the others are fixed, and T
        is 1 where it is neither. By default, for two species: random mixing, the pair alloy with
        w1 and, if second neighbours are counted, w2, on the triangular lattice the three-body
        alloy, and the Ising model in a field with J = 1, or −1 if unlike neighbours attract. For
        more species: random mixing, and an energy of each unlike nearest pair.
    independent
        Whether the neighbourhoods are independent draws instead of neighbours on one lattice, so
        that they share no atoms.

    Returns
    -------
    Guess
        Its ``table`` is sorted by BIC, the preferred model first.

    Raises
    ------
    RequestError
        If an image has no counts, all atoms are of one species, or no model can be estimated.

    Notes
    -----
    S² of a model is the distance of the counts to those that it expects around neighbours as
    counted. The BIC is half of D/λ + k ln N as in ``compare``: D is −2 ln of the pseudo-likelihood
    above that of the observed shares, λ the largest mean ratio of a model's variances to those of
    independent neighbourhoods, and k includes the composition of every image. For one image the
    Ising model and the pair alloy are the same conditional model, so nothing decides between them.

    References
    ----------
    Besag, The Statistician 24, 179 (1975), 10.2307/2987782. Varin, Reid and Firth, Stat. Sinica 21,
    5 (2011), for λ.

    Examples
    --------
    >>> from latticescape import configurations
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> classes = configurations("square")
    >>> counts = np.rint(classes.random_mixing(0.5) * 3200).astype(int)
    >>> found = guess(counts_dataset({"one": counts}, classes))
    >>> found.best, {name: (round(low, 2), round(high, 2)) for name, (low, high) in
    ...     found.ranges("pair_alloy").items()}
    ('pair_alloy', {'w1': (-0.13, 0.13)})
    """
    check_counts(observed)
    classes = classes_of(observed)
    counts = observed["counts"].transpose("image", "configuration").values
    if np.unique(classes.centre[counts.sum(axis=0) > 0]).size < 2:
        raise RequestError(
            "all atoms are of one species, so nothing is known about interactions",
            came=listed(observed["image"].values),
            allowed="images of two species or more",
        )
    if models is not None:
        candidates = {name: Candidate(model, tuple(own)) for name, (model, own) in models.items()}
    else:
        candidates = _candidates(classes)
    estimates: dict[str, Estimate] = {}
    notes = []
    for name, candidate in candidates.items():
        try:
            estimates[name] = estimate(candidate, classes, counts, independent=independent)
        except RequestError as error:
            if models is not None:
                raise error.within(name) from None
            notes.append(f"{name} is left out: {error.problem}")
    if models is None and ISING in candidates and ISING not in estimates:
        # J = −1 has the same maximum at the opposite temperature.
        turned = Candidate(Ising(J=-1.0), ("T", "H"))
        with suppress(RequestError):
            estimates[ISING] = estimate(turned, classes, counts, independent=independent)
            candidates[ISING] = turned
            notes.pop()
    models_left = {name: candidates[name] for name in estimates}
    table = _table(observed, estimates)
    return Guess(table, models_left, (*notes, *_warnings(estimates)))


def _candidates(classes: Classes) -> dict[str, Candidate]:
    """The models that counts of these classes may tell, the simplest first."""
    names = ("0", "1") if isinstance(classes, Configurations) else classes.species[0]
    shells = (1,) if isinstance(classes, Configurations) else classes.shells
    if not isinstance(classes, Configurations) and len(set(classes.species)) > 1:
        raise RequestError(
            "sublattices with species of their own have no standard models",
            came="; ".join("/".join(own) for own in dict.fromkeys(classes.species)),
            allowed="a model of your own",
            hint="guess COUNTS --spec spec.toml, or guess(observed, {'mine': (model, ['w1'])})",
        )
    pairs = {
        f"w_{a}_{b}": Term(
            pair=1,
            value={f"{c},{d}": int({c, d} == {a, b}) for c in names for d in names},
        )
        for k, a in enumerate(names)
        for b in names[k + 1 :]
    }
    mixed = Candidate(ClusterExpansion(names, pairs))
    if len(names) > 2:
        return {RANDOM: mixed, "pairs": Candidate(mixed.model, tuple(pairs))}
    found = {RANDOM: mixed, "pair_alloy": Candidate(PairAlloy(), ("w1",))}
    if 2 in shells:
        found["pair_alloy_w2"] = Candidate(PairAlloy(), ("w1", "w2"))
    if classes.kind == "triangular":
        found["three_body_alloy"] = Candidate(ThreeBodyAlloy(), ("w1", "w2"))
    return found | {ISING: Candidate(Ising(J=1.0), ("T", "H"))}


def _table(observed: xr.Dataset, estimates: Mapping[str, Estimate]) -> xr.Dataset:
    n = observed["n"].values.astype(float)
    every = list(estimates.values())
    inflation = max(one.inflation for one in every)
    bic = np.array([one.deviance / inflation + one.number * np.log(n.sum()) for one in every]) / 2
    s2 = np.array([one.s2 for one in every])
    table = xr.Dataset(
        {
            "s2": (("model", "image"), s2, {"long_name": "S²", "units": "1"}),
            "s2_total": ("model", s2 @ n / n.sum(), {"long_name": "S² of all images"}),
            "parameters": (
                "model",
                [len(one.names) for one in every],
                {"long_name": "fitted parameters"},
            ),
            "bic": ("model", bic),
            "delta_bic": ("model", bic - bic.min(), {"long_name": "BIC above the lowest"}),
            "weight": ("model", model_weights(bic, "lecture")),
            "p_value_total": ("model", np.full(len(every), np.nan)),
            "n": observed["n"],
        },
        {"model": list(estimates), "image": observed["image"].values},
        {"bic_convention": "lecture", "variance_ratio": inflation},
    )
    names = list(dict.fromkeys(name for one in every for name in one.names))
    columns = np.full((4, len(every), len(names)), np.nan)
    for row, one in enumerate(every):
        ends = _ranges(one)
        for k, name in enumerate(one.names):
            columns[:, row, names.index(name)] = one.values[k], one.errors[k], *ends[name]
    keys = zip(("best", "best_se", "low", "high"), columns, strict=True)
    table = table.assign_coords(parameter=names).assign(
        {key: (("model", "parameter"), values) for key, values in keys}
    )
    # Models that differ by rounding, or by the weak prior, keep their order.
    order = np.argsort(bic.round(2), kind="stable")
    table = table.isel(model=order)
    return table.assign_attrs(verdict=verdict(table)).drop_vars("p_value_total")


def _ranges(one: Estimate) -> dict[str, tuple[float, float]]:
    """The range of each parameter that holds it with several standard errors on both sides."""
    ends = {}
    for name, value, error in zip(one.names, one.values, one.errors, strict=True):
        low, high = value - ERRORS * error, value + ERRORS * error
        if name == "T":
            # 1/T is nearly Gaussian; where it may be zero, T has no upper bound.
            beta, spread = one.reduced[0], ERRORS * np.sqrt(one.reduced_covariance[0, 0])
            least = max(beta - spread, min((beta + spread) / 20, beta / 2))
            low, high = 1 / (beta + spread), 1 / least
        digits = 1 - int(np.floor(np.log10(high - low)))
        scale = 10.0**digits
        rounded = np.floor(low * scale) / scale, np.ceil(high * scale) / scale
        # A positive end stays positive.
        first = rounded[0] if rounded[0] > 0 or low <= 0 else low
        ends[name] = (round(float(first), digits + 2), round(float(rounded[1]), digits + 2))
    return ends


def _warnings(estimates: Mapping[str, Estimate]) -> list[str]:
    notes = []
    for model, one in estimates.items():
        wide = np.sqrt(np.diag(one.reduced_covariance)) > UNBOUNDED
        energies = [name for name in one.names if name != "T"]
        reduced = ["1/T", *energies] if "T" in one.names else energies
        if names := [name for name, is_wide in zip(reduced, wide, strict=True) if is_wide]:
            notes.append(f"{model}: too few counts to bound {listed(names)}")
        if "T" in one.names and one.reduced[0] < 2 * np.sqrt(one.reduced_covariance[0, 0]):
            notes.append(f"{model}: no interaction is within two errors, so T has no upper bound")
    return notes
