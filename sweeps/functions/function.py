"""A user's own function as a kernel: any Python or Numba function, with what it yields declared."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from numba import typeof
from numba.core.dispatcher import Dispatcher

from latticescape.physics.compiled import one_compiles
from latticescape.physics.errors import CancelCheck, RequestError, never_cancelled
from latticescape.physics.kernels.kernel import Coordinates
from latticescape.physics.models.model import Parameter
from latticescape.physics.variables import Variable
from latticescape.sweeps.functions.source_digest import Function, Source

if TYPE_CHECKING:
    from latticescape.sweeps.functions.kernel_schema import Dims

Point = dict[str, float]


@dataclass(frozen=True, eq=False)
class FunctionKernel:
    """A function of a point's parameters as a kernel of a sweep; :func:`kernel` makes it.

    Parameters
    ----------
    source
        The function; or only its name and digest, as in a store just opened.
    version
        Incremented by the user when results change and the source of the function does not.
    variables
        What it returns, in order.
    dims
        Length of each dimension of the returned arrays, or the values of its coordinate.
    arguments
        Its parameters.
    seconds
        Approximate time of one point, which decides only how many points make a block.
    """

    source: Source
    version: int
    variables: tuple[Variable, ...]
    dims: "Dims"
    arguments: tuple[Parameter, ...]
    seconds: float = 1.0

    # Points are computed one by one, and need no others.
    uncut_axes: ClassVar[tuple[str, ...]] = ()
    batch_size: ClassVar[int] = 1

    def __post_init__(self) -> None:
        from latticescape.sweeps.functions.kernel_schema import KernelTable

        KernelTable.read(self._table(source="", seconds=self.seconds), "[kernel]")

    @classmethod
    def of_table(cls, table: Mapping[str, Any]) -> Self:
        """The kernel of a table ``[kernel]`` that :class:`KernelTable` has checked.

        Its function is not at hand.
        """
        from latticescape.sweeps.functions.kernel_schema import dims_of

        variables: list[dict[str, Any]] = [
            {name: tuple(v) if isinstance(v, list) else v for name, v in each.items()}
            for each in table["variables"]
        ]
        return cls(
            Source(table["name"], digest=table["source"]),
            table["version"],
            tuple(Variable(**each) for each in variables),
            dims_of(table["dims"]),
            tuple(Parameter(**each) for each in table["parameters"]),
            table["seconds"],
        )

    @property
    def table(self) -> dict[str, Any]:
        """The table ``[kernel]`` of a spec: all that is declared, and the function's name only."""
        return self._table(source=self.source.digest, seconds=float(self.seconds))

    def _table(self, *, source: str, seconds: Any) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "source": source,
            "seconds": seconds,
            "dims": {n: list(d) if isinstance(d, tuple) else d for n, d in self.dims.items()},
            "variables": [_written(variable) for variable in self.variables],
            "parameters": [_written(argument) for argument in self.arguments],
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        return self.function(*args, **kwargs)

    @property
    def function(self) -> Function:
        """The function itself."""
        return self.source.function

    @property
    def name(self) -> str:
        """The function's name, ``module:function``."""
        return self.source.name

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides a point's result besides its coordinates and seed."""
        return {
            "kernel.name": self.name,
            "kernel.version": self.version,
            **{f"kernel.variables.{v.name}": [v.dtype, *v.dims] for v in self.variables},
            "kernel.variables (order)": [v.name for v in self.variables],
            **{f"kernel.dims.{name}": values for name, values in self.dims.items()},
            **{f"kernel.parameters.{a.name}": [a.default, a.whole] for a in self.arguments},
            "kernel.source": self.source.digest,
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension besides the axes."""
        return {n: d if isinstance(d, int) else len(d) for n, d in self.dims.items()}

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the dimensions that were declared with values."""
        valued = {name: np.array(d) for name, d in self.dims.items() if not isinstance(d, int)}
        return {name: (name, values, {"long_name": name}) for name, values in valued.items()}

    @property
    def attrs(self) -> dict[str, str]:
        """The function that a store needs to go on, and the text that its digest is of."""
        return {"function": self.name, "function_text": self.source.text}

    def argument(self, name: str) -> Parameter:
        """The parameter of that name.

        Raises
        ------
        RequestError
            If the function takes no such parameter.
        """
        named = {argument.name: argument for argument in self.arguments}
        if name not in named:
            raise RequestError(
                f"the function {self.name} has no parameter {name}", allowed=", ".join(named)
            )
        return named[name]

    def axis_attrs(self, name: str) -> dict[str, str]:
        """Meaning and unit of a swept parameter."""
        argument = self.argument(name)
        return {"long_name": argument.meaning or name, "units": argument.units}

    def check(self, axes: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Refuse axes that are not parameters, values out of bounds, and parameters without one."""
        for name, values in axes.items():
            argument = self.argument(name)
            try:
                if values.dtype.kind == "f":
                    argument.check_all(values)
                elif argument.whole:
                    raise RequestError(f"{name} must be whole numbers", came=values[0])
            except RequestError as error:
                raise error.within(f"grid.{name}") from None
            if name in self.sizes or name in (v.name for v in self.variables):
                raise RequestError(
                    f"the axis {name} has the name of a variable or dimension",
                    came=name,
                    allowed="different names",
                )
        for argument in self.arguments:
            if argument.default is None and argument.name not in axes:
                raise RequestError(
                    f"the parameter {argument.name} of {self.name} has no value",
                    allowed="an axis of the grid, or a default in the function",
                    hint=f"{argument.name} in the grid, or a default in the function",
                )

    def parameters(self, axes: Mapping[str, float]) -> Point:
        """Every parameter of the point with these coordinates: defaults, and those swept."""
        return {**{name: float(value) for name, value in self._defaults.items()}, **axes}

    def updates(self, points: int) -> int:
        """A call of the function counts as one."""
        return points

    @property
    def nominal_rate(self) -> float:
        """Points per second of one core, as declared."""
        return 1 / self.seconds

    def shortened(self, mcs: int) -> Self:
        """The same kernel: a point takes what it takes."""
        return self

    def taken(self) -> Self:
        """The kernel as its function is now.

        Raises
        ------
        RequestError
            If the function's text cannot be read, or it cannot be sent to a worker.
        """
        return replace(self, source=self.source.taken())

    def with_source(self, source: Source) -> Self:
        """The same kernel with its function at hand.

        Raises
        ------
        RequestError
            If it is another function.
        """
        if source != self.source:
            raise RequestError(
                "the store was made with another function",
                came=f"{source.name}, source {source.digest[:12]}",
                allowed=f"{self.name}, source {self.source.digest[:12]}",
            )
        return replace(self, source=source)

    def warm_up(self, axes: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Import or unpack the function, and compile it if it is one of Numba's.

        No point is computed: one may take an hour, or end the process.
        """
        function = self.function
        # Not if its signatures were written out: then it is compiled, and for no others.
        if isinstance(function, Dispatcher) and getattr(function, "_can_compile", True):
            point = {name: values[0].item() for name, values in axes.items()}
            arguments = self._arguments_of(point, np.zeros(4, np.uint64))
            order = inspect.signature(function.py_func).parameters
            with one_compiles():
                function.compile(tuple(typeof(arguments[name]) for name in order))

    def compute(
        self,
        points: Mapping[str, npt.NDArray[np.float64]],
        seeds: npt.NDArray[np.uint64],
        cancel_check: CancelCheck = never_cancelled,
    ) -> dict[str, npt.NDArray[Any]]:
        """Every variable at the given points, points first; any points, in any order.

        Parameters
        ----------
        points
            Swept parameters by name, (points,) each.
        seeds
            (points, 4) uint64.
        watch
            Called before every point; what it raises ends the computation.

        Raises
        ------
        OutputError
            If the function returns something else than declared; the point is named.
        """
        shapes = {v.name: tuple(self.sizes[dim] for dim in v.dims) for v in self.variables}
        results = {v.name: np.empty((len(seeds), *shapes[v.name]), v.dtype) for v in self.variables}
        for number, seed in enumerate(seeds):
            cancel_check()
            point = {name: values[number].item() for name, values in points.items()}
            words = ", ".join(
                f"{n}={value:g}" if isinstance(value, float) else f"{n}={value}"
                for n, value in point.items()
            )
            label = f"{self.name} at {words}"
            try:
                output = self.function(**self._arguments_of(point, seed))
                for name, value in validate_output(output, self.variables, shapes).items():
                    results[name][number] = value
            except OutputError as error:
                raise error.within(label) from None
            except Exception as error:
                error.add_note(label)
                raise
        return results

    @cached_property
    def _random(self) -> tuple[str, ...]:
        from latticescape.sweeps.functions.kernel_schema import RANDOM, signature_of

        return tuple(name for name in RANDOM if name in signature_of(self.function))

    @cached_property
    def _defaults(self) -> Point:
        return {a.name: a.default for a in self.arguments if a.default is not None}

    def _arguments_of(self, point: Point, seed: npt.NDArray[np.uint64]) -> dict[str, Any]:
        """The arguments of one call."""
        arguments: dict[str, Any] = {**self._defaults, **point}
        for argument in self.arguments:
            if argument.whole:
                arguments[argument.name] = int(arguments[argument.name])
        if "rng" in self._random:
            # The bit generator is named, since numpy's default may change.
            bits = np.random.PCG64DXSM([int(word) for word in seed])
            arguments["rng"] = np.random.Generator(bits)
        if "seed" in self._random:
            arguments["seed"] = np.array(seed, np.uint64)
        return arguments


def kernel(
    *variables: Variable | str,
    dims: Mapping[str, int | Sequence[float | str] | npt.NDArray[Any]] | None = None,
    parameters: Sequence[Parameter] = (),
    version: int = 1,
    seconds: float = 1.0,
) -> Callable[[Function], FunctionKernel]:
    """Make a kernel of a function: a decorator that declares, once, what the function yields.

    The function takes the parameters of one point by name, and returns one value, a tuple in the
    order of the variables, or a dict. Its arguments ``rng`` and ``seed``, if it has any, are no
    parameters: they receive a ``numpy.random.Generator`` of the point's own, and the point's seed,
    (4,) uint64. All that is random must come from these, and nothing may depend on earlier calls:
    then a point's bits depend on neither the cut of the grid nor the order.

    Parameters
    ----------
    *variables
        What the function returns: a :class:`Variable`, or a name for a float64 without
        dimensions. Standard errors are variables of their own, named ``…_se``.
    dims
        Length of every dimension of an array, or the values of its coordinate.
    parameters
        Meaning, unit and bounds of parameters, for those that have any. Defaults come from the
        function; a parameter annotated ``int`` is passed as one.
    version
        To be raised where results change though the function's text does not.
    seconds
        What a point takes, about. A block takes some 15 s; nothing else depends on it.

    Returns
    -------
    Callable
        Turns a function of Python or Numba into a kernel: ``Sweep(kernel=…, grid=…, seed=…)``.

    Raises
    ------
    RequestError
        If what is declared cannot be stored, or the function cannot be called with it.

    Examples
    --------
    >>> import tempfile
    >>> from latticescape import Parameter, Sweep, kernel, run
    >>> p = Parameter("p", "probability of a step to the right", low=0, high=1)
    >>> @kernel("mean", "mean_se", parameters=[p])
    ... def drift(p, steps: int = 100, *, rng):
    ...     walk = np.where(rng.random(steps) < p, 1.0, -1.0)
    ...     return walk.mean(), walk.std(ddof=1) / np.sqrt(steps)
    >>> sweep = Sweep(kernel=drift, grid={"p": [0.25, 0.5, 1.0]}, seed=1)
    >>> run(sweep, tempfile.mkdtemp() + "/drift.zarr")["mean"].values.tolist()
    [-0.4, 0.0, 1.0]
    """
    from latticescape.sweeps.functions.kernel_schema import arguments_of, dims_of, variables_of

    yields, sizes = variables_of(variables), dims_of(dims or {})

    def decorate(function: Function) -> FunctionKernel:
        arguments = arguments_of(function, parameters)
        return FunctionKernel(Source.of(function), version, yields, sizes, arguments, seconds)

    return decorate


# A value may be converted to a kind of the same or a higher rank.
_RANKS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}


class OutputError(RequestError):
    """A function returned something else than it declared."""


def validate_output(
    output: object, variables: Sequence[Variable], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, npt.NDArray[Any]]:
    """The values that a function returned for one point, as arrays of declared shape and dtype.

    Raises
    ------
    OutputError
        If the number or names of the values differ, or a value has another shape, is of a kind that
        the declared dtype cannot hold (a float for an integer), or too large for it.

    Examples
    --------
    >>> a, b = Variable("a"), Variable("b", ("bin",), "int64")
    >>> validate_output({"b": [1, 2], "a": 3}, [a, b], {"a": (), "b": (2,)})
    {'a': array(3.), 'b': array([1, 2])}
    >>> validate_output((1, 2, 3), [a, b], {"a": (), "b": (2,)})
    Traceback (most recent call last):
    ...
    latticescape...OutputError: the function must return 2 values (came: 3; allowed: a, b)
    >>> validate_output(300, [Variable("n", dtype="uint8")], {"n": ()})
    Traceback (most recent call last):
    ...
    latticescape...OutputError: n does not fit its dtype (came: 300; allowed: uint8)...
    """
    names = [variable.name for variable in variables]
    values = (output,) if len(variables) == 1 and not isinstance(output, Mapping) else output
    if isinstance(values, Mapping):
        if set(values) != set(names):
            raise OutputError(
                "the function returned other names",
                came=", ".join(map(str, values)),
                allowed=", ".join(names),
            )
        values = tuple(values[name] for name in names)
    if not isinstance(values, tuple) or len(values) != len(names):
        raise OutputError(
            f"the function must return {len(names)} values",
            came=len(values) if isinstance(values, tuple) else repr(values),
            allowed=", ".join(names),
        )
    return {
        variable.name: _converted(value, variable, shapes[variable.name])
        for variable, value in zip(variables, values, strict=True)
    }


def _converted(value: object, variable: Variable, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    dtype = np.dtype(variable.dtype)
    if array.dtype == dtype and array.shape == shape:
        return array
    hint = f"Variable({variable.name!r}, dims, dtype) as the function returns it"
    if _RANKS.get(array.dtype.kind, 9) > _RANKS[dtype.kind] or array.shape != shape:
        numeric = array.dtype.kind in _RANKS
        raise OutputError(
            f"{variable.name} is not what was declared",
            came=f"{array.dtype} of shape {array.shape}" if numeric else repr(value),
            allowed=f"{dtype} of shape {shape}",
            hint=hint,
        )
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, array):
        raise OutputError(
            f"{variable.name} does not fit its dtype",
            came=array.flat[np.argmax(np.abs(array))],
            allowed=dtype,
            hint=hint,
        )
    return cast


def _written(declared: Variable | Parameter) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    values = {f.name: (getattr(declared, f.name), f.default) for f in fields(declared)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, (value, default) in values.items()
        if type(value) is not type(default) or value != default
    }
