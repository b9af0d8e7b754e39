"""The ``at=`` argument of ``phase_diagram``: parameter values and draws from their uncertainty."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ParameterValues:
    """Parameter values, and draws from their uncertainty.

    Attributes
    ----------
    centre
        The best values.
    draws
        Values drawn from their joint uncertainty; empty for values without an error.
    """

    centre: dict[str, float]
    draws: tuple[dict[str, float], ...] = ()

    def without(self, names: Collection[str]) -> "ParameterValues":
        """Return the values without these parameters."""
        return self.only([name for name in self.centre if name not in names])

    def only(self, names: Collection[str]) -> "ParameterValues":
        """Return the values of only these parameters."""
        return ParameterValues(
            {n: v for n, v in self.centre.items() if n in names},
            tuple({n: v for n, v in draw.items() if n in names} for draw in self.draws),
        )


def parameter_values(at: Any, number: int, seed: int) -> ParameterValues:
    """Read the argument ``at=``.

    Parameters
    ----------
    at
        None; a mapping from names to values, or to (value, standard error); a ``Fit``, whose draws
        are used if it has any and its covariance otherwise; or an ArviZ ``InferenceData``.
    number
        The number of draws.
    seed
        The seed of the draws.

    Raises
    ------
    RequestError
        If ``at`` is none of these, or an error is not finite.

    Examples
    --------
    >>> parameter_values({"w1": -0.5}, 4, seed=1)
    ParameterValues(centre={'w1': -0.5}, draws=())
    >>> len(parameter_values({"w1": (-0.5, 0.1)}, 4, seed=1).draws)
    4
    """
    if at is None:
        return ParameterValues({})
    if isinstance(at, Mapping):
        both = {str(name): np.atleast_1d(np.asarray(value, float)) for name, value in at.items()}
        for name, values in both.items():
            if len(values) > 2 or not np.isfinite(values).all():
                raise RequestError(
                    f"at= gives no value of {name}",
                    came=at[name],
                    allowed="a number, or (value, standard error)",
                    hint=f"{name}=(-0.5, 0.1)",
                )
        centre = {name: float(values[0]) for name, values in both.items()}
        errors = np.array([values[1] if len(values) > 1 else 0.0 for values in both.values()])
        if not errors.any():
            return ParameterValues(centre)
        return _of_covariance(centre, np.diag(errors**2), number, seed)
    if hasattr(at, "posterior"):
        return _of_draws(at.posterior, None, number, seed)
    if getattr(at, "draws", None) is not None:
        centre = {n: float(np.ravel(v)[0]) for n, v in at.parameters.items()}
        return _of_draws(at.draws, centre, number, seed)
    if hasattr(at, "parameters") and hasattr(at, "covariance"):
        centre = {str(n): float(v[0]) for n, v in at.parameters.items()}
        return _of_covariance(centre, np.asarray(at.covariance, float), number, seed)
    raise RequestError(
        "at= gives no parameter values",
        came=type(at).__name__,
        allowed="a mapping, a Fit, or an ArviZ InferenceData",
        hint='at={"w1": -0.5}',
    )


def _of_covariance(
    centre: dict[str, float], covariance: Floats, number: int, seed: int
) -> ParameterValues:
    if not np.isfinite(covariance).all():
        raise RequestError(
            "the errors of the fit are unknown",
            came="an infinite covariance: S² has no parabolic minimum inside the grid",
            allowed="finite errors",
            hint="a finer or wider grid; or at=dict of values, without an error",
        )
    if not len(centre):
        return ParameterValues(centre)
    # Quasi-random normal numbers: even a handful of them has the requested spread.
    engine = qmc.Halton(len(centre), seed=np.random.default_rng(seed))
    mean = np.array(list(centre.values()))
    rows = qmc.MultivariateNormalQMC(mean, covariance, engine=engine).random(number)
    draws = tuple(dict(zip(centre, map(float, row), strict=True)) for row in rows)
    return ParameterValues(centre, draws)


def _of_draws(
    posterior: Any, centre: dict[str, float] | None, number: int, seed: int
) -> ParameterValues:
    names = [str(name) for name in posterior.data_vars if centre is None or name in centre]
    values = np.column_stack([np.ravel(posterior[name].values) for name in names])
    chosen = np.random.default_rng(seed).choice(
        len(values), min(number, len(values)), replace=False
    )
    return ParameterValues(
        centre or dict(zip(names, map(float, values.mean(axis=0)), strict=True)),
        tuple(dict(zip(names, map(float, values[k]), strict=True)) for k in sorted(chosen)),
    )
