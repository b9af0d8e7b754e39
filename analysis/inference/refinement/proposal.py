"""Adaptive refinement: propose new points that reduce the error of a landscape's minimum.

The error of a fitted parameter has two parts. ``data_errors`` follow from the counts of the images;
only more counts reduce them. ``errors``, the numerical errors, follow from the noise and spacing of
the simulated points; more points reduce them, and a target refers to them.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.estimation.deviance import Deviance, Overlap, deviance
from latticescape.analysis.inference.estimation.fit import (
    Fit,
    Minimum,
    find_minimum,
    fit,
    interpolated,
)
from latticescape.analysis.inference.landscapes.designs import ScatteredDesign
from latticescape.analysis.inference.refinement.candidates import (
    Candidates,
    Forecast,
    Values,
    expected_improvement,
)
from latticescape.physics.errors import RequestError, checked_integer

Floats = npt.NDArray[np.float64]

Status = Literal["reached", "sharpen", "search", "extend", "flat", "exhausted"]

# A round adds at most this share of the known points, but at least one value: the next landscape
# shows better where points are needed.
GROWTH = 0.5

# The forecast error must be below the target by this factor: the next landscape will differ.
AIM = 0.9

# A point is simulated if its expected improvement on the lowest known −2 ln L exceeds this.
IMPROVEMENT = 1.0

# A target below this share of the data's own error is smaller than necessary.
SMALL_SHARE = 0.1


@dataclass(frozen=True)
class Proposal:
    """New points to simulate, and the present estimate.

    Attributes
    ----------
    status
        ``reached``: the target is met; ``sharpen``: more points around the minimum; ``search``:
        its position is still unknown; ``extend``: it may lie outside the grid; ``flat``: the images
        do not determine it, and no simulation helps; ``exhausted``: the budget is too small.
    axes
        New values by parameter; none unless ``sharpen``, ``search`` or ``extend``. On a grid they
        are values of its axes; of scattered points, the k-th of each make the new point k.
    points
        The number of new points of the landscape.
    estimate
        The best parameters.
    errors
        Numerical standard error of each: by Monte Carlo noise and interpolation, infinite where it
        is not known.
    data_errors
        Standard error of each that follows from the counts, however much is simulated.
    expected
        Numerical errors forecast with the new points.
    notes
        Warnings about the proposal, in sentences.
    scattered
        Whether points are proposed, and not values of axes.
    """

    status: Status
    axes: Values
    points: int
    estimate: Mapping[str, float]
    errors: Mapping[str, float]
    data_errors: Mapping[str, float]
    expected: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scattered: bool = False

    @property
    def ends(self) -> bool:
        """Whether there is nothing to simulate."""
        return not self.axes


def propose(
    landscape: xr.Dataset,
    target_error: Mapping[str, float],
    *,
    budget: int | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    overlap: Overlap | None = None,
) -> Proposal:
    """Propose new values of a landscape's axes that reduce the error of its minimum to a target.

    The error is the *numerical* one, of the minimum's place, due to Monte Carlo noise and to the
    interpolation between points. It is not the parameter's standard error due to the number of
    counts (``data_errors``), and does not reduce that.

    An axis is extended if the minimum lies at its border. Gaps of the grid are halved where the
    Gaussian process through the landscape expects a lower minimum (expected improvement), or around
    the minimum while its shape is unknown. Otherwise values are added one by one, each with the
    largest decrease of the forecast variance of the minimum's place per new point of the grid.
    If the landscape is of scattered points, points are proposed in place of values, by the same
    rules. Nothing is simulated here: simulate the values, compute the landscape again, and propose
    again.

    Parameters
    ----------
    landscape
        A landscape over one to three parameters, or of scattered points in any number; points that
        are not computed are left out.
    target_error
        Largest numerical standard error by parameter.
    budget
        Most new points of the landscape.
    limits
        By parameter: the lower and upper bound of its values.
    overlap
        As of :func:`latticescape.fit`.

    Raises
    ------
    RequestError
        If a target is not above 0 or of an unknown parameter, the budget is not a positive whole
        number, or no point of the landscape is computed.

    References
    ----------
    Jones, Schonlau and Welch, J. Glob. Optim. 13, 455 (1998), 10.1023/A:1008306431147 (expected
    improvement).

    Examples
    --------
    >>> w = np.linspace(-1.0, 1.0, 9)
    >>> s2 = 0.02 + 0.1 * (w + 0.08) ** 2
    >>> landscape = xr.Dataset(
    ...     {"s2": (("image", "w1"), s2[None]), "s2_se": (("image", "w1"), 0 * s2[None] + 4e-4),
    ...      "s2_total": ("w1", s2), "s2_total_se": ("w1", 0 * s2 + 4e-4), "n": ("image", [1000])},
    ...     coords={"w1": w, "image": ["one"]})
    >>> proposal = propose(landscape, {"w1": 0.001})
    >>> proposal.status, proposal.points == len(proposal.axes["w1"]) > 0
    ('sharpen', True)
    >>> propose(landscape, {"w1": 0.1}).status
    'reached'
    """
    deviances = deviance(landscape, overlap)
    check_target(target_error, deviances)
    check_budget(budget)
    between = interpolated(deviances)
    candidates = Candidates.of(deviances, between)
    task = _Task(deviances, candidates, dict(target_error), budget, limits or {})
    if between is None:
        return task.blind()
    # The estimate is that of the fit, which may know more than the values at the points.
    estimate = fit(landscape, overlap=overlap)
    return task.of(replace(find_minimum(landscape, deviances, between), fit=estimate))


@dataclass(frozen=True)
class _Task:
    """A landscape with the target errors, budget and limits of a proposal."""

    deviances: Deviance
    candidates: Candidates
    target: dict[str, float]
    budget: int | None
    limits: Mapping[str, tuple[float, float]]

    def of(self, minimum: Minimum) -> Proposal:
        """The proposal for a landscape with a curve through it."""
        result, names = minimum.fit, self.deviances.names
        # The distance of a minimum outside the grid is unknown.
        errors = {**numerical_errors(minimum), **dict.fromkeys(result.border, float("inf"))}
        data = data_errors(result)
        estimate = {name: result.parameters[name][0] for name in names}
        known = (self.deviances, estimate, errors, data)
        reached = all(errors[name] <= error for name, error in self.target.items())
        lost = {
            n for d in result.flat for n, part in d.direction.items() if part and n in self.target
        }
        if lost:
            needed = "the data do not determine it: add counts, not points"
            return _proposal("flat", {}, *known, notes=(*result.notes, needed))
        if result.border:
            steps = self.candidates.outward(result, self.limits)
            return self._limited("extend", steps, *known, notes=result.notes)
        notes = tuple(
            f"the data determine {name} to ± {data[name]:.2g} however much is simulated: "
            f"a numerical error of {aim:.2g} is smaller than necessary"
            for name, aim in self.target.items()
            if aim < SMALL_SHARE * data[name]
        )
        if reached:
            return _proposal("reached", {}, *known, notes=notes)
        steps = []
        place, improvement = expected_improvement(minimum.between)
        if improvement > IMPROVEMENT:
            steps += self.candidates.at(place)
        if np.isinf(list(errors.values())).any():
            steps += self.candidates.around(minimum.point)
        if steps:
            return self._limited("search", steps, *known, notes=notes)
        axes, expected = self._sharpened(minimum, errors)
        if not axes:
            # The cheapest values, where nothing better fits the budget.
            cheap = sorted(self.candidates.around(minimum.point), key=self.deviances.design.added)
            return self._limited("sharpen", cheap, *known, notes=notes)
        return _proposal("sharpen", axes, *known, expected=expected, notes=notes)

    def blind(self) -> Proposal:
        """The proposal where there are too few points for a curve."""
        design, names = self.deviances.design, self.deviances.names
        place = design.places[int(np.nanargmin(self.deviances.values))]
        estimate = dict(zip(names, map(float, place), strict=True))
        unknown = dict.fromkeys(names, float("inf"))
        why = "too few points are computed for a curve: their gaps are halved"
        steps = self.candidates.around(place)
        known = (self.deviances, estimate, unknown, unknown)
        return self._limited("search", steps, *known, notes=(why,))

    def _limited(
        self,
        status: Status,
        steps: Sequence[Values],
        deviances: Deviance,
        estimate: dict[str, float],
        errors: dict[str, float],
        data: dict[str, float],
        *,
        notes: tuple[str, ...],
    ) -> Proposal:
        """As many of the steps as the budget allows."""
        chosen: Values = {}
        for step in steps:
            more = self.candidates.with_step(chosen, step)
            if self.budget is None or deviances.design.added(more) <= self.budget:
                chosen = more
        known = (deviances, estimate, errors, data)
        if chosen:
            return _proposal(status, chosen, *known, notes=notes)
        reason = "the budget does not allow one more value"
        if not steps:
            reason = "no more values fit into the limits"
        return _proposal("exhausted", {}, *known, notes=(*notes, reason))

    def _sharpened(
        self, minimum: Minimum, errors: dict[str, float]
    ) -> tuple[Values, dict[str, float]]:
        """Values that minimize the forecast error of the minimum's place, chosen one by one."""
        names, between = self.deviances.names, minimum.between
        forecast = Forecast.of(between.process, between.scaled(minimum.point[None])[0])
        begin = np.diag(forecast.covariance)
        aim = np.array([AIM * self.target.get(n, np.inf) / errors[n] for n in names]) ** 2
        chosen: Values = {}
        while (np.diag(forecast.covariance) > aim * begin).any():
            best = self._best(forecast, chosen, begin, aim)
            if best is None:
                break
            forecast = forecast.with_points(*self.candidates.slab(best, chosen))
            chosen = self.candidates.with_step(chosen, best)
        share = np.sqrt(np.diag(forecast.covariance) / begin)
        return chosen, {n: float(errors[n] * s) for n, s in zip(names, share, strict=True)}

    def _best(
        self, forecast: Forecast, chosen: Values, begin: Floats, aim: Floats
    ) -> Values | None:
        """The step with the largest gain per point: the decrease of the variances over aims."""
        now, added = np.diag(forecast.covariance), self.deviances.design.added
        asked = np.isfinite(aim)
        known = float(np.sum((now / begin / aim)[asked]))
        spent, largest, best = added(chosen), 0.0, None
        most = GROWTH * self.deviances.values.size
        for step in self.candidates.near_minimum(chosen):
            total = added(self.candidates.with_step(chosen, step))
            late = chosen and total > most
            if late or (self.budget is not None and total > self.budget):
                continue
            points, noise = self.candidates.slab(step, chosen)
            if not len(points):
                continue
            after = np.diag(forecast.covariance_of(forecast.slope_with(points, noise)))
            gain = (known - float(np.sum((after / begin / aim)[asked]))) / (total - spent)
            if gain > largest:
                largest, best = gain, step
        return best


