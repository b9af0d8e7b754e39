"""The model and lattice of a sweep's Dataset, and the couplings over temperature of its points."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.checks import listed
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.kernel import Schedule, complete
from latticescape.physics.kernels.lattice_kernel import LatticeModel, features_on, parameters_used
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.models.cluster_expansion import ClusterExpansion
from latticescape.physics.models.model import Model
from latticescape.physics.registry import MODELS, lattice_of

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ensemble:
    """The lattice and model that a sweep's Dataset was simulated with.

    Parameters
    ----------
    ds
        With the attribute ``spec``.
    """

    ds: xr.Dataset

    @cached_property
    def _spec(self) -> Mapping[str, Mapping[str, object]]:
        return tomllib.loads(str(self.ds.attrs["spec"]))

    @property
    def kind(self) -> type[Any]:
        """The class of the model."""
        return MODELS[str(self._spec["model"]["kind"])]

    @cached_property
    def model(self) -> LatticeModel:
        """The model, with the parameters that the sweep fixed, or ``ds.sel``.

        Raises
        ------
        RequestError
            If the sweep is not of a lattice model.
        """
        kind = self.kind
        if not issubclass(kind, Model | ClusterExpansion):
            problem = "the samples are not of a lattice model"
            raise RequestError(problem, came=kind.kind, allowed="models of spins or species")
        table = {n: v for n, v in self._spec["model"].items() if n != "kind"}
        model = kind.of_table(table)
        chosen = {str(name): c.item() for name, c in self.ds.coords.items() if not c.dims}
        names = {parameter.name for parameter in model.parameters}
        chosen = {name: v for name, v in chosen.items() if name in names}
        return model.with_parameters(**chosen) if chosen else model

    @property
    def samples(self) -> xr.DataArray:
        """Number of samples of each point; one number if all have the same."""
        if "samples" in self.ds:
            return self.ds["samples"]
        return xr.DataArray(int(str(self._spec["schedule"]["samples"])))

    def schedule(self, *, samples: int, stride_mcs: int) -> Schedule:
        """The sweep's schedule with other measurements, without tempering."""
        table: dict[str, Any] = dict(self._spec["schedule"])
        table |= {"samples": samples, "stride_mcs": stride_mcs, "until": None, "tempering_mcs": 0}
        return Schedule(**table)

    @cached_property
    def lattice(self) -> Lattice:
        """The lattice."""
        return lattice_of(self._spec["lattice"])

    def reduced(self, points: Mapping[str, npt.ArrayLike]) -> tuple[Floats, Floats]:
        """Couplings over temperature, (points, features), and temperatures, (points,).

        Raises
        ------
        RequestError
            If a parameter is missing, unknown or out of bounds, or acts on a feature that was not
            measured.
        """
        values_of = {name: np.atleast_1d(np.asarray(v, float)) for name, v in points.items()}
        freed: dict[str, Any] = dict.fromkeys(values_of.keys() & self.model.fixed_parameters.keys())
        model = self.model.with_parameters(**freed) if freed else self.model
        number = len(next(iter(values_of.values())))
        features = [str(name) for name in self.ds["feature"].values]
        acting = [name for name, values in values_of.items() if np.any(values)]
        used = parameters_used(model, dict.fromkeys(acting))
        asked = features_on(model, self.lattice, used)
        if not set(asked) <= set(features):
            problem = f"the feature {min(set(asked) - set(features))} was not measured"
            allowed = f"parameters that act on {listed(features)}"
            hint = "a sweep in which the parameter is an axis or has a value"
            raise RequestError(problem, came=listed(acting), allowed=allowed, hint=hint)
        full = complete(model, values_of, number)
        return model.coefficients(full, features) / full["T"][:, None], full["T"]
