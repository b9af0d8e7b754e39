"""A parameter grid in, an xarray Dataset in a zarr store out; on Dask, resumable."""

from physics.parameters import Parameter
from physics.variables import Variable
from sweeps.cost import calibrate
from sweeps.function import FunctionKernel, kernel
from sweeps.plan import Plan, plan
from sweeps.run import IncompleteError, run
from sweeps.spec import Sweep
from sweeps.store import open_sweep

__all__ = [
    "FunctionKernel",
    "IncompleteError",
    "Parameter",
    "Plan",
    "Sweep",
    "Variable",
    "calibrate",
    "kernel",
    "open_sweep",
    "plan",
    "run",
]
