"""``at=``: the model's parameters where a diagram is wanted, and how sure they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Parameters and possible values of them.

    Attributes
    ----------
    centre
        The best values.
    draws
        Values drawn from their uncertainty, all parameters together; none of a bare value.
    """

    centre: dict[str, float]
    draws: tuple[dict[str, float], ...] = ()

    def without(self, names: object) -> "Place":
        """The place without some of the parameters."""
        left: Any = names
        return Place(
            {n: v for n, v in self.centre.items() if n not in left},
            tuple({n: v for n, v in draw.items() if n not in left} for draw in self.draws),
        )

    def only(self, names: object) -> "Place":
        """The place with these parameters alone."""
        wanted: Any = names
        return self.without([n for n in self.centre if n not in wanted])


def place_of(at: Any, number: int, seed: int) -> Place:
    """What ``at=`` says.

    Parameters
    ----------
    at
        None; a mapping from names to values, or to (value, standard error); a ``Fit``, of which the
        draws are taken if it has some and its covariance otherwise; or an ArviZ ``InferenceData``.
    number
        Draws wanted.
    seed
        Of the choice of draws.

    Raises
    ------
    RequestError
        If it is none of these, or an error is not finite.

    Examples
    --------
    >>> place_of({"w1": -0.5}, 4, seed=1)
    Place(centre={'w1': -0.5}, draws=())
    >>> len(place_of({"w1": (-0.5, 0.1)}, 4, seed=1).draws)
    4
    """
    if at is None:
        return Place({})
    if isinstance(at, Mapping):
        return _of_values(at, number, seed)
    if hasattr(at, "posterior"):
        return _of_draws(at.posterior, None, number, seed)
    if getattr(at, "draws", None) is not None:
        centre = {n: float(np.ravel(v)[0]) for n, v in at.parameters.items()}
        return _of_draws(at.draws, centre, number, seed)
    if hasattr(at, "parameters") and hasattr(at, "covariance"):
        centre = {str(n): float(v[0]) for n, v in at.parameters.items()}
        return Place(centre, _gaussian(centre, np.asarray(at.covariance, float), number, seed))
    raise RequestError(
        "at= is no place in the space of parameters",
        came=type(at).__name__,
        allowed="a mapping, a Fit, or an ArviZ InferenceData",
        hint='at={"w1": -0.5}',
    )


def _of_values(at: Mapping[str, Any], number: int, seed: int) -> Place:
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
        return Place(centre)
    return Place(centre, _gaussian(centre, np.diag(errors**2), number, seed))


def _gaussian(
    centre: Mapping[str, float], covariance: Floats, number: int, seed: int
) -> tuple[dict[str, float], ...]:
    if not np.isfinite(covariance).all():
        raise RequestError(
            "the fit does not know how sure its parameters are",
            came="an infinite covariance: its minimum is no parabola inside the grid",
            allowed="finite errors",
            hint="a finer or wider grid; or at=dict of values, without an error",
        )
    if not len(centre):
        return ()
    # Quasi-random normal numbers: a handful of them has the wanted spread, not one by chance.
    even = qmc.Halton(len(centre), seed=np.random.default_rng(seed))
    middle = np.array(list(centre.values()))
    rows = qmc.MultivariateNormalQMC(middle, covariance, engine=even).random(number)
    return tuple(dict(zip(centre, map(float, row), strict=True)) for row in rows)


def _of_draws(posterior: Any, centre: dict[str, float] | None, number: int, seed: int) -> Place:
    names = [str(name) for name in posterior.data_vars if centre is None or name in centre]
    values = np.column_stack([np.ravel(posterior[name].values) for name in names])
    chosen = np.random.default_rng(seed).choice(
        len(values), min(number, len(values)), replace=False
    )
    middle = centre or dict(zip(names, map(float, values.mean(axis=0)), strict=True))
    return Place(
        middle,
        tuple(dict(zip(names, map(float, values[k]), strict=True)) for k in sorted(chosen)),
    )
