"""``reweight``: what a sweep would have given at other points, from its stored samples."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from threadpoolctl import threadpool_limits

from latticescape.analysis.inference.reweighting.references import (
    COMPOSITION,
    References,
    Simulated,
)
from latticescape.analysis.inference.reweighting.solver import Solver, nothing
from latticescape.analysis.inference.reweighting.trust import FEWEST, checked
from latticescape.physics.errors import RequestError
from latticescape.physics.variables import variable

Floats = npt.NDArray[np.float64]
Axes = Mapping[str, npt.ArrayLike]

# Dimensions after the axes.
OWN = {"histogram_replica": ("replica", "configuration"), "features": ("feature",)}

# Compositions that differ by less are the same.
SAME = 1e-9

TOLD = {
    "effective_n": "effective number of measurements (Kish)",
    "effective_replicas": "effective number of replicas (Kish)",
    "distance": "standard deviations to the nearest reference",
    "beyond": "the point is not among the references",
    "trusted": "the references reach the point",
}


def reweight(ds: xr.Dataset, axes: Axes, *, fewest: float = FEWEST) -> xr.Dataset:
    """What a sweep would have given at other points, from the samples it kept.

    All points of the sweep are references at once (MBAR); a sweep of one point is Ferrenberg and
    Swendsen's single histogram. Along the composition ``x`` of an alloy nothing can be reweighted:
    every x has references of its own.

    Parameters
    ----------
    ds
        A sweep's Dataset with ``keep = ["samples"]``. Points that are not done are left out.
    axes
        The new points: values of parameters of the model, (values,) each, in all combinations.
        Every axis of the sweep must be among them, but for ``x``, which may be left out.
    fewest
        A point with fewer effective measurements is not trusted.

    Returns
    -------
    Dataset
        Over ``x``, if the sweep has it, and ``axes``. ``histogram_replica`` (…, replica,
        configuration): effective counts, as :func:`latticescape.landscape` takes them; a replica's
        row is what its being left out takes from the sum, and so may be negative. Observables as a
        sweep has them, ``features`` (…, feature), each with ``…_se``, by jackknife over the 64
        replicas, errors of the free energies included. ``effective_n`` and ``effective_replicas``;
        ``distance``, standard deviations of the reduced energy difference to the nearest reference;
        ``beyond``, whether the point is not among the references; and ``trusted``, which says that
        at least ``fewest`` measurements and 16 replicas are effective, that ``distance`` is at most
        3, or 1.5 beyond the references, and that these share enough samples. Where it is False,
        numbers mean nothing. No test of samples can see a phase that none of them has visited: have
        references on all sides.

    Raises
    ------
    RequestError
        If the sweep kept no samples, a parameter is missing, unknown or out of bounds, acts on a
        feature that was not measured, or is a composition that was not simulated.

    References
    ----------
    Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008), 10.1063/1.2978177; Ferrenberg and
    Swendsen, Phys. Rev. Lett. 61, 2635 (1988), 10.1103/PhysRevLett.61.2635.

    Examples
    --------
    >>> reweight(xr.Dataset(attrs={"spec": ""}), {"T": [2.1]})
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the Dataset holds no samples to reweight ...
    """
    return Reweighting(ds, fewest).at(axes)


class Reweighting:
    """A sweep's samples, to be reweighted again and again.

    Parameters
    ----------
    ds, fewest
        As of :func:`reweight`.
    observables
        Whether observables and features are wanted besides histograms.
    """

    def __init__(self, ds: xr.Dataset, fewest: float = FEWEST, *, observables: bool = True) -> None:
        self.simulated = Simulated(ds)
        self.fewest, self.observables = checked(fewest), observables
        self._solvers: dict[tuple[float, ...], Solver | None] = {}

    def at(self, axes: Axes) -> xr.Dataset:
        """Reweighted to these points."""
        values = {str(name): _values(str(name), given) for name, given in axes.items()}
        places = self._compositions(values)
        missing = [n for n in self.simulated.axes if n not in (*values, *places)]
        if missing or not values:
            raise RequestError(
                "an axis of the sweep has no new values",
                came=", ".join(values) or None,
                allowed=", ".join(self.simulated.axes),
                hint=f'axes={{"{(missing or ["T"])[0]}": […], …}}',
            )
        # Products of small matrices: threads of the linear algebra would wait for each other.
        with threadpool_limits(1, user_api="blas"):
            parts = [
                self._part(dict(zip(places, place, strict=True)), values)
                for place in product(*places.values())
            ]
        return xr.concat(parts, dim=COMPOSITION) if places else parts[0]

    def _compositions(self, values: dict[str, Floats]) -> dict[str, Floats]:
        """The composition's values, taken from the new ones, and only those that were simulated."""
        if self.simulated.model.move != "exchange":
            return {}
        axis = COMPOSITION in self.simulated.axes
        there = (
            self.simulated.ds[COMPOSITION].values
            if axis
            else np.array([self.simulated.model.fixed_parameters[COMPOSITION]])
        )
        asked = values.pop(COMPOSITION, there)
        separation = np.abs(there - asked[:, None])
        if separation.min(axis=1).max() > SAME:
            raise RequestError(
                "samples of one composition cannot be reweighted to another",
                came=", ".join(f"x = {x:g}" for x in asked),
                allowed=", ".join(f"x = {x:g}" for x in there),
                hint="leave x out",
            )
        return {COMPOSITION: there[separation.argmin(axis=1)]} if axis else {}

    def _part(self, place: dict[str, float], values: dict[str, Floats]) -> xr.Dataset:
        """At one composition."""
        grids = np.meshgrid(*values.values(), indexing="ij")
        points = {name: grid.ravel() for name, grid in zip(values, grids, strict=True)}
        fixed = {name: np.full(grids[0].size, value) for name, value in place.items()}
        reduced, temperatures = self.simulated.reduced({**points, **fixed})
        solver, classes = self._references(place), self.simulated.ds.sizes["configuration"]
        found = (
            nothing(reduced, classes, observables=self.observables)
            if solver is None
            else solver.arrays(reduced, temperatures)
        )
        variables = {
            name: (
                (*values, *OWN.get(name.removesuffix("_se"), ())),
                array.reshape(*grids[0].shape, *array.shape[1:]),
                self._attrs(name),
            )
            for name, array in found.items()
        }
        kept = {"configuration", "feature", "replica"}
        coords = self.simulated.ds.coords.items()
        kept_coords = {name: c for name, c in coords if c.dims and set(c.dims) <= kept}
        made = xr.Dataset(variables, {**kept_coords, **values, **place})
        return made.assign_attrs(self.simulated.kept_attrs).assign(
            self.simulated.composition(place)
        )

    def _references(self, place: dict[str, float]) -> Solver | None:
        key = tuple(place.values())
        if key not in self._solvers:
            references = References.of(self.simulated, place)
            kind = self.simulated.lattice.kind
            self._solvers[key] = (
                None
                if references is None
                else Solver(references, kind, self.fewest, observables=self.observables)
            )
        return self._solvers[key]

    def _attrs(self, name: str) -> dict[str, Any]:
        if name in TOLD:
            return {"long_name": TOLD[name], "units": "1"}
        base = name.removesuffix("_se")
        found = variable(base).in_units(self.simulated.model.energy_units)
        return (found if base == name else found.error).attrs


def _values(name: str, given: npt.ArrayLike) -> Floats:
    """The new values of a parameter."""
    try:
        values = np.atleast_1d(np.asarray(given, float))
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise RequestError(
            f"the values of {name} are no list of numbers",
            came=repr(given),
            allowed="one or more finite numbers",
            hint=f"{name}=np.linspace(0.1, 0.2, 11)",
        )
    return values
