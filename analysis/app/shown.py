"""``Shown``: what is browsed, shared by everybody who looks."""

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr

from latticescape.analysis.app.export import Sources
from latticescape.analysis.app.reader import Reader
from latticescape.analysis.app.snapshot_pane import Simulate

# Landscapes of larger sweeps take longer than one waits for a page.
MOST_LANDSCAPE_POINTS = 20_000


@dataclass
class Shown:
    """What is browsed.

    Attributes
    ----------
    reader
        The sweep.
    sources
        Where it came from.
    observed
        Counts per image, or None.
    scape_of
        The landscape of a sweep's Dataset; None if there is nothing observed.
    posterior
        Samples of the parameters, or None.
    simulate
        Spins (site) at a place on the axes, or None.
    """

    reader: Reader
    sources: Sources
    observed: xr.Dataset | None = None
    scape_of: Callable[[xr.Dataset], xr.Dataset] | None = None
    posterior: xr.Dataset | None = None
    simulate: Simulate | None = None
    _scape: tuple[int, xr.Dataset] | None = None

    @property
    def too_many(self) -> bool:
        """Whether a landscape would take too long, and none was given."""
        points = self.reader.done.size
        return self.sources.scape is None and points > MOST_LANDSCAPE_POINTS

    def scape(self) -> xr.Dataset | None:
        """The landscape, computed anew when points have been done since."""
        if self.scape_of is None or self.too_many:
            return None
        version = self.reader.version
        if self._scape is None or self._scape[0] != version:
            self._scape = version, self.scape_of(self.reader.ds)
        return self._scape[1]