def _proposal(
    status: Status,
    axes: Values,
    deviances: Deviance,
    estimate: dict[str, float],
    errors: dict[str, float],
    data: dict[str, float],
    *,
    expected: Mapping[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> Proposal:
    design = deviances.design
    points, scattered = design.added(axes), isinstance(design, ScatteredDesign)
    known = (estimate, errors, data, expected or {}, notes, scattered)
    return Proposal(status, axes, points, *known)


def numerical_errors(minimum: Minimum) -> dict[str, float]:
    """Standard errors of the minimum's place due to Monte Carlo noise and interpolation.

    Those of the fit, infinite where there are too few points for an estimate.
    """
    between, names = minimum.between, minimum.deviances.names
    process, axes = between.process, len(names)
    terms = (axes + 1) * (axes + 2) // 2
    bend = process.derivatives(between.scaled(minimum.point[None]))[2][0]
    if len(process.points) <= 2 * terms or np.linalg.eigvalsh(bend)[0] <= 0:
        return dict.fromkeys(names, float("inf"))
    every = list(minimum.fit.parameters)
    variances = np.diag(minimum.fit.monte_carlo_covariance)
    return {n: float(np.sqrt(variances[every.index(n)])) for n in names}


def data_errors(fit: Fit) -> dict[str, float]:
    """Standard errors due to the number of counts, which no simulation reduces."""
    rest = np.diag(fit.covariance) - np.diag(fit.monte_carlo_covariance)
    return {n: float(np.sqrt(max(v, 0.0))) for n, v in zip(fit.parameters, rest, strict=True)}


def check_target(target: Mapping[str, float], deviances: Deviance) -> None:
    choices = " | ".join(deviances.names)
    if not target:
        raise RequestError("no target error is given", allowed=choices, hint='{"w1": 0.005}')
    for name, error in target.items():
        if name not in deviances.names:
            problem = f"no target can be set for {name}: the landscape has no such axis"
            hint = f"--target {(*deviances.names, 'w1')[0]}=0.005"
            allowed = f"{choices}, each of more than one value"
            raise RequestError(problem, came=name, allowed=allowed, hint=hint)
        number = isinstance(error, (int, float, np.floating)) and not isinstance(error, bool)
        if not number or not 0 < error < np.inf:
            problem, hint = f"the target error of {name} is not above 0", f"--target {name}=0.005"
            raise RequestError(problem, came=error, hint=hint)


def check_budget(budget: int | None) -> None:
    if budget is None:
        return
    checked_integer(
        budget,
        1,
        sys.maxsize,
        "the budget must be a positive whole number of points",
        allowed="1 or more",
        hint="--budget 100",
    )
