"""The arguments of a user's function: its parameters, and the randomness it asks for."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError
from latticescape.physics.models.parameters import Parameter
from latticescape.sweeps.functions.dependencies import python_function

# Arguments of these names are no parameters: they receive the point's randomness.
RANDOM = ("rng", "seed")


def arguments_of(function: object, declared: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The parameters of a function, as declared, or else by name alone.

    Defaults are those of the function; a parameter annotated ``int`` is whole.

    Raises
    ------
    RequestError
        If one cannot be given by name, has a default that is no number, or is declared and none.

    Examples
    --------
    >>> def walk(p, steps: int = 100, *, rng): ...
    >>> [(a.name, a.default, a.whole) for a in arguments_of(walk, [])]
    [('p', None, False), ('steps', 100, True)]
    """
    taken = {n: p for n, p in _signature(function).items() if n not in RANDOM}
    known = {parameter.name: parameter for parameter in declared}
    for name in known:
        if name not in taken:
            raise RequestError(
                "a parameter is declared that the function does not take",
                came=name,
                allowed=", ".join(taken) or "none",
            )
    return tuple(_argument(p, known.get(name, Parameter(name))) for name, p in taken.items())


def asked_of(function: object) -> tuple[str, ...]:
    """Which randomness a function asks for: ``rng``, ``seed``, both or none."""
    return tuple(name for name in RANDOM if name in _signature(function))


def randomness(names: Sequence[str], seed: npt.NDArray[np.uint64]) -> dict[str, Any]:
    """What a function receives of a point's seed, (4,) uint64: a copy of it, or a generator.

    Examples
    --------
    >>> randomness(["rng"], np.arange(4, dtype=np.uint64))["rng"].random() < 1
    True
    """
    given: dict[str, Any] = {}
    if "rng" in names:
        # Named, since what numpy takes by default may change one day.
        given["rng"] = np.random.Generator(np.random.PCG64DXSM([int(word) for word in seed]))
    if "seed" in names:
        given["seed"] = np.array(seed, np.uint64)
    return given


def _signature(function: object) -> dict[str, inspect.Parameter]:
    python = python_function(function)
    return dict(inspect.signature(python).parameters) if python is not None else {}


def _argument(given: inspect.Parameter, declared: Parameter) -> Parameter:
    named = (given.POSITIONAL_OR_KEYWORD, given.KEYWORD_ONLY)
    if given.kind not in named:
        raise RequestError(
            f"the argument {given.name} cannot be given by name",
            came=str(given),
            allowed="arguments such as T or T=2.0, and rng or seed",
        )
    whole = declared.whole or given.annotation in (int, "int")
    default = None if given.default is given.empty else given.default
    found = replace(declared, whole=whole, default=None)
    if given.default is not given.empty:
        try:
            found.check(default)
        except RequestError as error:
            raise error.within(f"the default of {given.name}") from None
    return replace(found, default=default.item() if isinstance(default, np.generic) else default)
