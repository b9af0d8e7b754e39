"""Source digests: what a user's function depends on, and how it travels to a worker.

A helper that changes changes the results, so the digest of a function covers all of the user's own
functions, methods and constants it uses. Installed packages (numpy, numba, this one) do not count:
their versions are in the store.
"""

import ast
import hashlib
import importlib
import inspect
import io
import sys
import sysconfig
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
import numpy as np

from latticescape.physics.errors import RequestError

Function = Callable[..., Any]

_OURS = "latticescape"
_INSTALLED = {"site-packages", "dist-packages"}
_SCALARS = (bool, int, float, complex, str, bytes, type(None), np.generic)


class Source:
    """A user's function: its name, the digest of its source, and how it travels to a worker.

    A store and a spec hold only name and digest, and nothing is ever imported because of them. A
    task carries the function: as its name if it can be imported, else (from a script or a notebook)
    pickled by ``cloudpickle``.

    Parameters
    ----------
    name
        ``module:function``.
    payload
        The function; or its name, to import it; or its pickle; or None if it is not available.
    digest
        SHA-256 of the source, if known.
    code
        Fingerprint of the sender's compiled code, if known.
    origin
        The file that the sender loaded it from.

    Examples
    --------
    >>> def halved(x):
    ...     return x / 2
    >>> source = Source.of(halved)
    >>> source.text
    'def halved(x):\\n    return x / 2'
    >>> import pickle
    >>> again = pickle.loads(pickle.dumps(source))
    >>> again == source, again.function(3.0)
    (True, 1.5)
    """

    def __init__(
        self,
        name: str,
        payload: Function | str | bytes | None = None,
        digest: str = "",
        code: str = "",
        origin: str = "",
    ) -> None:
        self.name, self.origin = name, origin
        self._payload, self._digest, self._code = payload, digest, code

    @classmethod
    def of(cls, function: Function) -> "Source":
        """The source of a function of Python or Numba.

        Raises
        ------
        RequestError
            If it is not a function, or a lambda.
        """
        python = python_function(function)
        if python is None or python.__name__ == "<lambda>":
            raise RequestError(
                "a kernel must be a function",
                came=repr(function),
                allowed="a function written with def, or one that Numba compiles",
                hint='@kernel("energy") above def energy(T): …',
            )
        return cls(
            f"{module_of(python)}:{python.__qualname__}",
            function,
            origin=python.__code__.co_filename,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"Source({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Source, (self.name, self._pickled, self.digest, self._code, self.origin)

    @property
    def _identity(self) -> tuple[str, str]:
        return self.name, self.digest

    def taken(self) -> "Source":
        """The source as it is now: in a notebook, the names that a function uses may change.

        Raises
        ------
        RequestError
            If its text cannot be read, or it cannot be sent to a worker.
        """
        now = Source.of(self._payload) if callable(self._payload) else self
        _ = now.digest, now._pickled
        return now

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return self._digest or hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def text(self) -> str:
        """The text that decides a result: of the function and the user's own code it depends on."""
        used = dependencies(self.function)
        return "\n\n".join(text_of(name, used[name]) for name in sorted(used))

    @cached_property
    def function(self) -> Function:
        """The function, imported or unpickled at first use.

        Raises
        ------
        RequestError
            If it is not available, cannot be imported, or differs from the sender's.
        """
        if self._payload is None:
            raise RequestError(
                f"the function {self.name} is not available: a store and a spec hold only its name",
                allowed="a run from the Python code that defines the function",
                hint=f"run(Sweep(kernel={self.name.rpartition(':')[2]}, grid=…, seed=…), store)",
            )
        if isinstance(self._payload, bytes):
            return _unpickled(self._payload, self.name)
        if isinstance(self._payload, str):
            return self._imported()
        return self._payload

    def _imported(self) -> Function:
        try:
            function = _import(self.name)
        except (ImportError, AttributeError) as error:
            raise _cannot_import(self.name, error) from error
        here = Source.of(function)
        if (here.digest, fingerprint(function)) != (self.digest, self._code):
            raise RequestError(
                f"function {self.name} differs between client and worker",
                came=f"source digest {here.digest[:12]} in {here.origin}",
                allowed=f"source digest {self.digest[:12]} in {self.origin}",
                hint="restart the workers",
            )
        return function

    @cached_property
    def _pickled(self) -> str | bytes | None:
        if self._payload is None or isinstance(self._payload, (str, bytes)):
            return self._payload
        if _can_be_imported(self.name, self._payload):
            self._code = fingerprint(self._payload)
            return self.name
        try:
            pickled: bytes = cloudpickle.dumps(self._payload)
        except Exception as error:
            raise RequestError(
                f"the function {self.name} cannot be sent to a worker",
                came=f"{type(error).__name__}: {error}",
                allowed="a function that uses nothing bound to this process, such as an open file",
                hint="move it into a module that the workers can import",
            ) from error
        return pickled


def fingerprint(function: Function) -> str:
    """Digest of the compiled code of a function and of the user's own code it depends on.

    The source of a function is read from its file as it is now, but a process that imported the
    file earlier runs what was in it then; compiled code shows that. Python versions compile the
    same source differently, so fingerprints are only compared between processes of one run.
    """
    used = dependencies(function)
    codes = [(name, code_of(used[name])) for name in sorted(used)]
    return hashlib.sha256(repr(codes).encode()).hexdigest()


@lru_cache(maxsize=8)
def _unpickled(pickled: bytes, name: str) -> Function:
    try:
        function: Function = cloudpickle.loads(pickled)
    except (ImportError, AttributeError) as error:
        raise _cannot_import(name, error) from error
    return function


def _cannot_import(name: str, error: Exception) -> RequestError:
    return RequestError(
        f"the function {name} cannot be imported here",
        came=f"{type(error).__name__}: {error}",
        allowed="a module that every worker can import",
        hint=f"install it, or cloudpickle.register_pickle_by_value({name.partition(':')[0]})",
    )


def _import(name: str) -> Function:
    module, _, path = name.partition(":")
    value: Any = importlib.import_module(module)
    for part in path.split("."):
        value = getattr(value, part)
    function: Function = getattr(value, "function", value)  # if it is a kernel
    return function


def _can_be_imported(name: str, function: Function) -> bool:
    """Whether a worker can probably import the function by its name."""
    module = name.partition(":")[0]
    if module == "__main__" or module in cloudpickle.list_registry_pickle_by_value():
        return False
    try:
        return python_function(_import(name)) is python_function(function)
    except (ImportError, AttributeError):
        return False


def python_function(value: object) -> FunctionType | None:
    """The Python function behind a function, a Numba one, a cached one or a kernel.

    Examples
    --------
    >>> import numba
    >>> def halved(x):
    ...     return x / 2
    >>> python_function(numba.njit(halved)) is halved, python_function(2.0)
    (True, None)
    """
    if isinstance(value, FunctionType):
        return value
    if not callable(value) or isinstance(value, type):
        return None
    value = getattr(value, "_dispatcher", value)  # of numba.vectorize
    for inner in ("py_func", "function", "__wrapped__", "__func__"):
        if callable(getattr(value, inner, None)):
            return python_function(getattr(value, inner))
    return None


def module_of(function: FunctionType) -> str:
    """The name of a function's module; that of a script if it has none."""
    return getattr(function, "__module__", None) or "__main__"


def dependencies(function: Callable[..., Any]) -> dict[str, object]:
    """A function and the user's own code and constants it depends on, by name.

    Examples
    --------
    >>> rate = 2.0
    >>> def scaled(x):
    ...     return rate * x
    >>> def energy(T):
    ...     return scaled(T) ** 2
    >>> [name.rpartition(":")[2] for name in sorted(dependencies(energy))]
    ['energy', 'scaled', 'scaled.rate']
    """
    root = python_function(function)
    walk = _Walk(module_of(root) if root is not None else "")
    walk.gather(function, "")
    return walk.used


def text_of(name: str, value: object) -> str:
    """The source of a function from its ``def`` on, without comments; the value of a constant."""
    function = python_function(value)
    if function is None:
        return f"{name} = {_plain(value)}"
    options = getattr(value, "targetoptions", {})
    numba = [f"# numba {key}={options[key]!r}" for key in sorted(options)]
    return "\n".join([*numba, _definition(function)])


def code_of(value: object) -> str:
    """Compiled code of a function, or value of a constant: equal in all processes of one run."""
    function = python_function(value)
    return repr(_plain(value) if function is None else _instructions(function.__code__))


@dataclass
class _Walk:
    """Collects what a function of the module ``root`` depends on."""

    root: str
    used: dict[str, object] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def gather(self, value: object, name: str) -> None:
        if _plain(value):
            self.used[name] = value
            value = type(value) if is_dataclass(value) else None
        function = python_function(value)
        if function is not None:
            home = module_of(function)
            # Not its qualified name: that of a decorator's wrapper is the name of what it wraps.
            name = f"{home}:{function.__code__.co_qualname}"
            self._open(value, name, home, value, _names_used(function, self.root))
        elif isinstance(value, type):
            home = value.__module__
            self._open(value, f"{home}:{value.__qualname__}", home, "a class", _members(value))
        elif isinstance(value, (list, tuple, dict, partial)):
            self._open(value, name, self.root, "a collection", _items(value))
        else:
            state = [("class", type(value)), *getattr(value, "__dict__", {}).items()]
            self._open(value, name, type(value).__module__, "an object", iter(state))

    def _open(
        self, value: object, name: str, home: str, kept: object, parts: Iterator[tuple[str, object]]
    ) -> None:
        if id(value) not in self.seen and _own(home, self.root):
            self.seen.add(id(value))
            self.used[name] = kept
            for key, part in parts:
                self.gather(part, f"{name}.{key}")


def _items(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, partial):
        value = (value.func, value.args, value.keywords)
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return ((str(key), part) for key, part in pairs)


def _names_used(function: FunctionType, root: str) -> Iterator[tuple[str, object]]:
    """Every global and enclosing name that a function's code reads, with its value."""
    names = sorted({name for code in _codes(function.__code__) for name in code.co_names})
    for name in [name for name in names if name in function.__globals__]:
        value = function.__globals__[name]
        if not isinstance(value, ModuleType):
            yield name, value
        elif _own(value.__name__, root):
            yield from ((f"{name}.{n}", vars(value)[n]) for n in names if n in vars(value))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not bound yet
            yield name, cell.cell_contents
    if function.__defaults__ or function.__kwdefaults__:
        yield "(defaults)", (function.__defaults__, function.__kwdefaults__)


def _members(kind: type) -> Iterator[tuple[str, object]]:
    """Methods and constants of a class and its bases."""
    for name, value in vars(kind).items():
        value = getattr(value, "fget", None) or getattr(value, "__func__", value)
        function = python_function(value)
        generated = function is not None and function.__code__.co_filename == "<string>"
        if not generated and (function is not None or not name.startswith("__")):
            yield name, value
    for base in kind.__bases__:
        yield base.__qualname__, base


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _own(module: str, root: str) -> bool:
    """Whether a module is the user's own: of the function's package, or not installed."""
    top = module.partition(".")[0]
    if top == root.partition(".")[0] or top == "__main__":
        return True
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None or top == _OURS:
        return False
    path = Path(file)
    return not _INSTALLED & set(path.parts) and not path.is_relative_to(
        sysconfig.get_paths()["stdlib"]
    )


def _plain(value: object) -> str:
    """The value of a number, text, array, or a list, tuple or dict of such; else ""."""
    if isinstance(value, _SCALARS):
        return repr(value)
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"array {value.dtype.str} {value.shape} {digest}"
    if isinstance(value, (list, tuple)):
        parts = [_plain(part) for part in value]
        return f"{type(value).__name__} {parts}" if all(parts) else ""
    if is_dataclass(value) and not isinstance(value, type):
        text = _plain({f.name: getattr(value, f.name) for f in fields(value)})
        return f"{type(value).__qualname__} {text}" if text else ""
    if isinstance(value, dict):
        pairs = [f"{_plain(key)}: {_plain(part)}" for key, part in value.items()]
        return f"dict {sorted(pairs)}" if all(map(_plain, (*value, *value.values()))) else ""
    return ""


def _definition(function: FunctionType) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(function.__code__))
    except OSError as error:
        raise RequestError(
            f"the source of the function {function.__qualname__} cannot be read",
            came=error,
            allowed="a function defined in a file or a notebook",
            hint="write it into a file, and import it",
        ) from None
    try:
        # Decorators come before the def.
        lines = source.splitlines()[ast.parse(source).body[0].lineno - 1 :]
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
        return "\n".join(line.rstrip() for line in lines if line.strip())
    except (SyntaxError, tokenize.TokenError):  # a lambda within an expression
        return source


def _instructions(code: CodeType) -> tuple[object, ...]:
    constants: list[object] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            constants.append(_instructions(constant))
        else:
            unordered = isinstance(constant, frozenset)
            constants.append(sorted(map(repr, constant)) if unordered else repr(constant))
    return code.co_code, code.co_names, code.co_varnames, constants
