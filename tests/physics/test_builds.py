"""The same bits from every build: what a laptop, a cluster and a continuous integration would run.

Each build is a process of its own with an empty cache. Numba compiles it for the processor that it
is told, NumPy and the C library take the code that such a processor would take, and the registers
are as wide as there. Processors of another architecture cannot be run here; that the vectors become
theirs is read from LLVM's assembly.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from latticescape.physics.kernels.multispin.heat_bath import HOT
from latticescape.physics.kernels.multispin.simd import I64, WORDS, Emitter
from latticescape.physics.kernels.multispin.thresholds import Trial, draw, passed
from tests.support.small_runs import digests, vector_registers

ROOT = Path(__file__).parents[2]

HOST = {name for name, present in llvm.get_host_cpu_features().items() if present}
DISPATCHED = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])


@dataclass(frozen=True)
class Build:
    """A processor by LLVM's name, what this machine needs to run its code, and what it lacks.

    ``numpy_lacks`` are beginnings of NumPy's names, ``libm_lacks`` names of the GNU C library's
    tunables; ``words`` and ``registers`` are what its kernels must work with, in these runs.
    """

    processor: str
    needs: frozenset[str]
    lacks: tuple[str, ...]
    numpy_lacks: tuple[str, ...]
    libm_lacks: str
    words: int
    registers: list[str]
    runs: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        numpy_lacks = [name for name in DISPATCHED if name.startswith(self.numpy_lacks)]
        return {
            "NUMBA_CPU_NAME": self.processor,
            "NUMBA_CPU_FEATURES": "",
            "NPY_DISABLE_CPU_FEATURES": " ".join(numpy_lacks),
            "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={self.libm_lacks}",
        }


EVERY = ("",)
AVX2, AVX512 = frozenset({"avx2", "bmi2", "fma"}), frozenset({"avx512f", "avx512bw", "avx512vl"})
# The generic processor runs every kind of kernel. Another one differs from it in what LLVM makes of
# the same code, so it runs fewer. One like this processor only shows its registers: this process
# itself is a build for it.
FLOATS = ("square", "reference", "tempering", "clusters")
EACH = (*FLOATS, "square, random bonds", "pair alloy")
SHOWN = ("square", "reference")
FURTHER = ("square, no field", "square, four shells", "square, random signs", "three-body alloy")
BUILDS = [
    Build(
        "generic",
        frozenset(),
        ("avx512f",),
        EVERY,
        "-AVX2,-FMA,-FMA4",
        words=4,
        registers=["xmm"],
        runs=EACH + FURTHER,
    ),
    Build(
        "haswell",
        AVX2,
        ("avx512f",),
        ("AVX512", "X86_V4"),
        "-AVX512F",
        words=4,
        registers=["xmm", "ymm"],
        runs=FLOATS if AVX512 <= HOST else SHOWN,
    ),
    Build(
        "skylake-avx512",
        AVX2 | AVX512,
        (),
        (),
        "",
        words=8,
        registers=["xmm", "ymm", "zmm"],
        runs=SHOWN,
    ),
]
RUNNABLE = [build for build in BUILDS if build.needs <= HOST]


@pytest.mark.slow
@pytest.mark.parametrize("build", RUNNABLE, ids=lambda build: build.processor)
def test_every_build_yields_the_same_bits(build: Build, tmp_path: Path) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "NPY_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.small_runs", json.dumps(build.runs), *build.lacks],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**inherited, **build.environment, "NUMBA_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["digests"] == digests(build.runs)
    assert report["words"] == build.words
    if "sse2" in HOST:
        assert report["registers"] == build.registers


X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"


@pytest.mark.parametrize(
    ("triple", "processor", "words", "registers"),
    [
        (X86, "x86-64", 4, ["xmm"]),
        (X86, "haswell", 4, ["ymm"]),
        (X86, "skylake-avx512", 8, ["zmm"]),
        (ARM, "neoverse-n1", 4, ["v"]),
        (ARM, "apple-m1", 4, ["v"]),
    ],
)
def test_a_site_update_is_vector_code_on_every_processor(
    triple: str, processor: str, words: int, registers: list[str]
) -> None:
    """Emitted for processors that need not be this one, and so not run."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3)
    assembly = target.emit_assembly(llvm.parse_assembly(site_update(triple, words)))
    assert vector_registers([assembly]) == registers


def site_update(triple: str, words: int) -> str:
    """LLVM code that draws one site anew, from thresholds that are the same in all lanes."""
    module = ir.Module()
    module.triple = triple
    word = I64.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * 3), "site_update")
    builder = ir.IRBuilder(function.append_basic_block())
    e = Emitter(None, builder, words)
    state, thresholds, spins = function.args
    fresh, after = draw(e, [e.load(state, WORDS * row) for row in range(4)])
    trial = Trial(lambda plane: e.load(thresholds, WORDS * plane), fresh, e.zero)
    e.store(passed(e, [trial], HOT)[0], spins, 0)
    for row, value in enumerate(after):
        e.store(value, state, WORDS * row)
    builder.ret_void()
    return str(module)
