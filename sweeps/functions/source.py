"""``Source``: a user's function, the text that decides what it computes, and how it travels."""

import hashlib
import importlib
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import cloudpickle

from latticescape.physics.errors import RequestError
from latticescape.sweeps.functions.dependencies import (
    code_of,
    module_of,
    python_function,
    text_of,
    used_by,
)

Function = Callable[..., Any]


class Source:
    """A function by its name and digest; the function itself here, to be imported, or packed.

    A store and a spec hold name and digest alone, and nothing is ever imported because they say
    so. A function that can be imported travels to a worker as its name, any other (of a script, a
    notebook) as what ``cloudpickle`` makes of it; with the task, from the process that started
    the run.

    Parameters
    ----------
    name
        ``module:function``.
    holds
        The function; its name once more, to import it; its pickle; or None if it is not at hand.
    digest
        SHA-256 of the text, if known.
    code
        Fingerprint of the compiled code that the sender had, if known.
    origin
        The file that the sender had it from.

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
        holds: Function | str | bytes | None = None,
        digest: str = "",
        code: str = "",
        origin: str = "",
    ) -> None:
        self.name, self.origin = name, origin
        self._holds, self._digest, self._code = holds, digest, code

    @classmethod
    def of(cls, function: Function) -> "Source":
        """The source of a function of Python or Numba.

        Raises
        ------
        RequestError
            If it is no function, or a lambda.
        """
        python = python_function(function)
        if python is None or python.__name__ == "<lambda>":
            raise RequestError(
                "a kernel is made of a function",
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
        return Source, (self.name, self._packed, self.digest, self._code, self.origin)

    @property
    def _identity(self) -> tuple[str, str]:
        return self.name, self.digest

    def taken(self) -> "Source":
        """The source as it is now: in a notebook, what a function uses may change under it.

        Raises
        ------
        RequestError
            If its text cannot be read, or it cannot be sent to a worker.
        """
        now = Source.of(self._holds) if callable(self._holds) else self
        _ = now.digest, now._packed
        return now

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return self._digest or hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def text(self) -> str:
        """What decides a result: the function and all of the user's own that it uses."""
        used = used_by(self.function)
        return "\n\n".join(text_of(name, used[name]) for name in sorted(used))

    @cached_property
    def function(self) -> Function:
        """The function, imported or unpacked when it is first asked for.

        Raises
        ------
        RequestError
            If it is not at hand, cannot be imported, or is another than the sender's.
        """
        if self._holds is None:
            raise RequestError(
                f"the function {self.name} is not at hand: a store and a spec hold its name alone",
                allowed="a run from the Python code that has the function",
                hint=f"run(Sweep(kernel={self.name.rpartition(':')[2]}, grid=…, seed=…), store)",
            )
        if isinstance(self._holds, bytes):
            return _unpacked(self._holds, self.name)
        if isinstance(self._holds, str):
            return self._imported()
        return self._holds

    def _imported(self) -> Function:
        try:
            found = _found(self.name)
        except (ImportError, AttributeError) as error:
            raise _not_here(self.name, error) from error
        here = Source.of(found)
        if (here.digest, fingerprint(found)) != (self.digest, self._code):
            raise RequestError(
                f"the function {self.name} is another one here",
                came=f"source {here.digest[:12]} in {here.origin}",
                allowed=f"source {self.digest[:12]} in {self.origin}",
                hint="the same file for all, and workers started after its last change",
            )
        return found

    @cached_property
    def _packed(self) -> str | bytes | None:
        if self._holds is None or isinstance(self._holds, (str, bytes)):
            return self._holds
        if _can_be_imported(self.name, self._holds):
            self._code = fingerprint(self._holds)
            return self.name
        try:
            packed: bytes = cloudpickle.dumps(self._holds)
        except Exception as error:
            raise RequestError(
                f"the function {self.name} cannot be sent to a worker",
                came=f"{type(error).__name__}: {error}",
                allowed="one that uses nothing of this process alone, such as an open file",
                hint="write it into a module that the workers can import",
            ) from error
        return packed


def fingerprint(function: Function) -> str:
    """Of the compiled code of a function and all of the user's own that it uses.

    The text of a function is read from its file as it is now, and a process that imported the
    file earlier runs what was there then; its code cannot lie. Other versions of Python compile
    alike text to other code, so that this is compared between the processes of one run alone.
    """
    used = used_by(function)
    told = [(name, code_of(used[name])) for name in sorted(used)]
    return hashlib.sha256(repr(told).encode()).hexdigest()


@lru_cache(maxsize=8)
def _unpacked(packed: bytes, name: str) -> Function:
    try:
        function: Function = cloudpickle.loads(packed)
    except (ImportError, AttributeError) as error:
        raise _not_here(name, error) from error
    return function


def _not_here(name: str, error: Exception) -> RequestError:
    return RequestError(
        f"the function {name} cannot be had here",
        came=f"{type(error).__name__}: {error}",
        allowed="a module that every worker can import",
        hint=f"install it, or cloudpickle.register_pickle_by_value({name.partition(':')[0]})",
    )


def _found(name: str) -> Function:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    function: Function = getattr(found, "function", found)  # of the kernel it was made into
    return function


def _can_be_imported(name: str, function: Function) -> bool:
    """Whether a worker may find it by name, as far as that can be told from here."""
    module = name.partition(":")[0]
    if module == "__main__" or module in cloudpickle.list_registry_pickle_by_value():
        return False
    try:
        return python_function(_found(name)) is python_function(function)
    except (ImportError, AttributeError):
        return False
