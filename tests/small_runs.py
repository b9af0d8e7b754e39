"""Small runs of every lattice kind, their digests, and what machine code they were compiled to.

``python -m tests.small_runs [HIDDEN ...]`` prints them as JSON, on a processor that lacks the
hidden features; environment variables of Numba and NumPy choose what is compiled and dispatched.
"""

import hashlib
import json
import re
import sys
from collections.abc import Collection, Iterable

import llvmlite.binding as llvm
import numpy as np

from physics import (
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
from physics.observables import observe
from physics.sampler import complete
from physics.simd import native_width
from physics.single_flip import heat_bath
from tests.statistics import seed_of

SCHEDULE = Schedule(equilibration_mcs=5, samples=4, stride_mcs=2)
FIELD = {"T": [1.9, 2.3, 4.0], "H": [0.3, 0.0, -0.1]}
RUNS: dict[str, tuple[Model, Lattice, dict[str, list[float]]]] = {
    "square": (Ising(), square(6), FIELD),
    "square, no field": (Ising(), square(6), {"T": [2.0, 2.4]}),
    "square, two shells": (Ising(J2=0.3), square(5), FIELD),
    "triangular": (Ising(), triangular(5), FIELD),
    "honeycomb": (Ising(), honeycomb(4), FIELD),
    "cubic": (Ising(), cubic(4), FIELD),
    "pair alloy": (PairAlloy(x=0.5, w1=0.3), triangular(6), {"w2": [-0.2, 0.1]}),
    "three-body alloy": (ThreeBodyAlloy(x=0.5, w1=0.3), triangular(6), {"w2": [-0.2, 0.1]}),
}
VECTOR = re.compile(r"%([xyz]mm)\d|\b(v)\d+\.(?:2d|16b)")


def digests() -> dict[str, str]:
    """SHA-256 of everything that each run yields: sums, and the floats derived from them."""
    return {name: _digest(*run) for name, run in RUNS.items()}


def _digest(model: Model, lattice: Lattice, axes: dict[str, list[float]]) -> str:
    points = {name: np.array(values) for name, values in axes.items()}
    number = len(next(iter(axes.values())))
    seeds = np.stack([seed_of(9, point) for point in range(number)])
    sums = sample(model, lattice, points, SCHEDULE, seeds)
    full = complete(model, points, number)
    arrays = [sums.feature_sum, sums.feature_first_half, sums.moment_sum, sums.histogram]
    arrays += observe(sums, model.couplings(full, sums.features), full["T"]).values()
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def vector_registers(assembly: Iterable[str]) -> list[str]:
    """The kinds of vector registers that assembly code names, NEON's as v."""
    return sorted({"".join(found) for text in assembly for found in VECTOR.findall(text)})


def main(hidden: Collection[str]) -> None:
    features = llvm.get_host_cpu_features()
    for name in hidden:
        features[name] = False
    llvm.get_host_cpu_features = lambda: features
    found = digests()
    told = {"digests": found, "registers": vector_registers(heat_bath.inspect_asm().values())}
    print(json.dumps(told | {"words": len(native_width())}))


if __name__ == "__main__":
    main(sys.argv[1:])
