"""Kernels that fail, or kill their worker, at chosen points."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from latticescape.physics.errors import CancelCheck, never_cancelled
from latticescape.physics.kernels.lattice_kernel import LatticeKernel

Axes = Mapping[str, npt.NDArray[np.float64]]
Before = Callable[[Axes], None]

# A warm-up measures so often, and no test here.
WARM_UP_SAMPLES = 2


def preceded(patch: pytest.MonkeyPatch, before: Before) -> list[list[tuple[float, ...]]]:
    """Have a function called before every computation in this process; the points it was called
    with, call by call."""
    compute, calls = LatticeKernel.compute, list[list[tuple[float, ...]]]()

    def faulty(
        self: LatticeKernel,
        points: Axes,
        seeds: npt.NDArray[np.uint64],
        cancel_check: CancelCheck = never_cancelled,
    ) -> dict[str, npt.NDArray[Any]]:
        if self.schedule.samples > WARM_UP_SAMPLES:
            calls.append([*zip(*(values.tolist() for values in points.values()), strict=True)])
            before(points)
        return compute(self, points, seeds, cancel_check)

    patch.setattr(LatticeKernel, "compute", faulty)
    return calls


# A preload script of workers in processes of their own, which no patch of a test's reaches, with
# the file that tells where to fail. A nanny runs it again in every worker that it starts anew.
PRELOAD = """
import os, signal
from pathlib import Path
from latticescape.physics.kernels.lattice_kernel import LatticeKernel

compute = LatticeKernel.__dict__.get("sound", LatticeKernel.compute)

def faulty(self, points, seeds, *watch):
    text = Path({path!r})
    for line in text.read_text().splitlines() if text.exists() else []:
        kind, temperature, field = line.split()
        if self.schedule.samples > 2 and any(
            (t, h) == (float(temperature), float(field))
            for t, h in zip(points["T"], points["H"], strict=True)
        ):
            if kind == "kills":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError(f"no point at {{temperature}}, {{field}}")
    return compute(self, points, seeds, *watch)

LatticeKernel.sound, LatticeKernel.compute = compute, faulty  # a worker may run this twice
"""
