"""The reference points of a sweep that kept its samples, as reweighting reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import listed
from latticescape.analysis.counts.classes import Classes, classes_of
from latticescape.analysis.inference.likelihood.ensemble import Ensemble
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import Configurations
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.alloys import COMPOSITION
from latticescape.physics.models.model import Model
from latticescape.physics.registry import MODELS

Floats = npt.NDArray[np.float64]

# The feature that changes its sign with all spins.
MAGNETIZATION = "magnetization"

MOST_BYTES = 2**32


@dataclass(frozen=True)
class Simulated(Ensemble):
    """The lattice, model and axes that a sweep's Dataset was simulated with.

    Parameters
    ----------
    ds
        With ``sample_features`` and ``sample_histogram``, and the attribute ``spec``.

    Raises
    ------
    RequestError
        If the sweep kept no samples, or they do not fit the memory.
    """

    def __post_init__(self) -> None:
        missing = {"sample_features", "sample_histogram"} - set(map(str, self.ds.data_vars))
        if missing or "spec" not in self.ds.attrs:
            came, hint = listed(self.ds.data_vars), 'keep = ["samples"] in [sweep]'
            allowed = "a sweep of a lattice model that kept them"
            problem = "the Dataset holds no samples to reweight"
            raise RequestError(problem, came=came, allowed=allowed, hint=hint)
        size = 2 * self.ds["sample_histogram"].nbytes
        if size > MOST_BYTES:
            came, allowed = f"{size / 2**30:.0f} GiB", f"up to {MOST_BYTES // 2**30} GiB"
            hint = "ds.isel(sample=slice(None, None, 10)), or fewer points"
            problem = "the samples are too many to reweight at once"
            raise RequestError(problem, came=came, allowed=allowed, hint=hint)

    @cached_property
    def model(self) -> Model:
        """The model, with the parameters that the sweep fixed, or ``ds.sel``."""
        if not issubclass(self.kind, Model):
            allowed = " | ".join(k for k, m in MODELS.items() if issubclass(m, Model))
            problem = "only lattice models can be reweighted"
            raise RequestError(problem, came=self.kind.kind, allowed=allowed)
        model = super().model
        assert isinstance(model, Model)
        return model

    @cached_property
    def lattice(self) -> Lattice:
        """The lattice."""
        lattice = super().lattice
        if lattice.boundary:
            raise RequestError(
                "only samples of periodic lattices can be reweighted",
                came=f"boundary = {list(lattice.boundary)}",
                allowed="periodic",
                hint="boundary left out of [lattice]",
            )
        return lattice

    @cached_property
    def classes(self) -> Classes:
        """The classes that were counted."""
        return classes_of(self.ds)

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """The dimensions of the sweep that the Dataset still has, in order."""
        own = {"replica", "sample", "feature"}
        return tuple(str(d) for d in self.ds["sample_features"].dims if d not in own)

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The parameters along these dimensions."""
        coords = {str(name): c.dims for name, c in self.ds.coords.items()}
        along = (
            [d] if d in coords else [n for n in coords if coords[n] == (d,)] for d in self.dims
        )
        return tuple(name for names in along for name in names)

    @property
    def conserved(self) -> tuple[str, ...]:
        """Axes along which samples are of different ensembles: the composition of an alloy."""
        alloy = self.model.move == "exchange"
        return tuple(name for name in self.axes if alloy and name == COMPOSITION)

    @property
    def kept_attrs(self) -> dict[str, Any]:
        """The sweep's attributes that also hold for reweighted Datasets."""
        names = ("lattice", "classes", "model", "spec", "digest")
        return {name: self.ds.attrs[name] for name in names if name in self.ds.attrs}

    def composition(self, place: Mapping[str, object]) -> dict[str, xr.DataArray]:
        """The realised composition, if the sweep has one and a point is done."""
        if "composition" not in self.ds:
            return {}
        x = self.ds["composition"].sel(dict(place)).values
        return {"composition": xr.DataArray(np.nanmax(x))} if np.isfinite(x).any() else {}


@dataclass(frozen=True, eq=False)
class References:
    """Samples of one ensemble at its reference points.

    Attributes
    ----------
    reduced
        Couplings over temperature, (references, features): −ln weight = reduced · features.
    features
        (64, references, samples, features) float64, as differences from ``origin``.
    origin
        (features,).
    histogram
        (64, references, samples, classes) int32.
    images
        2 if the second half of the references is the first with all spins turned over, whose
        samples and free energies are known by symmetry; else 1.
    """

    reduced: Floats
    features: Floats
    origin: Floats
    histogram: npt.NDArray[np.int32]
    images: int = 1

    @classmethod
    def of(cls, simulated: Simulated, place: Mapping[str, object]) -> "References | None":
        """The references that are done, at a place along the conserved axes; None without any."""
        there = simulated.ds.sel(dict(place))
        dims = [name for name in simulated.dims if name not in place]
        there = there.stack(reference=dims) if dims else there.expand_dims("reference")
        if "done" in there:
            there = there.isel(reference=np.flatnonzero(np.atleast_1d(there["done"].values)))
        if not there.sizes["reference"]:
            return None
        order = ("replica", "reference", "sample", ...)
        number = there.sizes["reference"]
        points = {
            name: np.broadcast_to(there[name].values, number)
            for name in (*simulated.axes, *place)
            if name in there.coords
        }
        reduced = simulated.reduced(points)[0]
        features = there["sample_features"].transpose(*order).values.astype(float)
        histogram = there["sample_histogram"].transpose(*order).values
        odd = simulated.ds["feature"].values == MAGNETIZATION
        if odd.any():
            sign = np.where(odd, -1.0, 1.0)
            reduced = np.concatenate([reduced, reduced * sign])
            features = np.concatenate([features, features * sign], axis=1)
            turned = histogram[..., turned_classes(simulated.classes)]
            histogram = np.concatenate([histogram, turned], axis=1)
        origin = features.mean(axis=(0, 1, 2))
        return cls(reduced, features - origin, origin, histogram, images=1 + bool(odd.any()))

    @cached_property
    def moments(self) -> tuple[Floats, Floats]:
        """Mean features of every reference, and their covariance: (references, features) and
        (references, features, features)."""
        mean = self.features.mean(axis=(0, 2))
        each = self.features - mean[:, None]
        number = each.shape[0] * each.shape[2]
        return mean, np.einsum("rksa,rksb->kab", each, each, optimize=True) / number


def turned_classes(classes: Classes) -> npt.NDArray[np.intp]:
    """The configuration class that each one becomes if all its spins are turned over, (classes,).

    Examples
    --------
    >>> turned_classes(classes_of({"lattice": "honeycomb"})).tolist()
    [7, 6, 5, 4, 3, 2, 1, 0]
    """
    if not isinstance(classes, Configurations):
        return classes.turned()
    table = classes.table
    turned = np.empty(len(classes), np.intp)
    turned[table] = table[::-1]
    return turned
