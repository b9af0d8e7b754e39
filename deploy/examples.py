"""Where the example files are: beside the packages in a checkout, inside this one in a wheel."""

from pathlib import Path

# The package folders are symbolic links in a checkout.
HERE = Path(__file__).resolve().parent


def example(name: str) -> Path:
    """Path of a file in ``examples/``.

    Examples
    --------
    >>> example("mores2_pair.toml").exists()
    True
    """
    installed = HERE / "examples_data" / name
    return installed if installed.exists() else HERE.parent / "examples" / name
