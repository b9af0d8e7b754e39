"""The classes of local configurations that a Dataset counts."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import Configurations
from latticescape.physics.lattices.geometry import GEOMETRIES
from latticescape.physics.lattices.site_classes import (
    SiteClasses,
    classes_of_attributes,
    position_names,
)

Classes = Configurations | SiteClasses


def classes_of(ds: xr.Dataset | Mapping[str, Any]) -> Classes:
    """The classes that a sweep, a landscape or observed counts have, from their attributes.

    Parameters
    ----------
    ds
        A Dataset, or its attributes: ``lattice``, and ``classes`` if they are not the usual ones of
        :func:`latticescape.configurations`.

    Raises
    ------
    RequestError
        If there are no attributes of a lattice.

    Examples
    --------
    >>> len(classes_of({"lattice": "triangular"}))
    26
    """
    attrs = ds.attrs if isinstance(ds, xr.Dataset) else ds
    if "lattice" not in attrs:
        raise RequestError(
            "the Dataset is not of a lattice",
            came=", ".join(map(str, attrs)) or "no attributes",
            allowed="a sweep of a lattice model, its landscape, or observed counts",
        )
    return classes_of_attributes(str(attrs["lattice"]), attrs.get("classes"))


def class_attrs(classes: Classes) -> dict[str, str]:
    """The attributes of a Dataset from which :func:`classes_of` makes the classes again.

    Examples
    --------
    >>> class_attrs(classes_of({"lattice": "square"}))
    {'lattice': 'square'}
    """
    general = {"classes": classes.text} if isinstance(classes, SiteClasses) else {}
    return {"lattice": classes.kind, **general}


def positions_of(classes: Classes) -> tuple[str, ...]:
    """Names of a site's neighbours in tables; none if sites have different neighbours.

    Examples
    --------
    >>> positions_of(classes_of({"lattice": "square"}))
    ('right', 'up', 'left', 'down')
    """
    if isinstance(classes, Configurations):
        return position_names(GEOMETRIES[classes.kind], 0, [1])
    return classes.positions if len(classes.first_sites) == 1 else ()


def require_usual(classes: Classes, what: str, hint: str) -> Configurations:
    """The classes, if they are usual ones of two species.

    Raises
    ------
    RequestError
        If they are others.

    Examples
    --------
    >>> require_usual(classes_of({"lattice": "square"}), "images are counted", "").kind
    'square'
    """
    if isinstance(classes, Configurations):
        return classes
    raise RequestError(
        f"{what} for two species and their usual configurations only",
        came=f"{'; '.join('/'.join(names) for names in dict.fromkeys(classes.species))} on "
        f'{classes.kind}, classes = "{classes.symmetry}", shells {list(classes.shells)}',
        allowed="the usual configurations of square, triangular and honeycomb lattices",
        hint=hint,
    )
