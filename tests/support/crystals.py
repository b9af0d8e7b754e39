"""Crystals whose sites are known: flat pieces, bent, with vacancies, chalcogens and debris."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.images.sites.basis import sites_in_cell
from latticescape.physics.lattices.geometry import GEOMETRIES

Floats = npt.NDArray[np.float64]
Warp = Callable[[Floats], Floats]

SPACING = 17.0


def crystal(
    kind: str = "triangular",
    *,
    size: int = 20,
    rotation: float = 0.0,
    zigzag: float = 0.0,
    disorder: float = 0.02,
    vacancies: float = 0.0,
    chalcogen: float = 0.0,
    debris: float = 0.0,
    bright: float = 0.5,
    warp: Warp | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Peaks in random order, with ``true_i``, ``true_j``, ``true_sublattice`` (−1: no metal).

    ``zigzag``: rows moved up and down in turn, in spacings. ``chalcogen``: brightness in every
    other hole of the triangular lattice. ``debris``: dim peaks anywhere, per atom. ``bright``:
    share of atoms of brightness 1, the others 0.4.
    """
    rng = np.random.default_rng(seed)
    cell = np.asarray(GEOMETRIES[kind].cell)[:, ::-1]
    grid = np.indices((3 * size, 3 * size)).reshape(2, -1).T - size
    parts = [(grid + site, s) for s, site in enumerate(sites_in_cell(kind))]
    parts += [(grid + 1 / 3, -1)] if chalcogen else []
    tables = []
    for cells, sublattice in parts:
        places = cells @ cell
        if sublattice >= 0:
            places[:, 0] += zigzag * (-1.0) ** grid[:, 0]
        inside = (np.abs(places - size / 2) <= size / 2).all(axis=1)
        label = np.full(len(grid), sublattice)
        tables.append(np.column_stack([places, grid, label])[inside])
    table = np.concatenate(tables)
    metal = table[:, 4] >= 0
    table = table[~metal | (rng.random(len(table)) >= vacancies)]
    metal = table[:, 4] >= 0
    places = table[:, :2] + disorder * rng.standard_normal((len(table), 2))
    light = np.where(rng.random(len(table)) < bright, 1.0, 0.4)
    light = np.where(metal, light, chalcogen) * (1 + 0.06 * rng.standard_normal(len(table)))
    angle = np.radians(rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    places = SPACING * places @ turn
    places = places if warp is None else warp(places)
    dirt = int(debris * len(places))
    spread = rng.uniform(places.min(axis=0), places.max(axis=0), (dirt, 2))
    places = np.concatenate([places, spread])
    light = np.concatenate([light, rng.uniform(0.03, 0.12, dirt)])
    truth = np.concatenate([table[:, 2:], np.full((dirt, 3), -1.0)]).astype(int)
    order = rng.permutation(len(places))
    names = ("true_i", "true_j", "true_sublattice")
    return xr.Dataset(
        {"row": ("atom", places[order, 0]), "col": ("atom", places[order, 1])}
        | {"intensity": ("atom", light[order])}
        | {name: ("atom", truth[order, k]) for k, name in enumerate(names)}
    )


def agreement(sites: xr.Dataset) -> tuple[float, float, float]:
    """Recall and precision of the metal atoms, and the share of right indices among them.

    Indices are right if one whole-number change of basis and one shift take them to the true ones.
    """
    on, metal = sites.on_lattice.values, sites.true_sublattice.values >= 0
    both = on & metal
    found = np.stack([sites.i.values, sites.j.values], axis=1)[both]
    true = np.stack([sites.true_i.values, sites.true_j.values], axis=1)[both]
    same = sites.true_sublattice.values[both] == 0
    same &= np.isin(sites.sublattice.values[both], [sites.sublattice.values[both][same][0]])
    design = np.column_stack([true, np.ones(len(true))])[same]
    step = np.round(np.linalg.lstsq(design, found[same], rcond=None)[0][:2])
    rest = found[same] - true[same] @ step
    right = (rest == np.median(rest, axis=0)).all(axis=1)
    return float(both.sum() / metal.sum()), float(both.sum() / on.sum()), float(right.mean())
