"""Reweight the samples of one ensemble to any number of points."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.analysis.inference.reweighting.mixture import Mixture, Weighed, Weigher
from latticescape.analysis.inference.reweighting.references import References
from latticescape.analysis.inference.reweighting.trust import Reach
from latticescape.physics.kernels.observables import estimates
from latticescape.physics.lattices.configurations import configurations
from latticescape.physics.models.model import REPLICAS

Floats = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]

OBSERVABLES = (
    "energy",
    "magnetization",
    "magnetization_abs",
    "susceptibility",
    "susceptibility_abs",
    "heat_capacity",
    "binder_cumulant",
)


class Solver:
    """References with their free energies and the columns that are weighted.

    Parameters
    ----------
    references
        The samples.
    kind
        Of the lattice.
    fewest
        Fewest effective samples.
    observables
        Whether observables are wanted besides histograms.
    """

    def __init__(
        self, references: References, kind: str, fewest: float, *, observables: bool
    ) -> None:
        self.references, self.observables = references, observables
        self.classes = references.histogram.shape[-1]
        self.sites = int(references.histogram[0, 0, 0].sum())
        mixture = Mixture.of(references)
        self.reach = Reach(mixture, fewest)
        parts = [references.histogram.astype(float)]
        if observables:
            parts += _moment_columns(references, kind, self.sites)
        columns = np.concatenate(parts, axis=-1)
        self.weigher = Weigher(mixture, columns.reshape(REPLICAS, -1, columns.shape[-1]))

    def arrays(self, reduced: Floats, temperatures: Floats) -> Arrays:
        """Every variable at points, points first."""
        found: Arrays = {}
        for part, weighed in self.weigher.weigh(reduced):
            some = self._counts(weighed) | self.reach.quality(reduced[part], weighed)
            if self.observables:
                some |= self._observed(weighed.sums, reduced[part], temperatures[part])
            for name, values in some.items():
                if name not in found:
                    found[name] = np.empty((len(reduced), *values.shape[1:]), values.dtype)
                found[name][part] = values
        return found

    def _counts(self, weighed: Weighed) -> Arrays:
        counts = weighed.sums[..., : self.classes]
        scale = self.sites * weighed.effective_n / counts.sum(axis=(1, 2))
        return {"histogram_replica": counts * scale[:, None, None]}

    def _observed(self, sums: Floats, reduced: Floats, temperatures: Floats) -> Arrays:
        """Observables and mean features with their jackknife errors."""
        total = sums.sum(axis=1, keepdims=True)
        left_out = self._estimates(total - sums, reduced, temperatures)
        whole = self._estimates(total, reduced, temperatures)
        number = sums.shape[1]
        values = {name: v[:, 0] for name, v in whole.items()}
        errors = {
            f"{name}_se": np.sqrt((number - 1) * v.var(axis=1)) for name, v in left_out.items()
        }
        return {**values, **errors}

    def _estimates(self, sums: Floats, reduced: Floats, temperatures: Floats) -> Arrays:
        """From weighed sums, (points, jackknife, columns)."""
        means = sums / (sums[..., : self.classes].sum(axis=-1, keepdims=True) / self.sites)
        magnetic, rest = np.split(means[..., self.classes :], [4], axis=-1)
        width = reduced.shape[1]
        features, products = rest[..., :width], rest[..., width:]
        couplings = (reduced * temperatures[:, None])[:, None, :]
        energy = np.sum(couplings * (features + self.references.origin), axis=-1) / self.sites
        squares = products.reshape(*products.shape[:-1], width, width)
        squares = squares - features[..., :, None] * features[..., None, :]
        spread = np.einsum("pja,pjab,pjb->pj", couplings, squares, couplings) / self.sites**2
        each = [*np.moveaxis(magnetic, -1, 0), energy, spread + energy**2]
        found = estimates(np.stack(each, axis=-1), self.sites, temperatures[:, None])  # type: ignore[arg-type]
        return {**found, "features": features + self.references.origin}


def nothing(reduced: Floats, classes: int, *, observables: bool) -> Arrays:
    """Where no reference is done."""
    points, features = reduced.shape
    unknown = np.full(points, np.nan)
    found: Arrays = {"histogram_replica": np.zeros((points, REPLICAS, classes))}
    found |= dict.fromkeys(("effective_n", "effective_replicas"), unknown)
    found |= {"distance": np.full(points, np.inf), "beyond": np.ones(points, np.bool_)}
    found["trusted"] = np.zeros(points, np.bool_)
    if observables:
        wide = np.full((points, features), np.nan)
        values = dict.fromkeys(OBSERVABLES, unknown) | {"features": wide}
        found |= values | {f"{name}_se": v for name, v in values.items()}
    return found


def _moment_columns(references: References, kind: str, sites: int) -> list[Floats]:
    """Of every sample: m, |m|, m², m⁴ per site; features; and their products."""
    centre: Mapping[str, Any] = configurations(kind).descriptors
    ones = references.histogram @ np.asarray(centre["centre"][0], np.int64)
    m = 2 * ones / sites - 1
    features = references.features
    products = features[..., :, None] * features[..., None, :]
    return [
        np.stack([m, np.abs(m), m**2, m**4], axis=-1),
        features,
        products.reshape(*features.shape[:-1], -1),
    ]
