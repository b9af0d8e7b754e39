"""Checks that several parts of the analysis share, with one message each."""

from collections.abc import Iterable, Sequence
from typing import Any

from latticescape.physics.errors import RequestError

# What to type to name species, for messages.
NAME_SPECIES = "--species Mo,Re, species=('Mo', 'Re') in Python"

# What to type to compute points of a sweep, for messages.
RUN_AGAIN = "latticescape run, and then once more"


def listed(names: Iterable[Any]) -> str:
    """Names as text, for messages.

    Examples
    --------
    >>> listed(["w1", "w2"]), listed([])
    ('w1, w2', 'none')
    """
    return ", ".join(map(str, names)) or "none"


def check_least(number: float, least: float, what: str, hint: str | None = None) -> None:
    """Check that a number of things, such as draws, is at least as large as needed.

    Examples
    --------
    >>> check_least(3, 100, "draws")
    Traceback (most recent call last):
        ...
    latticescape.RequestError: too few draws (came: 3; allowed: 100 or more)
    """
    if not number >= least:
        raise RequestError(f"too few {what}", came=number, allowed=f"{least} or more", hint=hint)


def check_within(
    value: Any, low: float, high: float, problem: str, units: str = "", hint: str | None = None
) -> None:
    """Check that a number lies between two others, which are allowed as well.

    Examples
    --------
    >>> check_within(9.0, 0.0, 5.0, "T is out of range")
    Traceback (most recent call last):
        ...
    latticescape.RequestError: T is out of range (came: 9.0; allowed: 0 to 5)
    """
    if not low <= value <= high:
        allowed = f"{low:g} to {high:g} {units}".strip()
        raise RequestError(problem, came=value, allowed=allowed, hint=hint)


def check_has(
    present: Iterable[Any], needed: Sequence[str], problem: str, hint: str | None = None
) -> None:
    """Check that a Dataset has some variables, or a table some columns.

    Examples
    --------
    >>> check_has(["row"], ["row", "col"], "the atoms lack a variable")
    Traceback (most recent call last):
        ...
    latticescape.RequestError: the atoms lack a variable (came: row; allowed: row, col)
    """
    if not set(needed) <= set(present):
        raise RequestError(problem, came=listed(present), allowed=listed(needed), hint=hint)


def check_species_names(names: Sequence[str], *, two: bool = False) -> None:
    """Check that species have different names, and that there are two if there must be.

    Examples
    --------
    >>> check_species_names(["Mo", "Re"], two=True)
    """
    if not names or len(set(names)) < len(names) or (two and len(names) != 2):
        problem = f"species must have {'two ' if two else ''}different names"
        allowed = "names from the darkest to the brightest species"
        raise RequestError(problem, came=listed(names), allowed=allowed, hint=NAME_SPECIES)


def check_image_names(names: Sequence[str]) -> None:
    """Check that no two images have the same name.

    Examples
    --------
    >>> check_image_names(["re05", "re10"])
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequestError(
            "two images have the same name",
            came=listed(twice),
            allowed="one name per image",
            hint="rename one",
        )


def check_one_lattice(kinds: Iterable[str]) -> None:
    """Check that images show the same lattice.

    Examples
    --------
    >>> check_one_lattice(["square", "square"])
    """
    if len(kinds := sorted(set(kinds))) > 1:
        allowed = "one lattice for all images"
        raise RequestError("images of different lattices", came=listed(kinds), allowed=allowed)
