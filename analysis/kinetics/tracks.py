"""Hops and their rates from tracks of adatoms through the frames of a film."""

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

from latticescape.analysis.checks import check_has
from latticescape.analysis.kinetics.boltzmann import finite_numbers
from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

COLUMNS = ["frame", "particle", "row", "col"]

# Nearest sites are up to this many times the smallest distance from each other.
REACH = 1.25

# An atom belongs to a site within half of the smallest distance. If the sites are wrong, more than
# this share of the atoms belongs to none.
MOST_OFF_SITE = 0.1

# Most hops between two frames. On sites of one type unobserved hops are corrected, up to where the
# correction exceeds the data; with several types only this share may be multiple hops.
MOST_HOPS = 1.5
MOST_SEVERAL = 0.05

# The generator of hops is diagonalised in memory.
MOST_SITES = 3000


@dataclass(frozen=True)
class Sites:
    """Sites of a film and their neighbourhood.

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
        """Sites with the most neighbours of their type; from other sites hops are missed."""
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
        """Probability of an atom being at its starting site after a mean number of hops.

        Includes hops away and back: exp(−t·Laplacian) of random walks on the sites.
        """
        values, shares = self.modes
        return float((shares[starts] @ np.exp(-values * hops / self.coordination)).mean())


@dataclass(frozen=True)
class Intervals:
    """Sites of atoms in two consecutive frames, before and after, (intervals,)."""

    before: Integers
    after: Integers


def hop_rates(
    tracks: Any,
    sites: Any,
    frame_time: float,
    *,
    types: Any = None,
) -> xr.Dataset:
    """Hops between sites and their rates from adatoms tracked through a film.

    Every atom belongs to the nearest site; two consecutive frames are an interval. Between them an
    atom may hop twice, or away and back, without being observed. On sites of one type this is
    corrected exactly for random walks on these sites: the rate is the one at which the observed
    share of atoms stays. On sites of several types there is no such correction, and films in which
    more than 5 % of the moves consist of several hops are refused. Atoms must not block each other.

    Parameters
    ----------
    tracks
        Table with the columns ``frame``, ``particle``, ``row``, ``col`` (those of trackpy,
        renamed): DataFrame, mapping of arrays, or path of a CSV file. Frames are whole numbers.
    sites
        (sites, 2) positions, row and col in the unit of the tracks, or a Dataset of
        :func:`fit_sites` (its ``site_row``, ``site_col``). Intervals that start at the edge, where
        neighbours are missing, are left out.
    frame_time
        Time between frames, s.
    types
        Type of every site, whole numbers from 0; by default one type.

    Returns
    -------
    Dataset
        Over ``site_type`` and ``to_site_type``: observed ``moves``, estimated ``hops``, ``rate`` of
        an atom on a site of the type, over all its bonds, 1/s (with z bonds each has rate/z, and
        D = rate·a²/4), ``rate_se`` (Poisson, or binomial where corrected; for a rate without moves
        the rate of one move). ``exposure`` (site_type), s. ``hops_per_frame``: mean hops of an
        atom between frames; ``several``: expected share of moves that are several hops;
        ``unseen``: hops per observed hop; ``distant``: moves to sites that are not nearest
        neighbours. attrs: ``coordination``, ``distance``, ``frame_time``, ``left_out`` (intervals
        at the edge).

    Raises
    ------
    RequestError
        If the table lacks columns or has values that are not finite, an atom occurs twice in a
        frame, atoms are not on the sites, there is no interval, or atoms hop too often between
        frames; the message states how many moved, and how many hops are allowed.

    Examples
    --------
    >>> sites = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    >>> tracks = {"frame": [0, 1, 2, 3], "particle": [0] * 4, "row": [2, 2, 2, 1], "col": [2] * 4}
    >>> ds = hop_rates(tracks, sites, frame_time=10.0)
    >>> ds.moves.item(), ds.exposure.item(), round(ds.rate.item(), 4)
    (1, 30.0, 0.0428)
    """
    seconds = float(finite_numbers(frame_time, "frame_time", "s", above_zero=True))
    places = _sites(sites, types)
    table = _table(tracks)
    distances, site = places.tree.query(table[["row", "col"]].to_numpy())
    on = distances <= places.distance / 2
    if np.mean(~on) > MOST_OFF_SITE:
        came = f"{np.mean(~on):.0%} more than half of {places.distance:.4g} from any site"
        hint = "sites in the unit of the tracks, as (row, col)"
        allowed = f"up to {MOST_OFF_SITE:.0%}"
        raise RequestError("the atoms are not on the sites", came=came, allowed=allowed, hint=hint)
    follows = (np.diff(table["particle"]) == 0) & (np.diff(table["frame"]) == 1)
    first = np.flatnonzero(follows & on[:-1] & on[1:])
    intervals = Intervals(site[first].astype(np.int64), site[first + 1].astype(np.int64))
    inner = places.inner[intervals.before]
    kept = Intervals(intervals.before[inner], intervals.after[inner])
    if not len(kept.before):
        problem = "no atom is in two consecutive frames away from the edge"
        came = f"{len(intervals.before)} intervals, all from the edge"
        raise RequestError(problem, came=came, allowed="one interval or more")
    counted = _count_moves(kept, places, seconds)
    rates_of = _uncorrected if places.types.max() > 0 else _corrected
    return rates_of(counted, kept, places).assign_attrs(
        coordination=places.coordination,
        distance=places.distance,
        frame_time=seconds,
        left_out=int(np.count_nonzero(~inner)),
    )


def _table(tracks: Any) -> pd.DataFrame:
    table = pd.read_csv(tracks, comment="#") if isinstance(tracks, (str, Path)) else tracks
    table = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
    check_has(table.columns, COLUMNS, "tracks lack a column")
    values = finite_numbers(table[COLUMNS].to_numpy(), "tracks")
    frame = pd.DataFrame(values, columns=COLUMNS)
    if np.any(frame["frame"] != np.floor(frame["frame"])):
        raise RequestError("frame must be whole numbers", allowed="0, 1, 2, …")
    if frame.duplicated(["particle", "frame"]).any():
        row = frame[frame.duplicated(["particle", "frame"])].iloc[0]
        came = f"particle {row['particle']:g} in frame {row['frame']:g}"
        raise RequestError("an atom occurs twice in a frame", came=came, allowed="one row per atom")
    return frame.sort_values(["particle", "frame"])


def _sites(sites: Any, types: Any) -> Sites:
    if isinstance(sites, xr.Dataset):
        placed = sites.isel(atom=np.flatnonzero(sites["on_lattice"].to_numpy()))
        sites = np.column_stack([placed["site_row"], placed["site_col"]])
    positions = finite_numbers(sites, "sites")
    if positions.ndim != 2 or positions.shape[1] != 2 or not 2 <= len(positions) <= MOST_SITES:
        allowed = f"(sites, 2), 2 to {MOST_SITES} of them"
        raise RequestError("sites must be positions", came=positions.shape, allowed=allowed)
    kinds = np.zeros(len(positions)) if types is None else finite_numbers(types, "types")
    if kinds.shape != (len(positions),) or np.any((kinds < 0) | (kinds != np.floor(kinds))):
        problem = "types need one number per site"
        raise RequestError(problem, came=kinds.shape, allowed="whole numbers from 0")
    return Sites(positions, kinds.astype(np.int64))


def _count_moves(seen: Intervals, places: Sites, seconds: float) -> xr.Dataset:
    kinds = int(places.types.max()) + 1
    near = places.adjacent[seen.before, seen.after]
    moves = np.zeros((kinds, kinds), np.int64)
    np.add.at(moves, (places.types[seen.before[near]], places.types[seen.after[near]]), 1)
    intervals = np.bincount(places.types[seen.before], minlength=kinds)
    moved = np.bincount(places.types[seen.before[seen.before != seen.after]], minlength=kinds)
    return xr.Dataset(
        {
            "moves": (("site_type", "to_site_type"), moves, {"units": "count"}),
            "moved": ("site_type", moved, {"units": "count"}),
            "intervals": ("site_type", intervals, {"units": "count"}),
            "exposure": ("site_type", intervals * seconds, {"units": "s"}),
            "distant": int(np.count_nonzero(~near & (seen.before != seen.after))),
        },
        coords={"site_type": np.arange(kinds), "to_site_type": np.arange(kinds)},
    )


def _corrected(counted: xr.Dataset, seen: Intervals, places: Sites) -> xr.Dataset:
    """Rate on sites of one type, from the share of atoms that stayed."""
    number, moved = int(counted.intervals.item()), int(counted.moved.item())
    starts, count = np.unique(seen.before, return_counts=True)
    sample = np.repeat(starts, np.maximum(1, np.rint(count * min(1.0, 500 / number)).astype(int)))
    stayed = 1 - moved / number
    if stayed < places.stay(MOST_HOPS, sample):
        raise _too_many_hops(f"{moved} of {number} atoms moved from frame to frame", MOST_HOPS)
    hops = (
        brentq(lambda x: places.stay(x, sample) - stayed, 0.0, MOST_HOPS, xtol=1e-12)
        if moved
        else 0.0
    )
    slope = (places.stay(hops + 1e-4, sample) - places.stay(max(hops - 1e-4, 0.0), sample)) / (
        1e-4 + min(hops, 1e-4)
    )
    # Without moves, the error is that of a single move.
    spread = np.sqrt(max(moved, 1) * max(number - moved, 1) / number) / number / abs(slope)
    seconds = counted.exposure / counted.intervals
    rate = (hops / seconds).broadcast_like(counted.moves)
    errors = (spread / seconds).broadcast_like(counted.moves)
    return _with_rates(counted, rate, errors, hops, moved / number)


def _uncorrected(counted: xr.Dataset, seen: Intervals, places: Sites) -> xr.Dataset:
    """Rates between types, of films in which unobserved hops are negligible."""
    moved = (counted.moved / counted.intervals.where(counted.intervals > 0)).max().item()
    hops = -np.log(1 - moved) if moved < 1 else np.inf
    if several_hops(hops) > MOST_SEVERAL:
        raise _too_many_hops(
            f"{moved:.1%} of the atoms on one type moved from frame to frame, "
            f"{several_hops(hops):.1%} of these by several hops",
            2 * MOST_SEVERAL,
        )
    exposure = counted.exposure.where(counted.exposure > 0)
    errors = np.sqrt(counted.moves.clip(min=1)) / exposure
    return _with_rates(counted, counted.moves / exposure, errors, hops, moved)


def _with_rates(
    counted: xr.Dataset, rate: xr.DataArray, errors: xr.DataArray, hops: float, moved: float
) -> xr.Dataset:
    return counted.drop_vars(["moved", "intervals"]).assign(
        hops=(rate * counted.exposure).transpose("site_type", "to_site_type"),
        rate=rate.assign_attrs(units="1/s", long_name="hop rate of an atom"),
        rate_se=errors.assign_attrs(units="1/s", long_name="standard error of the rate"),
        hops_per_frame=hops,
        several=several_hops(hops),
        unseen=hops / moved if moved else 1.0,
    )


def several_hops(hops: float) -> float:
    """Share of the intervals with a hop that have several, for a mean number of hops.

    Examples
    --------
    >>> round(several_hops(0.1), 3)
    0.049
    """
    return float(1 - hops / np.expm1(hops)) if 0 < hops < np.inf else float(hops > 0)


def _too_many_hops(came: str, most: float) -> RequestError:
    problem = "atoms hop several times between two frames, too often to be distinguished"
    allowed = f"up to {most:g} hops per atom between two frames"
    hint = "a shorter frame_time, or a lower temperature"
    return RequestError(problem, came=came, allowed=allowed, hint=hint)
