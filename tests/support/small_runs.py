"""Small runs of every lattice kind, their digests, and what machine code they were compiled to.

``python -m tests.support.small_runs RUNS [HIDDEN ...]`` prints those of some runs (names in a JSON
list) as JSON, on a processor that lacks the hidden features; environment variables of Numba and
NumPy choose what is compiled and dispatched.
"""

import hashlib
import json
import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace

import llvmlite.binding as llvm
import numpy as np

from latticescape.physics import (
    Ising,
    Lattice,
    Model,
    PairAlloy,
    Schedule,
    ThreeBodyAlloy,
    cubic,
    honeycomb,
    sample,
    square,
    triangular,
)
from latticescape.physics.kernels.kernel import complete
from latticescape.physics.kernels.lattice_kernel import REFERENCE
from latticescape.physics.kernels.multispin.heat_bath import heat_bath
from latticescape.physics.kernels.multispin.simd import native_width
from latticescape.physics.kernels.observables import observe
from tests.support.statistics import seeds_of

FIELD = {"T": [1.9, 2.3, 4.0], "H": [0.3, 0.0, -0.1]}
COLD = {"T": [2.0, 2.4]}
BONDS = {"distribution": "normal", "mean": 1.0, "sd": 0.5}
SIGNS = {"distribution": "bimodal"}
SHORT = Schedule(equilibration_mcs=5, samples=4, stride_mcs=2)
ENERGIES = {"w2": [-0.2, 0.1]}


@dataclass(frozen=True)
class SmallRun:
    """What is handed to ``sample``."""

    model: Model
    lattice: Lattice
    axes: dict[str, list[float]]
    schedule: Schedule = SHORT
    kernel: str | None = None


RUNS = {
    "square": SmallRun(Ising(), square(6), FIELD),
    "square, no field": SmallRun(Ising(), square(6), COLD),
    "square, two shells": SmallRun(Ising(J2=0.3), square(5), FIELD),
    "square, four shells": SmallRun(Ising(J=[1.0, 0.3, -0.2, 0.1]), square(5), FIELD),
    "square, Metropolis": SmallRun(Ising(), square(6), FIELD, replace(SHORT, rule="metropolis")),
    "square, random bonds": SmallRun(Ising(bonds=BONDS, realisation=0), square(5), FIELD),
    "square, random signs": SmallRun(Ising(bonds=SIGNS, realisation=0), square(5), FIELD),
    "triangular": SmallRun(Ising(), triangular(5), FIELD),
    "honeycomb": SmallRun(Ising(), honeycomb(4), FIELD),
    "cubic": SmallRun(Ising(), cubic(4), FIELD),
    "pair alloy": SmallRun(PairAlloy(x=0.5, w1=0.3), triangular(6), ENERGIES),
    "three-body alloy": SmallRun(ThreeBodyAlloy(x=0.5, w1=0.3), triangular(6), ENERGIES),
    "reference": SmallRun(ThreeBodyAlloy(x=0.5, w1=0.3), triangular(6), ENERGIES, kernel=REFERENCE),
    "tempering": SmallRun(Ising(), square(6), COLD, Schedule(5, 4, 2, tempering_mcs=2)),
    "clusters": SmallRun(Ising(), square(6), COLD, Schedule(5, 4, 2, update="cluster")),
}
VECTOR = re.compile(r"%([xyz]mm)\d|\b(v)\d+\.(?:2d|16b)")


def digests(names: Collection[str] = tuple(RUNS)) -> dict[str, str]:
    """SHA-256 of everything that each run yields: sums, and the floats derived from them."""
    return {name: _digest(RUNS[name]) for name in names}


def _digest(run: SmallRun) -> str:
    points = {name: np.array(values) for name, values in run.axes.items()}
    number = len(next(iter(points.values())))
    seeds = seeds_of(9, points=number)
    sums = sample(run.model, run.lattice, points, run.schedule, seeds, kernel=run.kernel)
    full = complete(run.model, points, number)
    found = [getattr(sums, field.name) for field in fields(sums)]
    arrays = [value for value in found if isinstance(value, np.ndarray)]
    arrays += observe(sums, run.model.coefficients(full, sums.features), full["T"]).values()
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def vector_registers(assembly: Iterable[str]) -> list[str]:
    """The kinds of vector registers that assembly code names, NEON's as v."""
    return sorted({"".join(found) for text in assembly for found in VECTOR.findall(text)})


def main(names: Collection[str], hidden: Collection[str]) -> None:
    features = llvm.get_host_cpu_features()
    for name in hidden:
        features[name] = False
    llvm.get_host_cpu_features = lambda: features
    report = {"digests": digests(names), "words": len(native_width())}
    report["registers"] = vector_registers(heat_bath.inspect_asm().values())
    print(json.dumps(report))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
