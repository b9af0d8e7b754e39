from .execution.extend import extend as extend
from .execution.run import IncompleteError as IncompleteError
from .execution.run import run as run
from .execution.submit import cancel as cancel
from .execution.submit import submit as submit
from .functions.function import FunctionKernel as FunctionKernel
from .functions.function import kernel as kernel
from .spec.designs import latin_hypercube as latin_hypercube
from .spec.designs import sobol as sobol
from .spec.plan import Plan as Plan
from .spec.plan import measure_rate as measure_rate
from .spec.plan import plan as plan
from .spec.sweep import Sweep as Sweep
from .store.catalogue import StoreSummary as StoreSummary
from .store.catalogue import catalogue as catalogue
from .store.consolidate import Consolidated as Consolidated
from .store.consolidate import consolidate as consolidate
from .store.export import Exported as Exported
from .store.export import export as export
from .store.label import Label as Label
from .store.label import label as label
from .store.merge import Merged as Merged
from .store.merge import merge as merge
from .store.status import Status as Status
from .store.status import status as status
from .store.store import open_sweep as open_sweep
from .store.verify import verify as verify

__all__ = [
    "Consolidated",
    "Exported",
    "FunctionKernel",
    "IncompleteError",
    "Label",
    "Merged",
    "Plan",
    "Status",
    "StoreSummary",
    "Sweep",
    "cancel",
    "catalogue",
    "consolidate",
    "export",
    "extend",
    "kernel",
    "label",
    "latin_hypercube",
    "measure_rate",
    "merge",
    "open_sweep",
    "plan",
    "run",
    "sobol",
    "status",
    "submit",
    "verify",
]
