"""Paths of the example files: in ``examples/`` of a checkout, inside this package in a wheel."""

from pathlib import Path

# The package folders are symbolic links in a checkout.
HERE = Path(__file__).resolve().parent


def example(name: str) -> Path:
    """The path of an example file.

    Examples
    --------
    >>> example("mores2_pair.toml").exists()
    True
    """
    installed = HERE / "examples_data" / name
    return installed if installed.exists() else HERE.parent / "examples" / name
