"""Sequential analysis: add images one by one until the wanted precision is reached."""

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
        Kind of the images' lattice.
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
                "a landscape belongs to its own images and cannot take another",
                came=", ".join(landscapes),
                allowed="sweeps' Datasets, or 'random'",
            )

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
            classes = configurations(self.lattice)
            counts = np.asarray(image)
            if counts.shape != (len(classes),) or np.any(counts < 0):
                raise RequestError(
                    "the counts are not those of one image",
                    came=f"an array of shape {counts.shape}",
                    allowed=f"{len(classes)} counts, the classes of the {self.lattice} lattice",
                )
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
