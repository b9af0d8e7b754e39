"""What a function uses of the user's own: functions, methods of classes, constants.

A helper that changes changes the kernel, so that the kernel's text alone tells too little. What is
installed (numpy, numba, this package) does not count: its version is in the store.
"""

import ast
import hashlib
import inspect
import io
import sys
import sysconfig
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from latticescape.physics.errors import RequestError

_OURS = "latticescape"
_INSTALLED = {"site-packages", "dist-packages"}
_SCALARS = (bool, int, float, complex, str, bytes, type(None), np.generic)


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
    """The name of a function's module; that of a script for one made of mere text."""
    return getattr(function, "__module__", None) or "__main__"


def used_by(function: Callable[..., Any]) -> dict[str, object]:
    """The function and all of the user's own that it uses, by name, in no order of meaning.

    Examples
    --------
    >>> rate = 2.0
    >>> def scaled(x):
    ...     return rate * x
    >>> def energy(T):
    ...     return scaled(T) ** 2
    >>> [name.rpartition(":")[2] for name in sorted(used_by(energy))]
    ['energy', 'scaled', 'scaled.rate']
    """
    root = python_function(function)
    walk = _Walk(module_of(root) if root is not None else "")
    walk.gather(function, "")
    return walk.found


def text_of(name: str, value: object) -> str:
    """A function's text from its ``def`` on, without comments; a constant's value."""
    function = python_function(value)
    if function is None:
        return f"{name} = {_plain(value)}"
    options = getattr(value, "targetoptions", {})
    told = [f"# numba {key}={options[key]!r}" for key in sorted(options)]
    return "\n".join([*told, _definition(function)])


def code_of(value: object) -> str:
    """A function's compiled code, a constant's value: the same in all processes of one run."""
    function = python_function(value)
    return repr(_plain(value) if function is None else _instructions(function.__code__))


@dataclass
class _Walk:
    """From a function to all it uses, of the module ``root`` and others of the user's."""

    root: str
    found: dict[str, object] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def gather(self, value: object, name: str) -> None:
        if _plain(value):
            self.found[name] = value
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
            self._open(value, name, type(value).__module__, "an object", _state(value))

    def _open(
        self, value: object, name: str, home: str, told: object, parts: Iterator[tuple[str, object]]
    ) -> None:
        if id(value) not in self.seen and _own(home, self.root):
            self.seen.add(id(value))
            self.found[name] = told
            for key, part in parts:
                self.gather(part, f"{name}.{key}")


def _items(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, partial):
        value = (value.func, value.args, value.keywords)
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return ((str(key), part) for key, part in pairs)


def _state(value: object) -> Iterator[tuple[str, object]]:
    yield "class", type(value)
    yield from getattr(value, "__dict__", {}).items()


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
    """Methods and constants of a class, written in it or in a class it is made from."""
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
    """Whether a module belongs to the user: to the function's own package, or is not installed."""
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
    """A number, text, array, or list, tuple or dict of such, told in full; "" for anything else."""
    if isinstance(value, _SCALARS):
        return repr(value)
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        told = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"array {value.dtype.str} {value.shape} {told}"
    if isinstance(value, (list, tuple)):
        parts = [_plain(part) for part in value]
        return f"{type(value).__name__} {parts}" if all(parts) else ""
    if is_dataclass(value) and not isinstance(value, type):
        told = _plain({f.name: getattr(value, f.name) for f in fields(value)})
        return f"{type(value).__qualname__} {told}" if told else ""
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
            allowed="a function of a file or of a notebook",
            hint="write it into a file, and import it",
        ) from None
    try:
        first = ast.parse(source).body[0].lineno - 1  # decorators come before
        return _without_comments("\n".join(source.splitlines()[first:]))
    except (SyntaxError, tokenize.TokenError):  # a lambda amid other things
        return source


def _without_comments(text: str) -> str:
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _instructions(code: CodeType) -> tuple[object, ...]:
    constants = [
        _instructions(constant) if isinstance(constant, CodeType) else _constant(constant)
        for constant in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, constants


def _constant(value: object) -> object:
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
