"""Targets and budgets that can be asked for."""

from collections.abc import Mapping

import numpy as np

from latticescape.analysis.inference.estimation.deviance import Deviance
from latticescape.physics.errors import RequestError


def check_target(target: Mapping[str, float], told: Deviance) -> None:
    if not target:
        raise RequestError(
            "no target error is given", allowed=" | ".join(told.names), hint='{"w1": 0.005}'
        )
    for name, error in target.items():
        if name not in told.names:
            raise RequestError(
                f"no target can be set for {name}: the landscape has no such axis",
                came=name,
                allowed=" | ".join(told.names) + ", each of more than one value",
                hint=f"--target {(*told.names, 'w1')[0]}=0.005",
            )
        number = isinstance(error, (int, float, np.floating)) and not isinstance(error, bool)
        if not number or not 0 < error < np.inf:
            raise RequestError(
                f"the target error of {name} is not above 0",
                came=error,
                allowed="a number above 0, in the units of the parameter",
                hint=f"--target {name}=0.005",
            )


def check_budget(budget: int | None) -> None:
    if budget is None:
        return
    if isinstance(budget, bool) or not isinstance(budget, (int, np.integer)) or budget < 1:
        raise RequestError(
            "the budget is no whole number of points above 0",
            came=budget,
            allowed="1 or more",
            hint="--budget 100",
        )
