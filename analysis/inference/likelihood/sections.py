"""Counts of sections of simulated configurations, as an image is a section of its crystal.

Neighbourhoods at the edge of a section share atoms with fewer others, and what lies beyond the
edge is not seen. The counts of a section therefore scatter differently from those of as many sites
of a closed lattice, the more the longer the correlations. How they scatter is taken from sections
of configurations that the sweep's own kernel draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.counts.classes import Classes, classes_of
from latticescape.analysis.inference.likelihood.ensemble import Ensemble
from latticescape.physics.kernels.lattice_kernel import has_random_bonds, planes_of, sample
from latticescape.physics.lattices.lattice import Lattice
from latticescape.physics.lattices.site_classes import ClassRows, class_rows, classes_at
from latticescape.physics.variables import unpack_replicas

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]
Place = dict[str, float]

# Sections of each configuration, or fewer if so many do not fit on the lattice.
SECTIONS = 4

# Sweeps and images whose covariances are kept, so that a second landscape draws nothing.
KEPT = 64


def can_be_drawn(ensemble: Ensemble) -> bool:
    """Whether configurations of a sweep can be cut: two species and the same couplings everywhere.

    Examples
    --------
    >>> import latticescape as ls
    >>> spec = ls.Sweep(ls.square(8), ls.Ising(), {"T": [2.0]}, ls.Schedule(10, 5, 2), seed=1)
    >>> can_be_drawn(Ensemble(xr.Dataset(attrs={"spec": spec.to_toml()})))
    True
    """
    model = ensemble.model
    return not has_random_bonds(model) and planes_of(model, ensemble.lattice) == 1


def configurations_at(
    ensemble: Ensemble, places: Sequence[Place], seeds: npt.NDArray[np.uint64]
) -> Iterator[npt.NDArray[np.uint8]]:
    """Configurations of the sweep's lattice, (replicas, sites) at every place.

    Parameters
    ----------
    ensemble
        The sweep's.
    places
        A value of every swept parameter.
    seeds
        (places, 4).
    """
    samples = sample(
        ensemble.model,
        ensemble.lattice,
        {name: np.array([place[name] for place in places]) for name in places[0]},
        ensemble.schedule(samples=2, stride_mcs=1),
        seeds,
        keep=("spins",),
    )
    for spins in samples.kept["spins"]:
        yield unpack_replicas(spins)


class Shape:
    """The sites of an image, to be found again on the simulated lattice.

    If the counts hold the ``centres`` of the image, the sites are those, displaced at random. Else,
    or if they do not find room on the lattice, they are a round section of as many sites.

    Parameters
    ----------
    lattice
        The simulated lattice.
    image
        The counts of one image, with ``n`` and perhaps ``centres`` (site, index).
    """

    def __init__(self, lattice: Lattice, image: xr.Dataset) -> None:
        self.lattice = lattice
        self.rows: ClassRows = class_rows(lattice, classes_of(image))
        self.number = int(image["n"])
        self._cells: Integers | None = None
        if "centres" in image and all(lattice.periodic):
            cells = image["centres"].transpose("site", "index").values
            cells = cells[(cells >= 0).all(axis=1)]
            if len(cells) == self.number == len(np.unique(self._sites(cells))):
                self._cells = cells

    @property
    def is_section(self) -> bool:
        """Whether the image has fewer sites than the lattice."""
        return self.number < len(self.rows.centers)

    @property
    def key(self) -> str:
        """What distinguishes the shape from others."""
        cells = b"" if self._cells is None else self._cells.tobytes()
        return f"{self.number} {sha256(cells).hexdigest()}"

    def sections(self, number: int, rng: np.random.Generator) -> Iterator[Indices]:
        """The shape at random places: numbers of centres, (sites,) each."""
        shape = np.array(self.lattice.shape)
        if self._cells is not None:
            for _ in range(number):
                moved = self._cells.copy()
                moved[:, : len(shape)] += rng.integers(shape)
                yield self._sites(moved)
            return
        positions = self.lattice.positions[self.rows.centers]
        cell = np.array(self.lattice.geometry.cell) * shape[:, None]
        for _ in range(number):
            fractions = (positions - positions[rng.integers(len(positions))]) @ np.linalg.inv(cell)
            fractions -= np.rint(fractions) * np.array(self.lattice.periodic)
            squares = ((fractions @ cell) ** 2).sum(axis=1)
            yield np.argpartition(squares, self.number - 1)[: self.number]

    def _sites(self, cells: Integers) -> Indices:
        """Numbers of sites; on a periodic lattice all are centres, in their order."""
        shape, basis = self.lattice.shape, self.lattice.geometry.sublattices
        places = tuple((cells[:, : len(shape)] % shape).T)
        return np.asarray(np.ravel_multi_index(places, shape) * basis + cells[:, -1], np.intp)


def section_covariances(
    ensemble: Ensemble, classes: Classes, shape: Shape, places: Sequence[Place]
) -> list[Floats]:
    """Covariance of the counts of sections and of whole lattices, per neighbourhood.

    Of a model that conserves the composition, at the composition of the section.

    Parameters
    ----------
    ensemble
        The sweep's.
    classes
        The classes.
    shape
        That of the image.
    places
        A value of every swept parameter.

    Returns
    -------
    list of ndarray
        At each place (2, classes, classes): of sections, and of whole lattices.

    Examples
    --------
    >>> import latticescape as ls
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> sweep = ls.Sweep(ls.square(16), ls.Ising(), {"T": [9.0]}, ls.Schedule(20, 5, 2), seed=1)
    >>> ensemble = Ensemble(xr.Dataset(attrs={"spec": sweep.to_toml()}))
    >>> image = counts_dataset({"one": np.full(12, 4)}, ls.configurations("square"))
    >>> shape = Shape(ls.square(16), image.isel(image=0))
    >>> covariance = section_covariances(ensemble, classes_of(image), shape, [{"T": 9.0}])[0]
    >>> covariance.shape, bool(abs(covariance.sum()) < 1e-9)
    ((2, 12, 12), True)
    """
    fixed = _name(ensemble.model.fixed_parameters)
    known = _known(f"{ensemble.ds.attrs['spec']}\n{fixed}\n{shape.key}")
    names = [_name(place) for place in places]
    missing = {name: place for name, place in zip(names, places, strict=True) if name not in known}
    if missing:
        # The seed of a place is a hash of it: its covariance does not depend on the other places.
        seeds = [np.frombuffer(sha256(name.encode()).digest(), np.uint64) for name in missing]
        drawn = configurations_at(ensemble, list(missing.values()), np.array(seeds))
        for name, seed, species in zip(missing, seeds, drawn, strict=True):
            own = classes_at(species, shape.rows)
            rng = np.random.default_rng(seed)
            room = max(1, min(SECTIONS, len(shape.rows.centers) // shape.number))
            cut = [row[chosen] for row in own for chosen in shape.sections(room, rng)]
            known[name] = np.array([_scatter(each, classes, ensemble) for each in (cut, [*own])])
    return [known[name] for name in names]


def _scatter(sections: Sequence[Integers], classes: Classes, ensemble: Ensemble) -> Floats:
    """Covariance of the counts of sections, whose classes are listed, per neighbourhood."""
    counts = np.array([np.bincount(section, minlength=len(classes)) for section in sections])
    off = counts - counts.mean(axis=0)
    degrees = len(off) - 1
    if ensemble.model.move == "exchange":
        # What follows from the composition of the section is known with it.
        centre = off @ np.minimum(classes.centre, 1)
        if (square := float(centre @ centre)) > 0:
            off = off - np.outer(centre, centre @ off / square)
            degrees -= 1
    return np.asarray(off.T @ off / (degrees * len(sections[0])), float)


def _name(place: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(place.items()))


@lru_cache(maxsize=KEPT)
def _known(key: str) -> dict[str, Floats]:
    """Covariances that were computed, by the name of the place."""
    return {}
