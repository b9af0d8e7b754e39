"""Words, numbers and colours of pictures: labels with symbols, species names and units."""

import re
from typing import Any

import numpy as np
import xarray as xr

IMAGES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")  # Okabe and Ito
MARK = "#FF5C39"
MISSING = "#D9D9D9"
SIMULATED = "#BDBDBD"
LATTICE_SPECIES = ("#2C4A7C", "#F2B134")
# Colours of more than two species in snapshots, with their names.
SPECIES_COLOURS = {
    "blue": "#2C4A7C",
    "yellow": "#F2B134",
    "green": "#009E73",
    "purple": "#CC79A7",
    "grey": "#BDBDBD",
    "red": "#D55E00",
    "light blue": "#56B4E9",
    "black": "#000000",
}

# Dimensions within a point of a sweep, or of a landscape; all others are axes.
WITHIN_A_POINT = {"configuration", "replica", "moment", "feature", "image", "source"}
WITHIN_A_POINT |= {"layer", "species", "oxygen"}

# Attribute of an axis of words: the words; its values are their numbers, 0, 1, …
WORDS = "words"

Species = tuple[str, str]

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_GREEK = {"mu": "μ", "dmu": "Δμ"}

# Words of long names about species 0 and 1, and what stands in their place once these have names.
_SPECIES_WORDS = (
    (r"fraction of species 1", "{1} fraction"),
    (r"triangle with one atom of species 1", "{0}–{0}–{1} triangle"),
    (r"triangle with two atoms of species 1", "{0}–{1}–{1} triangle"),
    (r"unlike ([\w-]+(?: neighbour)?) pair", r"{0}–{1} \1 pair"),
    (r"([\w-]+) pair of species 0", r"{0}–{0} \1 pair"),
    (r"([\w-]+) pair of species 1", r"{1}–{1} \1 pair"),
    (r"species 1 minus 0", "{1} minus {0}"),
    (r"species 0", "{0}"),
    (r"species 1", "{1}"),
)


def species_of(*datasets: xr.Dataset | None) -> Species | None:
    """Return the names of species 0 and 1 that the first Dataset with any has in its attributes.

    Examples
    --------
    >>> species_of(None, xr.Dataset(attrs={"species": "Mo,Re"}))
    ('Mo', 'Re')
    """
    for ds in datasets:
        names = None if ds is None else ds.attrs.get("species")
        if names is None or len(names) == 0:
            continue
        names = names.split(",") if isinstance(names, str) else list(names)
        if len(names) == 2:
            return str(names[0]).strip(), str(names[1]).strip()
    return None


def colours_of_species(image: Any) -> list[tuple[str, str]]:
    """Return name and colour of each species in a snapshot, two or more.

    Examples
    --------
    >>> colours_of_species(np.array([0.0, np.nan, 1.0]))
    [('blue', '#2C4A7C'), ('yellow', '#F2B134')]
    """
    number = max(2, int(np.nanmax(image)) + 1)
    return (list(SPECIES_COLOURS.items()) * number)[:number]


def shares_text(image: Any, species: Species | None = None) -> str:
    """Return the share of species 1 in a snapshot; of more than two species that of each.

    Examples
    --------
    >>> shares_text(np.array([0, 1, 1, 1])), shares_text(np.array([0, 2, 2, 1]))
    ('75 % species 1 (spin up), yellow', '25 % species 0, blue; 25 % 1, yellow; 50 % 2, green')
    """
    colours = colours_of_species(image)
    seen = image[np.isfinite(image)]
    shares = [f"{100 * np.mean(seen == number):.0f} %" for number in range(len(colours))]
    if len(colours) == 2:
        return f"{shares[1]} {species[1] if species else 'species 1 (spin up)'}, yellow"
    parts = [f"{n}, {colour}" for n, (colour, _) in enumerate(colours)]
    listed = [f"{share} {part}" for share, part in zip(shares, parts, strict=True)]
    return "; ".join(listed).replace("% 0", "% species 0", 1)


def symbol_of(name: str) -> str:
    """Return the symbol of a parameter: Greek letters, and numbers as subscripts.

    Examples
    --------
    >>> [symbol_of(name) for name in ("w1", "w_0", "J2", "dmu", "T", "w_m1", "s2")]
    ['w₁', 'w₀', 'J₂', 'Δμ', 'T', 'w_m1', 's2']
    """
    if name in _GREEK:
        return _GREEK[name]
    letter, number = name[:1], name[1:].removeprefix("_")
    if letter in ("w", "J", "V") and number.isdecimal():
        return letter + number.translate(_SUBSCRIPTS)
    return name


