"""A parameter grid in, an xarray Dataset in a zarr store out; on Dask, resumable."""

from physics.parameters import Parameter
from physics.variables import Variable
from sweeps.cost import calibrate
from sweeps.function import FunctionKernel, kernel
from sweeps.pack import Packed, pack
from sweeps.plan import Plan, plan
from sweeps.run import IncompleteError, run
from sweeps.spec import Sweep
from sweeps.status import Status, status
from sweeps.store import open_sweep
from sweeps.submit import cancel, submit
from sweeps.verify import verify

__all__ = [
    "FunctionKernel",
    "IncompleteError",
    "Packed",
    "Parameter",
    "Plan",
    "Status",
    "Sweep",
    "Variable",
    "calibrate",
    "cancel",
    "kernel",
    "open_sweep",
    "pack",
    "plan",
    "run",
    "status",
    "submit",
    "verify",
]
