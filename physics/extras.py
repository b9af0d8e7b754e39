"""Optional dependencies: modules that an extra of the distribution installs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lazy_loader

from latticescape.physics.errors import RequestError

# The import names that each extra in pyproject.toml adds to the core.
EXTRAS = {
    "images": ("skimage", "sklearn", "tifffile", "PIL", "h5py"),
    "inference": ("arviz", "emcee"),
    "export": ("h5netcdf",),
    "browse": ("holoviews", "bokeh", "panel", "param", "matplotlib"),
    "cluster": ("dask_jobqueue", "cryptography", "yaml"),
    "microscopy": ("rsciio",),
    "structures": ("ase",),
}


@contextmanager
def optional_imports() -> Iterator[None]:
    """Within the block, or a function it decorates, say which extra installs a missing module.

    Raises
    ------
    RequestError
        If an optional dependency is not installed.

    Examples
    --------
    >>> with optional_imports():
    ...     raise ModuleNotFoundError(name="emcee")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: emcee is not installed. Try: pip install "latticescape[inference]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = str(error.name).partition(".")[0]
        for extra, modules in EXTRAS.items():
            if module in modules:
                raise RequestError(
                    f"{module} is not installed", hint=f'pip install "latticescape[{extra}]"'
                ) from None
        raise


def lazy_names(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` that load the names of a stub lazily."""
    load, names, public = lazy_loader.attach_stub(package, file)
    return optional_imports()(load), names, public