def label_of(array: xr.DataArray, species: Species | None = None) -> str:
    """Return a label without unit: the long name, for an axis with its symbol.

    Examples
    --------
    >>> T = xr.DataArray([1.0], dims="T", name="T", attrs={"long_name": "temperature"})
    >>> label_of(T)
    'temperature T'
    >>> long_name = "energy of a triangle with one atom of species 1"
    >>> w1 = xr.DataArray([0.0], dims="w1", name="w1", attrs={"long_name": long_name})
    >>> label_of(w1, ("Mo", "Re")), label_of(w1)
    ('w₁, Mo–Mo–Re triangle', 'w₁, triangle with one atom of species 1')
    """
    name = str(array.name)
    long_name = str(array.attrs.get("long_name", name))
    words = re.sub("^energy of an? | in units of T0$", "", long_name)
    if species is not None:
        for pattern, named in _SPECIES_WORDS:
            words = re.sub(pattern, named.format(*species), words)
    if long_name.startswith("energy of a"):
        return f"{symbol_of(name)}, {words}"
    if name not in {*array.dims, *array.coords} or words.split()[-1] == name:
        return words if words != name else symbol_of(name)
    if words.startswith("fraction of"):
        return words.replace("fraction", f"fraction {symbol_of(name)}", 1)
    return f"{words} {symbol_of(name)}"


def unit_of(array: xr.DataArray) -> str | None:
    """Return the unit; None for a pure number.

    Examples
    --------
    >>> unit_of(xr.DataArray(0.0, attrs={"units": "k_B T0"}))
    'k_B T₀'
    """
    units = str(array.attrs.get("units", "1"))
    return None if units == "1" else units.replace("T0", "T₀").replace("/mu", "/μ")


def axis_label(array: xr.DataArray, species: Species | None = None) -> str:
    """Return the label of an axis: meaning, symbol, and the unit in parentheses.

    Examples
    --------
    >>> H = xr.DataArray([0.0], dims="H", name="H", attrs={"long_name": "field", "units": "J/mu"})
    >>> axis_label(H)
    'field H (J/μ)'
    """
    return with_unit(label_of(array, species), array)


def with_unit(words: str, array: xr.DataArray) -> str:
    """Return words with the unit of an array in parentheses."""
    unit = unit_of(array)
    return f"{words} ({unit})" if unit else words


def number_text(value: Any, axis: Any = None, digits: int = 5) -> str:
    """Return a number in a few digits; what rounding left of zero on an axis is 0.

    Examples
    --------
    >>> number_text(5.5511e-17, [-0.3, 5.5511e-17, 0.3]), number_text(0.15000000000000002)
    ('0', '0.15')
    """
    if not np.issubdtype(np.asarray(value).dtype, np.number):
        return str(value)
    scale = 1e-6 if axis is None else float(np.nanmax(np.abs(np.asarray(axis, float))))
    return "0" if abs(value) <= 1e-9 * scale else f"{value:.{digits}g}"


def value_text(value: float, error: float) -> str:
    """Return a value rounded to its standard error, which has two significant digits.

    Examples
    --------
    >>> value_text(0.05001, 0.0794), value_text(-0.1, 0.1), value_text(1234.5, 67.8)
    ('0.050 ± 0.079', '-0.10 ± 0.10', '1234 ± 68')
    >>> value_text(5.5511e-17, float("inf"))
    '0 (error unknown)'
    """
    if not np.isfinite(error) or error <= 0:
        number = f"{0.0 if abs(value) < 1e-12 else value:.3g}"
        return f"{number} (error unknown)" if error > 0 else number
    decimals = max(0, 1 - int(np.floor(np.log10(error))))
    rounded = round(value, decimals) + 0.0  # no minus zero
    return f"{rounded:.{decimals}f} ± {error:.{decimals}f}"


def place_text(ds: xr.Dataset, dim: str, index: int, species: Species | None = None) -> str:
    """Return a place on one dimension in words, with its unit.

    A place on a dimension of points on no grid consists of all parameters of the point.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"x": ("x", [0.4, 0.6], {"long_name": "fraction of species 1"})})
    >>> place_text(ds, "x", 1), place_text(ds, "x", 1, ("Mo", "Re")), place_text(ds, "x", 0)
    ('x = 0.6', '60 % Re', 'x = 0.4')
    """
    if dim == "configuration" and "label" in ds.coords:
        return f"configuration {ds['label'].to_numpy()[index]}"
    if dim in ds.coords:
        return _value_text(ds[dim], index, species)
    columns = [c for c in ds.coords.values() if c.dims == (dim,) and dim not in WITHIN_A_POINT]
    return ", ".join(_value_text(c, index, species) for c in columns) or f"{dim} {index}"


def _value_text(axis: xr.DataArray, index: int, species: Species | None) -> str:
    values = axis.to_numpy()
    if species is not None and axis.attrs.get("long_name") == "fraction of species 1":
        return f"{number_text(100 * values[index], digits=4)} % {species[1]}"
    if WORDS in axis.attrs:
        return f"{symbol_of(str(axis.name))} = {axis.attrs[WORDS][int(values[index])]}"
    unit = f" {unit_of(axis)}" if unit_of(axis) else ""
    return f"{symbol_of(str(axis.name))} = {number_text(values[index], values)}{unit}"


def places_text(ds: xr.Dataset, places: dict[str, int], species: Species | None = None) -> str:
    """Return a place on several dimensions in words."""
    return ", ".join(place_text(ds, dim, index, species) for dim, index in places.items())
