"""A parameter grid in, an xarray Dataset in a zarr store out; on Dask, resumable."""

from sweeps.cost import calibrate
from sweeps.plan import Plan, plan
from sweeps.run import IncompleteError, run
from sweeps.spec import Sweep
from sweeps.store import open_sweep

__all__ = ["IncompleteError", "Plan", "Sweep", "calibrate", "open_sweep", "plan", "run"]
