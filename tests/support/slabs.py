"""A small slab's sweep, and the file of its sources."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latticescape.physics import Schedule, SegregationSlab, slab
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.run import execute

# Hollows of eight configurations, and the profile, at the published energies.
DATA: Mapping[str, Any] = {
    "SO": [24, 121, 41, 45, 23, 2],
    "SN": [10, 52, 71, 52, 68, 3],
    "PR": {"value": [0.4213, 0.3736, 0.3587, 0.3588, 0.3621, 0.3755], "error": [0.02] * 6},
}
ENERGIES = {"w_CL": 1.65, "w_LL": 6.28, "w_LO": -7.57}
W_LL = np.linspace(3.4, 9.4, 5)

SOURCES = """\
[SO]
table = "counts.csv"
column = "with"

[SN]
table = "counts.csv"
column = "without"

[PR]
table = "profile.csv"
column = "ca"
error = 0.02
"""


def slab_sweep(grid: Mapping[str, Any], seed: int = 3, **energies: float) -> Sweep:
    """Energies besides those of the grid: the published ones, or as given."""
    fixed = {name: value for name, value in {**ENERGIES, **energies}.items() if name not in grid}
    schedule = Schedule(equilibration_mcs=60, samples=30, stride_mcs=5)
    return Sweep(slab(8, 6), SegregationSlab(**fixed), grid, schedule, seed)


def slab_store(path: Path, grid: Mapping[str, Any], **energies: float) -> Path:
    """The computed store of a sweep."""
    execute(slab_sweep(grid, **energies), path, progress=False)
    return path


def sources_file(folder: Path, text: str = SOURCES) -> Path:
    """``sources.toml`` with its tables beside it."""
    rows = zip(DATA["SO"], DATA["SN"], strict=True)
    counts = "".join(f"{with_},{without}\n" for with_, without in rows)
    (folder / "counts.csv").write_text("with,without\n" + counts)
    (folder / "profile.csv").write_text("ca\n" + "".join(f"{v}\n" for v in DATA["PR"]["value"]))
    path = folder / "sources.toml"
    path.write_text(text)
    return path
