"""``hop_rates``: from adatoms followed through the frames of a film to hops and their rates."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.optimize import brentq
from scipy.spatial import cKDTree

from latticescape.analysis.kinetics.boltzmann import numbers
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

COLUMNS = ["frame", "particle", "row", "col"]

# Nearest sites: up to so many times the least distance.
REACH = 1.25

# An atom belongs to a site within half of the least distance. Of a film of other sites most do not.
MOST_ASTRAY = 0.1

# Hops between two frames. Sites of one type are corrected for unseen hops, up to where the
# correction outgrows the data; between several types only so large a share may be unseen.
MOST_HOPS = 1.5
MOST_SEVERAL = 0.05

# The generator of hops is diagonalised, in memory.
MOST_SITES = 3000


@dataclass(frozen=True)
class Sites:
    """Sites of a film, and which are neighbours.

    Attributes
    ----------
    positions
        (sites, 2), row and col.
    types
        (sites,).
    """

    positions: Floats
    types: Integers

    @cached_property
    def tree(self) -> Any:
        return cKDTree(self.positions)

    @cached_property
    def distance(self) -> float:
        """Distance of nearest sites."""
        return float(np.median(self.tree.query(self.positions, k=2)[0][:, 1]))

    @cached_property
    def adjacent(self) -> npt.NDArray[np.bool_]:
        """Which sites are nearest neighbours, (sites, sites)."""
        table = np.zeros((len(self.positions),) * 2, bool)
        pairs = self.tree.query_pairs(REACH * self.distance, output_type="ndarray")
        table[pairs[:, 0], pairs[:, 1]] = table[pairs[:, 1], pairs[:, 0]] = True
        return table

    @cached_property
    def inner(self) -> npt.NDArray[np.bool_]:
        """Sites with as many neighbours as any of their type: from others hops are not seen."""
        degree = self.adjacent.sum(axis=1)
        most = np.zeros(self.types.max() + 1, np.int64)
        np.maximum.at(most, self.types, degree)
        return np.asarray(degree == most[self.types])

    @cached_property
    def modes(self) -> tuple[Floats, Floats]:
        """Eigenvalues of the graph's Laplacian, and each site's squared share, (sites, modes)."""
        adjacent = self.adjacent.astype(np.float64)
        values, vectors = np.linalg.eigh(np.diag(adjacent.sum(axis=1)) - adjacent)
        return values, vectors**2

    @property
    def coordination(self) -> int:
        """Neighbours of an inner site."""
        return int(self.adjacent.sum(axis=1).max())

    def stay(self, hops: float, starts: Integers) -> float:
        """Probability to be found where one was, after a time of so many hops on average: with
        hops away and back, exp(−t·Laplacian) of random walks on the sites."""
        values, shares = self.modes
        return float((shares[starts] @ np.exp(-values * hops / self.coordination)).mean())


@dataclass(frozen=True)
class Intervals:
    """What happened between two frames: site before and after, (intervals,)."""

    before: Integers
    after: Integers


def hop_rates(
    tracks: Any,
    sites: Any,
    frame_time: float,
    *,
    types: Any = None,
) -> xr.Dataset:
    """Hops between sites and their rates, from adatoms followed through a film.

    Every atom belongs to the nearest site; two frames in a row are an interval. Between two frames
    an atom may hop twice, or away and back, unseen. On sites of one type that is corrected exactly,
    for random walks on the given sites: the rate is the one at which as many atoms stay as did. On
    sites of several types there is no such correction, and films with more than 5 % of moves made
    of several hops are refused. Atoms must not get in each other's way.

    Parameters
    ----------
    tracks
        Table with the columns ``frame``, ``particle``, ``row``, ``col`` (as trackpy's, renamed):
        DataFrame, mapping of arrays, or path of a CSV file. Frames are whole numbers.
    sites
        (sites, 2) positions, row and col in the unit of the tracks, or a Dataset of
        :func:`fit_sites` (its ``site_row``, ``site_col``). Intervals from sites at the edge, which
        lack neighbours, are left out.
    frame_time
        Time from frame to frame, s.
    types
        Type of every site, whole numbers from 0; by default one type.

    Returns
    -------
    Dataset
        Over ``site_type`` and ``to_site_type``: ``moves`` seen, ``hops`` (estimated), ``rate`` of
        an atom on a site of the type, all its bonds together, 1/s (with z bonds each has rate/z,
        and D = rate·a²/4), ``rate_se`` (Poisson, or binomial where corrected; for a rate without
        moves the rate of one). ``exposure`` (site_type), s. ``hops_per_frame``: mean hops of an
        atom between frames; ``several``: expected share of moves that are several hops;
        ``unseen``: hops per hop counted; ``far``: moves beyond nearest sites. attrs:
        ``coordination``, ``distance``, ``frame_time``, ``left_out`` (intervals at the edge).

    Raises
    ------
    RequestError
        If the table lacks columns or holds no finite numbers, an atom is twice in a frame, atoms
        do not sit on the sites, no interval is seen, or atoms hop too often between frames; the
        message says how many moved, and how many hops are allowed.

    Examples
    --------
    >>> sites = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    >>> tracks = {"frame": [0, 1, 2, 3], "particle": [0] * 4, "row": [2, 2, 2, 1], "col": [2] * 4}
    >>> found = hop_rates(tracks, sites, frame_time=10.0)
    >>> found.moves.item(), found.exposure.item(), round(found.rate.item(), 4)
    (1, 30.0, 0.0428)
    """
    seconds = float(numbers(frame_time, "frame_time", "s"))
    if seconds <= 0:
        raise RequestError("frame_time is not above 0", came=seconds, allowed="> 0, in s")
    places = _sites(sites, types)
    seen = _intervals(_table(tracks), places)
    inner = places.inner[seen.before]
    kept = Intervals(seen.before[inner], seen.after[inner])
    if not len(kept.before):
        raise RequestError(
            "no atom was seen in two frames in a row, away from the edge",
            came=f"{len(seen.before)} intervals, all from the edge",
            allowed="one interval or more",
        )
    found = _counted(kept, places, seconds)
    several = places.types.max() > 0
    estimated = _uncorrected(found, kept, places) if several else _corrected(found, kept, places)
    return estimated.assign_attrs(
        coordination=places.coordination,
        distance=places.distance,
        frame_time=seconds,
        left_out=int(np.count_nonzero(~inner)),
    )


def _table(tracks: Any) -> pd.DataFrame:
    table = pd.read_csv(tracks, comment="#") if isinstance(tracks, (str, Path)) else tracks
    table = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise RequestError(
            "tracks lack a column", came=", ".join(map(str, table.columns)), allowed=COLUMNS
        )
    values = numbers(table[COLUMNS].to_numpy(), "tracks")
    frame = pd.DataFrame(values, columns=COLUMNS)
    if np.any(frame["frame"] != np.floor(frame["frame"])):
        raise RequestError("frame holds what is no whole number", allowed="0, 1, 2, …")
    if frame.duplicated(["particle", "frame"]).any():
        row = frame[frame.duplicated(["particle", "frame"])].iloc[0]
        raise RequestError(
            "an atom is twice in a frame",
            came=f"particle {row['particle']:g} in frame {row['frame']:g}",
            allowed="one row an atom and frame",
        )
    return frame.sort_values(["particle", "frame"])


def _sites(sites: Any, types: Any) -> Sites:
    if isinstance(sites, xr.Dataset):
        placed = sites.isel(atom=np.flatnonzero(sites["on_lattice"].to_numpy()))
        sites = np.column_stack([placed["site_row"], placed["site_col"]])
    positions = numbers(sites, "sites")
    if positions.ndim != 2 or positions.shape[1] != 2 or not 2 <= len(positions) <= MOST_SITES:
        raise RequestError(
            "sites are no list of places",
            came=positions.shape,
            allowed=f"(sites, 2), 2 to {MOST_SITES} of them",
        )
    kinds = np.zeros(len(positions)) if types is None else numbers(types, "types")
    if kinds.shape != (len(positions),) or np.any((kinds < 0) | (kinds != np.floor(kinds))):
        raise RequestError(
            "types are not one a site", came=kinds.shape, allowed="whole numbers from 0"
        )
    return Sites(positions, kinds.astype(np.int64))


def _intervals(table: pd.DataFrame, places: Sites) -> Intervals:
    away, site = places.tree.query(table[["row", "col"]].to_numpy())
    on = away <= places.distance / 2
    if np.mean(~on) > MOST_ASTRAY:
        raise RequestError(
            "the atoms do not sit on the sites",
            came=f"{np.mean(~on):.0%} farther than half of {places.distance:.4g} from any",
            allowed=f"up to {MOST_ASTRAY:.0%}",
            hint="sites in the unit of the tracks, as (row, col)",
        )
    follows = (np.diff(table["particle"]) == 0) & (np.diff(table["frame"]) == 1)
    chosen = np.flatnonzero(follows & on[:-1] & on[1:])
    return Intervals(site[chosen].astype(np.int64), site[chosen + 1].astype(np.int64))


def _counted(seen: Intervals, places: Sites, seconds: float) -> xr.Dataset:
    kinds = int(places.types.max()) + 1
    near = places.adjacent[seen.before, seen.after]
    moves = np.zeros((kinds, kinds), np.int64)
    np.add.at(moves, (places.types[seen.before[near]], places.types[seen.after[near]]), 1)
    intervals = np.bincount(places.types[seen.before], minlength=kinds)
    moved = np.bincount(places.types[seen.before[seen.before != seen.after]], minlength=kinds)
    between = ("site_type", "to_site_type")
    return xr.Dataset(
        {
            "moves": (between, moves, {"units": "count"}),
            "moved": ("site_type", moved, {"units": "count"}),
            "intervals": ("site_type", intervals, {"units": "count"}),
            "exposure": ("site_type", intervals * seconds, {"units": "s"}),
            "far": int(np.count_nonzero(~near & (seen.before != seen.after))),
        },
        coords={"site_type": np.arange(kinds), "to_site_type": np.arange(kinds)},
    )


def _corrected(found: xr.Dataset, seen: Intervals, places: Sites) -> xr.Dataset:
    """Rate of sites of one type, from the share of atoms that stayed."""
    number, moved = int(found.intervals.item()), int(found.moved.item())
    starts, count = np.unique(seen.before, return_counts=True)
    drawn = np.repeat(starts, np.maximum(1, np.rint(count * min(1.0, 500 / number)).astype(int)))
    stayed = 1 - moved / number
    fewest = places.stay(MOST_HOPS, drawn)
    if stayed < fewest:
        raise _too_many(f"{moved} of {number} atoms moved from frame to frame", MOST_HOPS)
    hops = (
        brentq(lambda x: places.stay(x, drawn) - stayed, 0.0, MOST_HOPS, xtol=1e-12)
        if moved
        else 0.0
    )
    slope = (places.stay(hops + 1e-4, drawn) - places.stay(max(hops - 1e-4, 0.0), drawn)) / (
        1e-4 + min(hops, 1e-4)
    )
    # Without moves, as if there had been one.
    spread = np.sqrt(max(moved, 1) * max(number - moved, 1) / number) / number / abs(slope)
    seconds = found.exposure / found.intervals
    rate = (hops / seconds).broadcast_like(found.moves)
    return _told(found, rate, (spread / seconds).broadcast_like(found.moves), hops, moved / number)


def _uncorrected(found: xr.Dataset, seen: Intervals, places: Sites) -> xr.Dataset:
    """Rates between types, of films in which unseen hops do not count."""
    left = (found.moved / found.intervals.where(found.intervals > 0)).max().item()
    hops = -np.log(1 - left) if left < 1 else np.inf
    if several_hops(hops) > MOST_SEVERAL:
        raise _too_many(
            f"{left:.1%} of the atoms on one type moved from frame to frame, "
            f"{several_hops(hops):.1%} of these by several hops",
            2 * MOST_SEVERAL,
        )
    exposure = found.exposure.where(found.exposure > 0)
    rate = found.moves / exposure
    spread = np.sqrt(found.moves.clip(min=1)) / exposure
    return _told(found, rate, spread, hops, left)


def _told(
    found: xr.Dataset, rate: xr.DataArray, spread: xr.DataArray, hops: float, moved: float
) -> xr.Dataset:
    return found.drop_vars(["moved", "intervals"]).assign(
        hops=(rate * found.exposure).transpose("site_type", "to_site_type"),
        rate=rate.assign_attrs(units="1/s", long_name="hop rate of an atom"),
        rate_se=spread.assign_attrs(units="1/s", long_name="standard error of the rate"),
        hops_per_frame=hops,
        several=several_hops(hops),
        unseen=hops / moved if moved else 1.0,
    )


def several_hops(hops: float) -> float:
    """Of intervals with a hop, the share with several, if so many happen on average.

    Examples
    --------
    >>> round(several_hops(0.1), 3)
    0.049
    """
    return float(1 - hops / np.expm1(hops)) if 0 < hops < np.inf else float(hops > 0)


def _too_many(came: str, most: float) -> RequestError:
    return RequestError(
        "atoms hop several times between two frames, too often to be told apart",
        came=came,
        allowed=f"up to {most:g} hops of an atom between two frames",
        hint="a shorter frame_time, or a lower temperature",
    )
