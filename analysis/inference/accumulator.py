"""The running version: images one by one, and when there are enough of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.counts.counting import counts_dataset
from latticescape.analysis.inference.comparison.evidence import bayes_factors
from latticescape.analysis.inference.comparison.models import (
    Model,
    argmin_s2,
    landscape_of,
    reweighed,
)
from latticescape.analysis.inference.estimation.fit import Fit
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import configurations

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Progress:
    """What is known after an image.

    Attributes
    ----------
    images, n
        Images, and neighbourhoods in them.
    fits
        Best parameters of every model.
    ln_bayes_factor
        Of every model against the best of the others.
    decision
        The model decided for, or None yet.
    precise
        Whether all errors asked for are reached, by the model that is best so far.
    """

    images: int
    n: int
    fits: Mapping[str, Fit]
    ln_bayes_factor: Mapping[str, float]
    decision: str | None
    precise: bool


@dataclass
class Accumulator:
    """Takes images one by one; says when the errors or the decision asked for are reached.

    The decision is Wald's sequential test (Ann. Math. Statist. 16, 117 (1945)) on Bayes factors:
    for a model as soon as its evidence is ``1/error`` times that of every other. Looking after
    every image costs nothing: if a model is true, with its parameters from its prior, then another
    is ever decided for with probability ``error`` at most (Ville's inequality), as far as
    exp(−2 N S²) is the likelihood. Overlapping neighbourhoods need their effective fraction here
    more than anywhere.

    Parameters
    ----------
    models
        Sweeps' Datasets, or ``"random"``, by name; the prior is uniform over a sweep's grid.
    lattice
        Kind of the images' lattice.
    errors
        Standard errors wanted, by parameter.
    error
        Chance of a wrong decision, above 0 and below ½.
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
    lattice: str
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
                raise RequestError(
                    f"{name} is out of bounds", came=value, allowed=f"above 0, up to {most:g}"
                )
        landscapes = [name for name, model in self.models.items() if "s2_total" in model]
        if landscapes:
            raise RequestError(
                "a landscape is of its own images, and takes no other",
                came=", ".join(landscapes),
                allowed="sweeps' Datasets, or 'random'",
            )

    def add(self, image: npt.ArrayLike | xr.Dataset) -> Progress:
        """Take one image.

        Parameters
        ----------
        image
            (classes,) counts, or a Dataset of counts (``observed_counts``) with one image or more.

        Raises
        ------
        RequestError
            If it has no counts, not the lattice's classes, or a composition no sweep holds; nothing
            is taken then.
        """
        observed = self._counted(image)
        numbers = observed.get("effective_n", observed["n"] * self.fraction)
        new = {name: landscape_of(name, m, observed) for name, m in self.models.items()}
        self._landscapes = {
            name: _joined(self._landscapes.get(name), landscape, numbers.to_numpy().astype(float))
            for name, landscape in new.items()
        }
        self.history.append(self._progress())
        return self.history[-1]

    @property
    def finished(self) -> bool:
        """Whether everything asked for is reached."""
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

    def _counted(self, image: npt.ArrayLike | xr.Dataset) -> xr.Dataset:
        if isinstance(image, xr.Dataset):
            return image
        classes = configurations(self.lattice)
        counts = np.asarray(image)
        if counts.shape != (len(classes),) or np.any(counts < 0):
            raise RequestError(
                "these are no counts of one image",
                came=f"an array of shape {counts.shape}",
                allowed=f"{len(classes)} counts, the classes of the {self.lattice} lattice",
            )
        number = self.history[-1].images + 1 if self.history else 1
        return counts_dataset({f"image {number}": counts}, classes)

    def _progress(self) -> Progress:
        fits = {name: argmin_s2(landscape) for name, landscape in self._landscapes.items()}
        found = bayes_factors(self._landscapes)
        evidence = dict(zip(self._landscapes, found["ln_evidence"].values.tolist(), strict=True))
        factors = {name: _ahead(name, evidence) for name in evidence}
        leader = max(factors, key=lambda name: factors[name])
        sure = len(factors) > 1 and factors[leader] >= -np.log(self.error)
        earlier = self.history[-1].decision if self.history else None
        first = next(iter(self._landscapes.values()))
        return Progress(
            images=first.sizes["image"],
            n=int(first["counted"].sum()),
            fits=fits,
            ln_bayes_factor=factors,
            decision=earlier or (leader if sure else None),
            precise=self._precise(fits[earlier or leader]),
        )

    def _precise(self, fit: Fit) -> bool:
        unknown = (0.0, float("inf"))
        known = {name: fit.parameters.get(name, unknown)[1] for name in self.errors}
        return all(known[name] <= wanted for name, wanted in self.errors.items())


def _ahead(name: str, evidence: Mapping[str, float]) -> float:
    others = [value for other, value in evidence.items() if other != name]
    return evidence[name] - max(others) if others else float("inf")


def _joined(old: xr.Dataset | None, new: xr.Dataset, numbers: Floats) -> xr.Dataset:
    """The landscape of all images so far."""
    by_image = [name for name, values in new.data_vars.items() if "image" in values.dims]
    counted = ("image", new["n"].to_numpy())
    part: xr.Dataset = new[by_image].assign(n=("image", numbers), counted=counted)
    every = part if old is None else xr.concat([old[list(part.data_vars)], part], "image")
    return reweighed(every, every["n"])
