"""A wrong request costs one line that says what came and what is allowed, and leaves nothing."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from distributed import Client, LocalCluster

from latticescape.analysis import statistical_distance
from latticescape.deploy.cli.main import main
from latticescape.physics import Ising, Parameter, Schedule, Variable, square
from latticescape.physics.errors import RequestError
from latticescape.physics.kernels.lattice_kernel import sample
from latticescape.sweeps import Sweep, kernel
from latticescape.sweeps.execution.run import execute
from latticescape.sweeps.execution.worker_code import ForeignWorkerError
from latticescape.sweeps.execution.workers import at_address, check_workers
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.atomic_write import atomic_write
from latticescape.sweeps.store.store import Store, create
from tests.support.own_kernels import logistic, percolation
from tests.support.runs import SPEC

ROOT = Path(__file__).parents[2]
WORKERS = "latticescape.sweeps.execution.workers"

ISING = SPEC.lstrip().replace("2.27, 3.0", "2.27")

ALLOY = """\
[lattice]
kind = "honeycomb"
size = 4
[model]
kind = "pair_alloy"
[grid]
x = [0.25, 0.5]
w1 = [-0.1, 0.1]
[schedule]
equilibration_mcs = 20
samples = 10
stride_mcs = 2
"""

SOLID = ALLOY.replace(
    'kind = "pair_alloy"', 'kind = "solid_solution"\nw_m1 = 0.0\nw_1 = 0.1'
).replace("w1 = [", "w_0 = [")

SYMMETRIC = "couplings = [[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]]"

SLAB = """\
[lattice]
kind = "slab"
size = 4
layers = 3
[model]
kind = "segregation_slab"
w_CL = 1.65
w_LO = -7.57
[grid]
w_LL = [5.0, 6.28]
[schedule]
equilibration_mcs = 20
samples = 10
stride_mcs = 2
"""

ADATOMS = """\
[lattice]
kind = "honeycomb"
size = 4
[model]
kind = "adatoms"
E_b = 0.35
adatoms = 1
eps = [0.0, 0.03]
pattern = [[0, 1]]
[grid]
T = [120.0, 150.0]
[schedule]
equilibration_mcs = 10
samples = 4
stride_mcs = 5
"""

# What a store knows of a user's function.
OWN = """\
[kernel]
name = "nobody:energy"
version = 1
source = "0123"
seconds = 1.0
[kernel.dims]
bin = [0.5, 1.5]
[[kernel.variables]]
name = "counts"
dims = ["bin"]
dtype = "int64"
[[kernel.parameters]]
name = "T"
low = 0.0
[grid]
T = [1.0, 2.0]
"""

COUNTS = """\
centre,n_re,multiplicity,one,two
0,0,1,40,30
0,1,3,40,30
0,2,3,40,30
0,3,1,40,30
1,0,1,40,30
1,1,3,40,30
1,2,3,40,30
1,3,1,40,30
"""

ATOMS = """\
row_px,col_px,species
0,0,Mo
0,1,Re
1,0,Mo
1,1,Re
2,0,Mo
"""


def changed(text: str, old: str, new: str) -> str:
    """The text with one change, which must hit."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def ising(old: str, new: str) -> str:
    return changed(ISING, old, new)


def slab(old: str, new: str) -> str:
    assert old in SLAB
    return SLAB.replace(old, new, 1)


def adatoms(old: str, new: str) -> str:
    return changed(ADATOMS, old, new)


def alloy(old: str, new: str) -> str:
    return changed(ALLOY, old, new)


def own(old: str, new: str) -> str:
    return changed(OWN, old, new)


def counts(old: str, new: str) -> str:
    return changed(COUNTS, old, new)


def clusters(text: str) -> str:
    return changed(text, "stride_mcs = 2\n", 'stride_mcs = 2\nupdate = "cluster"\n')


def bonds(keys: str) -> str:
    """The Ising model with random bonds of these keys, and two realisations."""
    model, grid = f"bonds = {{ {keys} }}\n", "\nrealisation = [0, 1]"
    return changed(ISING, "[grid]", f"{model}[grid]{grid}")


T, H, SIZE = "T = [1.8, 2.27]", "H = { start = 0.0, stop = 1.0, num = 3 }", "size = 6"
LOCAL = 'update = "local"'
RANGES = "a list of different finite numbers, or a table of start, stop and num"

# What is wrong: the spec, and what the message must hold.
SPECS: dict[str, tuple[str, tuple[str, ...]]] = {
    "an unknown table": (ising("[grid]", "[gird]"), ("unknown table", "gird", "grid")),
    "an unknown key": (ising("samples", "sample"), ("[schedule]", "unknown key", "sample")),
    "an unknown key of sweep": (ising("seed = 7", "sed = 7"), ("[sweep]", "sed", "seed")),
    "an unknown word in keep": (
        ising("seed = 7", 'seed = 7\nkeep = ["samples", "spin"]'),
        ("keep", "'spin'", '"samples", "spins"'),
    ),
    "keep that is no list": (
        ising("seed = 7", 'seed = 7\nkeep = "spins"'),
        ("keep", "'spins'", '["samples", "spins"]'),
    ),
    "more samples than a chunk holds": (
        ising("samples = 10\n", "samples = 50000\n").replace("= 7", '= 7\nkeep = ["samples"]'),
        ("sample_histogram", "146 MiB for each point", "128 MiB", "50000"),
    ),
    "a function that is to keep": (
        OWN + '[sweep]\nkeep = ["samples"]\n',
        ("a kernel, or of a model", "kernel and keep"),
    ),
    "a missing table": (ALLOY.split("[schedule]")[0], ("lacks the table schedule", "[schedule]")),
    "a missing key": (
        ising("samples = 10\n", ""),
        ("[schedule] lacks the key samples", "samples ="),
    ),
    "a table that is none": ("sweep = 7\n" + ALLOY, ("sweep is not a table", "7")),
    "an unknown model": (
        ising('"ising"', '"isign"'),
        ("model.kind is unknown", "isign", "pair_alloy", "ising", "solid_solution"),
    ),
    "a model without kind": (ising('kind = "ising"\n', ""), ("[model]", "kind =", "pair_alloy")),
    "a model parameter that is none": (
        ising('"ising"', '"ising"\nw1 = 1.0'),
        ("w1", "J2, J3, mu, H"),
    ),
    "an unknown lattice": (ising('"square"', '"squared"'), ("squared", "square | triangular")),
    "a lattice kind that is a number": (ising('"square"', "4"), ("4", "square | triangular")),
    "invalid TOML": (ising(SIZE, "size ="), ("not valid TOML", "line 5")),
    "a key given twice": (ising(SIZE, "size = 6\nsize = 7"), ("not valid TOML", "line 6")),
    "a number of 5000 digits": (ising(SIZE, "size = " + 5000 * "9"), ("not valid TOML",)),
    "an empty file": ("", ("lacks the table lattice", "[lattice]")),
    "an empty grid": (ising(f"{T}\n{H}\n", ""), ("grid is empty", "nothing is swept", "T = {")),
    "an empty axis": (ising(T, "T = []"), ("grid.T is empty", "[]", RANGES)),
    "NaN in an axis": (ising(T, "T = [1.0, nan]"), ("grid.T", "nan", "finite")),
    "infinity in an axis": (ising(T, "T = [1.0, inf]"), ("grid.T", "inf", "finite")),
    "an integer beyond floats": (ising(T, "T = [1" + 400 * "0" + "]"), ("grid.T", "finite")),
    "an axis that is a string": (ising(T, 'T = "1.8"'), ("grid.T", "'1.8'", RANGES)),
    "an axis that is a number": (ising(T, "T = 1.8"), ("grid.T", "1.8", RANGES)),
    "an axis of strings": (ising(T, 'T = ["1.8"]'), ("grid.T", "'1.8'", RANGES)),
    "an axis of booleans": (ising(T, "T = [true]"), ("grid.T", "True", RANGES)),
    "an axis of lists": (ising(T, "T = [[1.8]]"), ("grid.T", "[1.8]", RANGES)),
    "an axis of dates": (ising(T, "T = [2026-01-01]"), ("grid.T", "2026", RANGES)),
    "duplicate coordinates": (ising(T, "T = [1.8, 2.0, 1.8]"), ("grid.T", "twice", "1.8")),
    "duplicate zeros": (ising(T, "mu = [0.0, -0.0]\nT = [1.0]"), ("grid.mu", "twice", "0.0")),
    "num of zero": (ising("num = 3", "num = 0"), ("grid.H", "num", "0", RANGES)),
    "num that is no whole number": (ising("num = 3", "num = 2.5"), ("grid.H", "num", "2.5")),
    "num that is true": (ising("num = 3", "num = true"), ("grid.H", "num", "True")),
    "num that is huge": (ising("num = 3", "num = 1000000000000"), ("grid.H", "1000000000000")),
    "a range without num": (ising(", num = 3", ""), ("grid.H", "start, stop", "num = 41")),
    "a function and a lattice": (
        OWN + '[lattice]\nkind = "square"\nsize = 4\n',
        ("unknown table", "lattice", "sweep, grid, kernel"),
    ),
    "a kernel that is no table": (
        "kernel = 7\n[grid]\nT = [1.0]\n",
        ("kernel is not a table", "7"),
    ),
    "a kernel without a version": (own("version = 1\n", ""), ("[kernel] lacks", "version")),
    "a kernel with an unknown key": (
        own("seconds", "second"),
        ("unknown key", "came: second;", "source"),
    ),
    "a version in words": (own("= 1\n", '= "one"\n'), ("version is of the wrong type", "'one'")),
    "a version of zero": (
        own("= 1\n", "= 0\n"),
        ("version is out of range", "0", "a whole number from 1"),
    ),
    "a point that takes no time": (own("seconds = 1.0", "seconds = 0.0"), ("seconds", "0.0")),
    "a variable out of its store": (own('"counts"', '"../counts"'), ("'../counts'", "letters")),
    "a variable named done": (own('"counts"', '"done"'), ("'done'", "not attempts or ")),
    "a variable named as a dimension": (own('"counts"', '"bin"'), ("declared twice", "bin")),
    "a variable of objects": (own('"int64"', '"object"'), ("counts.dtype", "object", "int64")),
    "a variable of a number": (own('"int64"', "64"), ("counts.dtype", "came: 64;", "int64")),
    "a dimension not declared": (
        own('["bin"]', '["bins"]'),
        ("counts", "bins", "not declared", "allowed: bin"),
    ),
    "a dimension that is a list": (own('["bin"]', '[["bin"]]'), ("counts", "['bin']")),
    "a dimension of length zero": (own("[0.5, 1.5]", "0"), ("dims.bin", "0", "above 0")),
    "a dimension of tables": (
        own("[0.5, 1.5]", "[{}]"),
        ("dims.bin", "{}", "numbers or words"),
    ),
    "variables that are numbers": (
        own('[[kernel.variables]]\nname = "counts"\ndims = ["bin"]\ndtype = "int64"\n', "").replace(
            "seconds = 1.0", "seconds = 1.0\nvariables = [1]"
        ),
        ("kernel.variables[0] is not a table", "1"),
    ),
    "a kernel without variables": (
        own('[[kernel.variables]]\nname = "counts"\ndims = ["bin"]\ndtype = "int64"\n', "").replace(
            "seconds = 1.0", "seconds = 1.0\nvariables = []"
        ),
        ("kernel.variables", "[]", "one or more variables"),
    ),
    "a bound in words": (own("low = 0.0", 'low = "none"'), ("low is of the wrong type", "'none'")),
    "an axis the function does not take": (
        own("T = [1.0", "H = [1.0"),
        ("nobody:energy", "H", "allowed: T"),
    ),
    "an axis out of bounds": (own("T = [1.0", "T = [-1.0"), ("grid.T", "-1.0", "T >= 0")),
    "a range with one more key": (ising("num = 3", "num = 3, step = 1"), ("grid.H", "step")),
    "a range of no width": (ising("stop = 1.0", "stop = 0.0"), ("grid.H", "twice")),
    "a range that overflows": (
        ising("start = 0.0, stop = 1.0", "start = -1.7e308, stop = 1.7e308"),
        ("grid.H", "finite"),
    ),
    "a range of strings": (ising("start = 0.0", 'start = "cold"'), ("grid.H", "'cold'", RANGES)),
    "too many points": (
        changed(ising("num = 3", "num = 4000"), T, "T = { start = 1.0, stop = 2.0, num = 4000 }"),
        ("too many points", "16000000", "10000000"),
    ),
    "a temperature of zero, swept": (ising(T, "T = [0.0, 1.0]"), ("grid.T", "0.0", "T > 0")),
    "a negative temperature, swept": (ising(T, "T = [-1.0]"), ("grid.T", "-1.0", "T > 0")),
    "a temperature of zero, fixed": (
        ising(T, "").replace('"ising"', '"ising"\nT = 0'),
        ("[model]", "T > 0", "came: 0"),
    ),
    "a negative temperature, fixed": (
        alloy("[grid]", "T = -1.0\n[grid]"),
        ("[model]", "T > 0", "-1.0"),
    ),
    "an infinite temperature, fixed": (alloy("[grid]", "T = inf\n[grid]"), ("[model]", "T", "inf")),
    "a parameter of 400 digits": (alloy("[grid]", f"T = 1{400 * '0'}\n[grid]"), ("[model]", "T")),
    "a composition above one, swept": (alloy("0.5]", "1.5]"), ("grid.x", "1.5", "0 to 1")),
    "a composition below zero, fixed": (
        alloy("x = [0.25, 0.5]\n", "").replace("[grid]", "x = -0.1\n[grid]"),
        ("[model]", "-0.1", "0 to 1"),
    ),
    "no whole number of atoms, swept": (
        alloy("0.25", "0.265"),
        ("grid.x", "0.265", "32 sites", "0.2500"),
    ),
    "no whole number of atoms, fixed": (
        alloy("x = [0.25, 0.5]\n", "").replace("[grid]", "x = 0.485\n[grid]"),
        ("0.485", "32 sites", "0.5000"),
    ),
    "a lattice of size 0": (ising(SIZE, "size = 0"), ("size", "0", "2 to 2048")),
    "a lattice of size 1": (ising(SIZE, "size = 1"), ("size", "1", "2 to 2048")),
    "a lattice of size 1e6": (ising(SIZE, "size = 1_000_000"), ("size", "1000000", "2 to 2048")),
    "a lattice of size 2.5": (ising(SIZE, "size = 2.5"), ("size", "2.5", "whole number")),
    "a lattice of size in quotes": (ising(SIZE, 'size = "64"'), ("size", "'64'", "whole number")),
    "a lattice of size true": (ising(SIZE, "size = true"), ("size", "True", "whole number")),
    "a lattice too small for its shell": (
        ising(SIZE, "size = 2").replace("[grid]", "J2 = 0.1\nJ3 = 0.1\n[grid]"),
        ("too small", "shell 3", "2", "3 or more"),
    ),
    "an alloy on a lattice too small": (alloy("size = 4", "size = 3"), ("x = 0.25", "18 sites")),
    "three-body alloy on the square lattice": (
        alloy("pair_alloy", "three_body_alloy").replace("honeycomb", "square"),
        ("triangles", "square", "triangular"),
    ),
    "an axis that is not a parameter": (ising("H = {", "h = {"), ("h is not a parameter", "mu, H")),
    "an axis of the lattice": (ising("H = {", "size = {"), ("size is not a parameter", "mu, H")),
    "a slab of one layer": (
        slab("layers = 3", "layers = 1"),
        ("thinner than its interactions", "came: 1", "2"),
    ),
    "half a layer": (slab("layers = 3", "layers = 2.5"), ("lattice.layers", "2.5")),
    "a square lattice with layers": (
        ising("size =", "layers = 3\nsize ="),
        ("no layers", "layers = 3", "leave layers out"),
    ),
    "fractions that do not add up": (
        slab("w_CL", "x = 0.5\nx_La = 0.6\nw_CL"),
        ("[model]", "do not add up", "1.1"),
    ),
    "a slab of periodic model": (
        slab('"segregation_slab"', '"pair_alloy"')
        .replace("w_CL = 1.65\nw_LO = -7.57\n", "")
        .replace("w_LL", "w1")
        .replace('alloy"', 'alloy"\nx = 0.5'),
        ("periodic lattice", "came: slab", "segregation_slab"),
    ),
    "segregation on a cubic lattice": (
        slab('"slab"', '"cubic"').replace("layers = 3\n", ""),
        ("segregation_slab", "cubic", '"slab"'),
    ),
    "adatoms in space": (
        adatoms('"honeycomb"', '"cubic"'),
        ("adatoms need a plane lattice", "cubic", "square | triangular | honeycomb"),
    ),
    "adatoms without a number": (
        adatoms("adatoms = 1\n", ""),
        ("number of adatoms once", "coverage", "adatoms = 1"),
    ),
    "more adatoms than sites": (
        adatoms("adatoms = 1", "adatoms = 40"),
        ("more adatoms than sites", "40 adatoms on 32 sites", "1 to 31"),
    ),
    "a site type without an energy": (
        adatoms("eps = [0.0, 0.03]", "eps = [0.0]"),
        ("one energy for each site type", "eps = [0.0, 0.0]"),
    ),
    "an energy without a site type": (
        adatoms("eps = [0.0, 0.03]", "eps_3 = 0.1"),
        ("eps_3", "the pattern lacks", "eps_0, eps_1"),
    ),
    "a pattern that does not tile": (
        adatoms("[[0, 1]]", "[[0, 1, 1]]"),
        ("does not tile", "1 rows of 3 types", "divisors of 4 and 8"),
    ),
    "a pattern of names": (
        adatoms("[[0, 1]]", '[["fcc", "hcp"]]'),
        ("must be a table of site types", "fcc"),
    ),
    "a barrier below zero": (adatoms("E_b = 0.35", "E_b = -0.1"), ("E_b", "-0.1")),
    "a barrier in meV": (
        adatoms("E_b = 0.35", "E_b = 350.0"),
        ("hops are too rare", "energies in eV", "up to 600 k_B T"),
    ),
    "clusters of adatoms": (
        clusters(ADATOMS.replace("stride_mcs = 5", "stride_mcs = 2")),
        ("update",),
    ),
    "calcium that no slab of this size has": (
        slab("w_CL", "x = 0.385\nw_CL").replace("size = 4", "size = 2"),
        ("x = 0.385", "12 sites", "0.4167"),
    ),
    "a swept choice of pairs": (
        slab("[grid]", "[grid]\nbulk_pairs = [0, 1]"),
        ("bulk_pairs", "cannot be swept"),
    ),
    "a slab in trades": (
        slab("stride_mcs = 2", "stride_mcs = 2\ntempering_mcs = 5"),
        ("slab", "tempering_mcs = 0"),
    ),
    "a slab that keeps spins": (
        slab("[lattice]", '[sweep]\nkeep = ["spins"]\n[lattice]'),
        ("slab", "keep"),
    ),
    "a parameter fixed and swept": (ising("[grid]", "H = 0.5\n[grid]"), ("H", "[model]", "[grid]")),
    "Ising without a temperature": (
        ising(T, ""),
        ("the model ising needs the parameter T", "T = 0.5 in [model]", "in [grid]"),
    ),
    "an alloy without x": (
        alloy("x = [0.25, 0.5]", ""),
        ("pair_alloy needs the parameter x", "x = "),
    ),
    "an alloy without w1": (
        alloy("w1 = [-0.1, 0.1]", ""),
        ("pair_alloy needs the parameter w1", "w1 = "),
    ),
    "a model parameter in quotes": (ising("[grid]", 'J = "1"\n[grid]'), ("[model]", "J", "'1'")),
    "a list of nine couplings": (
        ising("[grid]", "J = [1, 2, 3, 4, 5, 6, 7, 8, 9]\n[grid]"),
        ("J must have one coupling per shell", "1 to 8"),
    ),
    "a list of no coupling": (
        ising("[grid]", "J = []\n[grid]"),
        ("J must have one coupling per shell", "1 to 8"),
    ),
    "couplings that differ both ways": (
        ising("[grid]", "couplings = [[0, 1, 0], [1, 0, 0.5], [0, 1, 0]]\n[grid]"),
        ("no detailed balance", "1 at (0, -1) and 0.5 opposite", "180°"),
    ),
    "a site coupled to itself": (
        ising("[grid]", "couplings = [[0, 1, 0], [1, 2, 1], [0, 1, 0]]\n[grid]"),
        ("couples a site to itself", "came: 2", "couplings = ["),
    ),
    "couplings of four rows": (
        ising("[grid]", "couplings = [[0, 1], [1, 0], [0, 1], [1, 0]]\n[grid]"),
        ("must be a square matrix", "4 rows", "3, 5, 7 or 9 rows", "couplings = ["),
    ),
    "couplings as a matrix on another lattice": (
        changed(ising("[grid]", f"{SYMMETRIC}\n[grid]"), '"square"', '"triangular"'),
        ("square lattice", "triangular", "J = [1.0, 0.2]"),
    ),
    "couplings beside shells": (
        ising("[grid]", f"{SYMMETRIC}\nJ2 = 0.5\n[grid]"),
        ("J2 and a matrix of couplings", "leave J2 out"),
    ),
    "bonds of infinite moments": (
        bonds('distribution = "cauchy"'),
        ("neither a mean nor a variance", "'cauchy'", "normal | uniform | bimodal"),
    ),
    "bonds drawn twice": (
        bonds('distribution = "normal", sd = 0.2, symmetric = false'),
        ("no detailed balance", "symmetric = False", "symmetric = true"),
    ),
    "bonds without their width": (bonds('distribution = "normal"'), ("need the key sd",)),
    "bonds that scatter below nothing": (
        bonds('distribution = "normal", sd = -0.2'),
        ("sd is out of bounds", "-0.2", "0 to 100"),
    ),
    "bonds, and no realisation": (
        ising("[grid]", 'bonds = { distribution = "normal", sd = 0.2 }\n[grid]'),
        ("need the parameter realisation", "realisation = { start = 0"),
    ),
    "half a realisation": (
        bonds('distribution = "normal", sd = 0.2').replace("[0, 1]", "[0, 0.5]"),
        ("grid.realisation", "must be a whole number", "0.5"),
    ),
    "realisations of bonds that are all alike": (
        changed(ISING, "[grid]", "[grid]\nrealisation = [0, 1]"),
        ("realisation needs random bonds", "bonds = {"),
    ),
    "a solid solution without a composition": (
        changed(SOLID, "x = [0.25, 0.5]\n", ""),
        ("the model solid_solution needs the parameter x", "x = "),
    ),
    "a solid solution with a chemical potential as well": (
        changed(SOLID, "x = [", "dmu = [0.1]\nx = ["),
        ("dmu is not a parameter of the ensemble", 'ensemble = "semi_grand"'),
    ),
    "an open solid solution with a composition": (
        changed(SOLID, "w_1 =", 'ensemble = "semi_grand"\nw_1 ='),
        ("x is not a parameter of the ensemble", "canonical", "dmu"),
    ),
    "an unknown ensemble": (
        changed(SOLID, "w_1 =", 'ensemble = "grand"\nw_1 ='),
        ("ensemble is unknown", "'grand'", '"canonical" | "semi_grand"'),
    ),
    "a coupling given twice": (ising("[grid]", "J = [1, 2]\nJ2 = 1\n[grid]"), ("J2", "twice")),
    "a negative seed": (ising("seed = 7", "seed = -1"), ("seed", "-1", "0 to 2^63 - 1")),
    "a seed too large": (ising("seed = 7", f"seed = {2**63}"), ("seed", "0 to 2^63 - 1")),
    "a seed that is a float": (ising("seed = 7", "seed = 7.0"), ("seed", "7.0", "whole number")),
    "a seed that is a string": (ising("seed = 7", 'seed = "7"'), ("seed", "'7'", "whole number")),
    "no samples": (ising("samples = 10", "samples = 0"), ("schedule.samples", "0", "2 to 10^9")),
    "negative equilibration": (ising("= 20", "= -1"), ("schedule.equilibration_mcs", "-1")),
    "a stride of zero": (ising("mcs = 2\n", "mcs = 0\n"), ("schedule.stride_mcs", "0", "1 to")),
    "a stride that is a float": (ising("mcs = 2\n", "mcs = 2.0\n"), ("schedule.stride_mcs", "2.0")),
    "samples beyond all patience": (ising("= 10", "= 10_000_000_000"), ("samples", "10^9")),
    "samples that are true": (ising("samples = 10", "samples = true"), ("samples", "True")),
    "an unknown update": (
        ising("mcs = 2\n", 'mcs = 2\nupdate = "wolff"\n'),
        ("schedule.update", "'wolff'", "local | cluster", 'update = "cluster"'),
    ),
    "an update that is a list": (
        ising("mcs = 2\n", 'mcs = 2\nupdate = ["cluster"]\n'),
        ("schedule.update", "['cluster']", "local | cluster"),
    ),
    "tempering every so often, but a negative one": (
        ising("mcs = 2\n", "mcs = 2\ntempering_mcs = -1\n"),
        ("schedule.tempering_mcs", "-1", "0 to 10^9"),
    ),
    "tempering every half a step": (
        ising("mcs = 2\n", "mcs = 2\ntempering_mcs = 0.5\n"),
        ("schedule.tempering_mcs", "0.5", "whole number"),
    ),
    "tempering between no temperatures": (
        alloy("stride_mcs = 2\n", "stride_mcs = 2\ntempering_mcs = 4\n"),
        ("tempering needs at least two temperatures", "T = {"),
    ),
    "tempering along an axis of one temperature": (
        changed(ising("mcs = 2\n", "mcs = 2\ntempering_mcs = 4\n"), T, "T = [1.8]"),
        ("tempering needs at least two temperatures", "T = {"),
    ),
    "cluster updates in a field, swept": (
        clusters(ISING),
        ("do not support a field", "H = 1", "H = 0", LOCAL),
    ),
    "cluster updates in a field, fixed": (
        clusters(ising(H, "")).replace("[grid]", "H = -0.25\n[grid]"),
        ("do not support a field", "H = -0.25", "H = 0 or mu = 0", LOCAL),
    ),
    "cluster updates of a negative coupling, fixed": (
        clusters(ising(H, "")).replace("[grid]", "J = [1.0, -0.5]\n[grid]"),
        ("negative coupling", "J2 = -0.5", "J >= 0 in every shell", LOCAL),
    ),
    "cluster updates of a negative coupling, swept": (
        clusters(ising(H, "J3 = [0.1, -0.1]")),
        ("negative coupling", "J3 = -0.1", "J >= 0 in every shell", LOCAL),
    ),
    "cluster updates of an alloy": (
        clusters(ALLOY),
        ("composition", "pair_alloy", LOCAL),
    ),
}


# What is wrong: the command line, and what the message must hold. The files are in SCENE.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "no spec file": ("run no.toml --store new/s.zarr", ("no.toml", "No such file", "ising.toml")),
    "a spec that is a folder": (
        "run folder --store new/s.zarr",
        ("folder", "directory", "ising.toml"),
    ),
    "a spec that is not UTF-8": ("run latin.toml --store new/s.zarr", ("latin.toml", "UTF-8")),
    "a spec below a file": (
        "plan ising.toml/spec.toml",
        ("ising.toml/spec.toml", "Not a directory"),
    ),
    "a store of another spec": (
        "run other.toml --store ising.zarr",
        ("ising.zarr", "lattice.size", "8", "6"),
    ),
    "a store of another seed": (
        "run seed.toml --store ising.zarr",
        ("sweep.seed", "8", "7", "--store"),
    ),
    "a store of another grid": ("run grid.toml --store ising.zarr", ("grid.T", "3.0", "2.27")),
    "a store of a function": (
        "run ising.toml --store own.zarr",
        ("kernel.name", "lanes", "tests.support.own_kernels:percolation"),
    ),
    "a run of a function by its name": (
        "run own.toml --store new/s.zarr",
        ("nobody:energy is not available", "run(Sweep(kernel=energy"),
    ),
    "a retry of a function by its name": (
        "retry-failed own.zarr",
        ("tests.support.own_kernels:percolation is not available", "run(Sweep(kernel=percolation"),
    ),
    "a landscape of a function": (
        "landscape own.zarr counts.csv",
        ("own.zarr", "tests.support.own_kernels:percolation", "lattice model"),
    ),
    "a speed of a function": ("plan own.toml", ("nobody:energy is not available",)),
    "a store that is a file": ("run ising.toml --store ising.toml", ("ising.toml is a file",)),
    "a store that is no store": (
        "run ising.toml --store folder",
        ("folder is not a store", "--store"),
    ),
    "a store below a file": (
        "run ising.toml --store ising.toml/new/s.zarr",
        ("ising.toml is not a folder",),
    ),
    "a store in /proc": ("run ising.toml --store /proc/new/s.zarr", ("/proc/new/s.zarr",)),
    "a store with a name too long": (
        f"run ising.toml --store {300 * 'a'}",
        ("File name too long",),
    ),
    "no store to tell the status of": (
        "status no.zarr",
        ("no store at no.zarr", "latticescape run"),
    ),
    "the status of a folder": ("status folder", ("folder is not a store", "latticescape run")),
    "the status of a file": ("status ising.toml --json", ("ising.toml is a file",)),
    "the status of a store of rubbish": ("status rubbish.zarr", ("rubbish.zarr is not a store",)),
    "the status of a damaged store": ("status damaged.zarr", ("damaged.zarr", "done")),
    "no store to watch": ("watch no.zarr", ("no store at no.zarr", "latticescape run")),
    "watching no seconds": ("watch ising.zarr --every 0", ("--every", "x>=0.1", "watch --help")),
    "no store to cancel": ("cancel no.zarr", ("no store at no.zarr", "latticescape run")),
    "nothing to cancel": ("cancel ising.zarr --json", ("nobody works", "status ising.zarr")),
    "no store to retry": ("retry-failed folder", ("folder is not a store", "latticescape run")),
    "retrying on an unknown cluster": ("retry-failed ising.zarr --cluster moon", ("moon",)),
    "no store to verify": ("verify no.zarr", ("no store at no.zarr", "latticescape run")),
    "a store that lost an array": ("verify damaged.zarr --repair", ("damaged.zarr", "array done")),
    "no store to pack": ("consolidate no.zarr p.zarr", ("no store at no.zarr", "latticescape run")),
    "packing what was not computed": (
        "consolidate ising.zarr new/p.zarr --json",
        ("ising.zarr is not finished", "of 6 points 6 pending", "latticescape run", "--partial"),
    ),
    "packing into something": (
        "consolidate ising.zarr folder --partial",
        ("folder exists already", "a new path", "consolidate ising.zarr another.zarr"),
    ),
    "packing a store into itself": (
        "consolidate ising.zarr ising.zarr/packed --partial",
        ("is inside the store", "outside of any store"),
    ),
    "a sweep inside a store": (
        "run ising.toml --store ising.zarr/s.zarr",
        ("s.zarr is inside the store", "ising.zarr", "outside of any store"),
    ),
    "packing below a file": (
        "consolidate ising.zarr ising.toml/p.zarr --partial",
        ("ising.toml is not a folder",),
    ),
    "packing into /proc": (
        "consolidate ising.zarr /proc/p.zarr --partial",
        ("cannot write /proc/p.zarr",),
    ),
    "packing a damaged store": ("consolidate damaged.zarr p.zarr", ("damaged.zarr", "array done")),
    "packing to nowhere": ("consolidate ising.zarr", ("OUT", "consolidate --help")),
    "submitting to nobody": (
        "submit ising.toml --store new/s.zarr",
        ("--cluster", "submit --help"),
    ),
    "submitting to oneself": (
        "submit ising.toml --store new/s.zarr --cluster local",
        ("--cluster local would end with this process", "tcp://127.0.0.1:8786"),
    ),
    "submitting to jobs that end with the command": (
        "submit ising.toml --store new/s.zarr --cluster slurm-inside",
        ("--cluster slurm-inside would end with this process", "sbatch sweep.sbatch"),
    ),
    "submitting no spec": (
        "submit no.toml --store new/s.zarr --cluster tcp://127.0.0.1:1",
        ("no.toml", "No such file"),
    ),
    "submitting to a store of another spec": (
        "submit other.toml --store ising.zarr --cluster tcp://127.0.0.1:1",
        ("ising.zarr", "lattice.size", "8", "6"),
    ),
    "no store to compare with": ("landscape no.zarr counts.csv", ("no store at no.zarr",)),
    "guessing from nothing": ("guess no.csv", ("there is no file no.csv", "counts.csv")),
    "guessing a model that is not there": (
        "guess counts.csv --lattice honeycomb --model quartet",
        ("quartet", "allowed: pair_alloy"),
    ),
    "guessing over a file": (
        "guess counts.csv --out ising.toml",
        ("ising.toml already exists", "--out another.toml"),
    ),
    "guessing into a file as a folder": (
        "guess counts.csv --out counts.csv/spec.toml",
        ("counts.csv is not a folder",),
    ),
    "guessing a spec that is not there": (
        "guess counts.csv --spec no.toml",
        ("no.toml", "No such file"),
    ),
    "no store to draw": ("map no.zarr energy --out new/e.png", ("no store at no.zarr",)),
    "an unknown cluster": (
        "run ising.toml --store new/s.zarr --cluster lab",
        ("lab", "local", "slurm", "tcp://", "latticescape cluster list"),
    ),
    "a profile that is not there": (
        "run ising.toml --store new/s.zarr --cluster no.toml",
        ("cannot read the profile no.toml", "No such file"),
    ),
    "a profile that is a folder": ("cluster show folder.toml", ("folder.toml", "Is a directory")),
    "a profile that is not UTF-8": ("cluster show latin.toml", ("latin.toml", "not UTF-8 text")),
    "a spec for a profile": ("cluster job-script ising.toml", ("ising.toml", "kind", "slurm")),
    "a scheduler file that is not there": (
        "run ising.toml --store new/s.zarr --cluster no.json",
        ("no address in no.json", "dask scheduler --scheduler-file"),
    ),
    "a scheduler file of rubbish": (
        "run ising.toml --store new/s.zarr --cluster rubbish.zarr/zarr.json",
        ("no address in rubbish.zarr/zarr.json",),
    ),
    "workers of an address": (
        "run ising.toml --store new/s.zarr --cluster tcp://h:1 --workers 2",
        ("workers", "tcp://h:1", "--cluster local"),
    ),
    "threads of a profile": (
        "run ising.toml --store new/s.zarr --cluster slurm --threads 2",
        ("threads", "slurm", "--cluster local"),
    ),
    "no SLURM": (
        "run ising.toml --store new/s.zarr --cluster job.toml",
        ("SLURM is not installed on this machine", "sbatch", "login node"),
    ),
    "no SLURM for an allocation": (
        "run ising.toml --store new/s.zarr --cluster allocation.toml",
        ("SLURM is not installed on this machine", "sbatch", "login node"),
    ),
    "an unknown command of cluster": ("cluster lsit", ("lsit", "latticescape cluster --help")),
    "an unknown profile to show": ("cluster show lab", ("lab", "slurm", "cluster list")),
    "a job script of nothing": (
        "cluster job-script local",
        ("submits nothing", "local", "slurm | pbs", "kubernetes"),
    ),
    "certificates without --out": (
        "cluster certificates",
        ("--out", "latticescape cluster certificates --help"),
    ),
    "certificates for no day": ("cluster certificates --out new --days 0", ("--days", "0")),
    "certificates in a folder of something": (
        "cluster certificates --out folder",
        ("folder already exists", "--out"),
    ),
    "certificates below a file": (
        "cluster certificates --out ising.toml/tls",
        ("ising.toml is not a folder",),
    ),
    "a certificate for an address with port": (
        "cluster certificates --out new --host login1:8786",
        ("login1:8786", "without port", "--host login1"),
    ),
    "a certificate for nobody": ("cluster certificates --out new --host ''", ("''", "host name")),
    "an address without port": (
        "run ising.toml --store new/s.zarr --cluster tcp://host",
        ("tcp://host", "host:port"),
    ),
    "an address of another protocol": (
        "run ising.toml --store new/s.zarr --cluster http://h:1",
        ("http://h:1", "tcp://"),
    ),
    "an address with a port out of range": (
        "run ising.toml --store new/s.zarr --cluster tcp://h:99999",
        ("99999", "tcp://"),
    ),
    "TLS without certificates": (
        "run ising.toml --store new/s.zarr --cluster tls://127.0.0.1:8786",
        ("no certificates", "source FOLDER/environment.sh"),
    ),
    "no workers": ("run ising.toml --store new/s.zarr --workers 0", ("--workers", "0", "x>=1")),
    "no threads": ("run ising.toml --store new/s.zarr --threads 0", ("--threads", "0", "x>=1")),
    "no points a block": (
        "run ising.toml --store new/s.zarr --block-points 0",
        ("--block-points", "0", "x>=1"),
    ),
    "workers in words": (
        "run ising.toml --store new/s.zarr --workers two",
        ("--workers", "two", "number"),
    ),
    "a plan for no workers": ("plan ising.toml --workers 0", ("--workers", "0", "x>=1")),
    "a plan with no points a block": ("plan ising.toml --block-points 0", ("--block-points", "0")),
    "no --store": ("run ising.toml", ("--store", "latticescape run --help")),
    "no spec": ("plan", ("SPEC", "latticescape plan --help")),
    "an unknown option": ("run ising.toml --stroe s.zarr", ("--stroe", "--store")),
    "an unknown command": ("rnu ising.toml", ("rnu", "latticescape --help")),
    "one argument too many": (
        "status ising.zarr alloy.zarr",
        ("alloy.zarr", "latticescape status --help"),
    ),
    "--at without anything": ("map ising.zarr energy --out new/e.png --at", ("--at", "--help")),
    "--at without value": (
        "map ising.zarr energy --out new/e.png --at H",
        ("--at", "H", "AXIS=VALUE"),
    ),
    "--at with a word": (
        "map ising.zarr energy --out new/e.png --at H=high",
        ("values of H are numbers", "high", "--at H="),
    ),
    "--at an unknown axis": ("map ising.zarr energy --out new/e.png --at h=0", ("h", "T, H")),
    "--at beyond the axis": (
        "map ising.zarr energy --out new/e.png --at H=7",
        ("H", "7", "0 to 1"),
    ),
    "a map of an unknown variable": (
        "map ising.zarr energie --out new/e.png",
        ("energie", "energy", "heat_capacity"),
    ),
    "a map of too many dimensions": (
        "map ising.zarr histogram --out new/e.png",
        ("histogram", "configuration"),
    ),
    "a map without --out": ("map ising.zarr energy", ("--out", "latticescape map --help")),
    "a picture of another suffix": (
        "map ising.zarr energy --out new/e.png --out new/e.gif",
        ("e.gif", ".png", ".html"),
    ),
    "a picture below a file": (
        "map ising.zarr energy --out ising.toml/e.png",
        ("ising.toml is not a folder",),
    ),
    "a landscape's picture of another suffix": (
        "landscape alloy.zarr counts.csv --out new/l.zarr --picture new/l.svg",
        ("l.svg", ".png", ".html"),
    ),
    "a landscape inside the store it reads": (
        "landscape alloy.zarr counts.csv --out alloy.zarr/sub.zarr",
        ("sub.zarr is inside the store", "alloy.zarr", "outside of any store"),
    ),
    "a landscape that is there already": (
        "landscape alloy.zarr counts.csv --out folder",
        ("folder already exists", "--out"),
    ),
    "a landscape below a file": (
        "landscape alloy.zarr counts.csv --out ising.toml/l.zarr",
        ("ising.toml is not a folder",),
    ),
    "a landscape of nothing computed": (
        "landscape alloy.zarr counts.csv --out new/l.zarr",
        ("no point", "latticescape run"),
    ),
    "more points for a store that is not finished": (
        "refine alloy.zarr counts.csv --target w1=0.01",
        ("4 points of alloy.zarr are pending", "latticescape retry-failed"),
    ),
    "a target without an error": (
        "refine alloy.zarr counts.csv --target w1",
        ("--target cannot be read", "w1", "--target w1=0.005"),
    ),
    "a target and no points for it": (
        "refine alloy.zarr counts.csv --target w1=0.01 --budget 0",
        ("--budget", "0", "latticescape refine --help"),
    ),
    "a base of another model": (
        "run ising.toml --store new/s.zarr --base alloy.zarr",
        ("does not extend that of the store alloy.zarr", "differs", "in the store"),
    ),
    "a landscape of no table": (
        "landscape alloy.zarr",
        ("OBSERVED", "latticescape landscape --help"),
    ),
    "no table of that name": (
        "landscape alloy.zarr no.csv",
        ("no file no.csv", "CSV table", "counts.csv"),
    ),
    "a table that is a folder": (
        "landscape alloy.zarr folder",
        ("cannot read the store folder", "latticescape measure", "CSV"),
    ),
    "a table that is not UTF-8": ("landscape alloy.zarr latin.csv", ("latin.csv", "utf-8", "CSV")),
    "one species": (
        "landscape alloy.zarr atoms.csv --species Mo",
        ("two different names", "--species Mo,Re"),
    ),
    "the same species twice": (
        "landscape alloy.zarr atoms.csv --species Mo,Mo",
        ("two different names",),
    ),
    "species that were not named": (
        "landscape alloy.zarr atoms.csv",
        ("Mo, Re", "0, 1", "--species"),
    ),
    "an unknown species": (
        "landscape alloy.zarr atoms.csv --species Mo,W",
        ("atoms.csv", "Re", "Mo, W"),
    ),
    "two tables of counts": (
        "landscape alloy.zarr counts.csv counts.csv",
        ("one table of counts",),
    ),
    "counts and atoms": ("landscape alloy.zarr counts.csv atoms.csv", ("one table of counts",)),
    "two images of one name": (
        "landscape alloy.zarr atoms.csv folder/atoms.csv --species Mo,Re",
        ("atoms",),
    ),
    "a demo below a file": ("demo --out ising.toml", ("ising.toml is not a folder",)),
}

SLURM = """\
kind = "slurm"
jobs = 2
cores = 4
memory = "4 GB"
walltime = "04:00:00"
folder = "jobs"
"""
KUBERNETES = 'kind = "kubernetes"\nimage = "latticescape:0.1.0"\n'


def slurm(old: str, new: str) -> str:
    return changed(SLURM, old, new)


def queue(kind: str) -> str:
    return slurm("slurm", kind)


# What is wrong: the profile, and what the message must hold.
PROFILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "no kind": (slurm('kind = "slurm"\n', ""), ("lacks the key kind", "local | address | slurm")),
    "an unknown kind": (slurm('"slurm"', '"nqs"'), ("'nqs'", "slurm | pbs | lsf | sge")),
    "a kind that is a number": (slurm('"slurm"', "4"), ("4", "local | address | slurm")),
    "invalid TOML": (slurm("jobs = 2", "jobs ="), ("not valid TOML", "line 2")),
    "an unknown key": (slurm("jobs =", "job ="), ("unknown key", "job", "jobs, cores", "jobs = 8")),
    "a key of another kind": (slurm("jobs =", "workers ="), ("unknown key", "workers", "jobs")),
    "no jobs": (slurm("jobs = 2", "jobs = 0"), ("jobs", "0", "1 to 10000", "jobs = 8")),
    "jobs that are true": (slurm("jobs = 2", "jobs = true"), ("jobs", "True", "whole number")),
    "jobs in quotes": (slurm("jobs = 2", 'jobs = "2"'), ("jobs", "'2'", "whole number")),
    "half a core": (slurm("cores = 4", "cores = 0.5"), ("cores", "0.5", "1 to 1024")),
    "processes that share no core": (
        SLURM + "processes = 3",
        ("processes = 3, cores = 4", "divide"),
    ),
    "memory without unit": (slurm('"4 GB"', '"4"'), ("memory", "'4'", "its unit", '"4 GB"')),
    "memory that is a number": (slurm('"4 GB"', "4"), ("memory", "came: 4;", '"4 GB"')),
    "too little memory": (slurm('"4 GB"', '"4 MB"'), ("memory", "4 MB", "100 MB")),
    "a walltime in hours": (slurm('"04:00:00"', '"4h"'), ("walltime", "4h", "HH:MM:SS")),
    "a walltime of seconds": (slurm('"04:00:00"', '"00:00:30"'), ("walltime", "a minute")),
    "a walltime of 90 minutes": (slurm("04:00:00", "00:90:00"), ("walltime", "00:90:00")),
    "a partition of two words": (SLURM + 'partition = "a b"', ("partition", "a b", "sinfo")),
    "a partition of two lines": (
        SLURM + 'partition = "a\\n#SBATCH -A b"',
        ("partition", "#SBATCH", "sinfo"),
    ),
    "a scheduler in the cloud": (SLURM + 'scheduler = "cloud"', ("cloud", "outside | inside")),
    "a prologue that is no list": (SLURM + 'prologue = "module load"', ("prologue", "a list")),
    "a prologue of numbers": (SLURM + "prologue = [1]", ("prologue", "[1]", "a list")),
    "a prologue of two lines": (SLURM + 'prologue = ["a\\nb"]', ("prologue", "a list")),
    "a directive without dash": (SLURM + 'directives = ["exclusive"]', ("exclusive", "sbatch")),
    "a folder that is a number": (slurm('"jobs"', "7"), ("folder", "7", "all nodes see")),
    "a folder with a space": (slurm('"jobs"', '"my jobs"'), ("my jobs", "cannot name", "folder")),
    "a folder below a file": (slurm('"jobs"', '"file/jobs"'), ("cannot make", "file/jobs")),
    "no network interface": (
        SLURM + 'interface = "nope0"',
        ("nope0", "lo", "scheduler_interface", "inside"),
    ),
    "a dashboard without port": (SLURM + 'dashboard = "localhost"', ("dashboard", "host:port")),
    "an endless wait": (SLURM + "wait_minutes = inf", ("wait_minutes", "inf", "100000")),
    "a look every moment": (SLURM + "check_seconds = 0", ("check_seconds", "0", "from 1")),
    "TLS that is a number": (SLURM + "tls = 1", ("tls", "temporary", "cluster certificates")),
    "TLS without key": (
        SLURM + 'tls = { ca_file = "a", cert = "b" }',
        ("tls", "ca_file, cert and key"),
    ),
    "certificates that are not there": (
        SLURM + 'tls = "nowhere"',
        ("cannot read", "nowhere/ca.pem", "latticescape cluster certificates"),
    ),
    "certificates of rubbish": (
        SLURM + 'tls = { ca_file = "file", cert = "file", key = "private" }',
        ("file cannot be used", "PEM"),
    ),
    "a key that everybody reads": (
        SLURM + 'tls = { ca_file = "file", cert = "file", key = "file" }',
        ("other users can read", "mode 644", "chmod 600"),
    ),
    "fewer jobs than the minimum": (
        SLURM + "minimum_jobs = 3",
        ("minimum_jobs = 3, jobs = 2", "from 1 to jobs", "jobs = 3"),
    ),
    "a minimum of an allocation": (
        SLURM + 'scheduler = "inside"\nminimum_jobs = 1',
        ("allocation is fixed", 'scheduler = "outside"'),
    ),
    "a partition of PBS": (queue("pbs") + 'partition = "a"', ("unknown key", "partition", "queue")),
    "cores of Grid Engine without environment": (
        queue("sge"),
        ("parallel environment", "cores = 4", "qconf -spl", 'parallel_environment = "smp"'),
    ),
    "resources of two words": (
        queue("pbs") + 'resources = "select=1 -q x"',
        ("resources", "select=1 -q x", "nodes=1:ppn=4"),
    ),
    "a directive of HTCondor without value": (
        queue("htcondor") + 'directives = ["-file"]',
        ("directives", "-file", "NAME = VALUE", "+MaxRuntime"),
    ),
    "a prologue that HTCondor would change": (
        queue("htcondor") + 'prologue = ["export X=$(hostname)"]',
        ("HTCondor", "$(hostname)", "`command`"),
    ),
    "a queue system that is not here": (
        queue("lsf"),
        ("LSF is not installed on this machine", "bsub", "login node"),
    ),
    "no function": ('kind = "factory"', ("lacks the key cluster", "lab_cluster:make")),
    "a function without module": (
        'kind = "factory"\ncluster = "make"',
        ("cluster", "'make'", "MODULE:FUNCTION"),
    ),
    "code for a function": (
        'kind = "factory"\ncluster = "os:system(1)"',
        ("cluster", "os:system(1)", "MODULE:FUNCTION"),
    ),
    "a module that is not there": (
        'kind = "factory"\ncluster = "no_such_lab.cluster:make"',
        ("no module no_such_lab", "import path", "PYTHONPATH=FOLDER"),
    ),
    "a function that is not there": (
        'kind = "factory"\ncluster = "shutil:no_such"',
        ("shutil has no function no_such", "copyfile"),
    ),
    "a function that fails": (
        'kind = "factory"\ncluster = "shutil:copyfile"',
        ("shutil:copyfile failed", "missing 2 required", "Cluster or Client"),
    ),
    "a function that makes no cluster": (
        'kind = "factory"\ncluster = "os:getcwd"',
        ("os:getcwd returned no cluster", "str", "Cluster or Client"),
    ),
    "a minimum without workers": (
        'kind = "factory"\ncluster = "os:getcwd"\nminimum_workers = 1',
        ("minimum_workers = 1, workers = None", "workers = 1"),
    ),
    "options that are lists": (
        'kind = "factory"\ncluster = "os:getcwd"\noptions = { a = [1] }',
        ("options", "[1]", "texts, numbers"),
    ),
    "no address": ('kind = "address"', ("address", "scheduler_file", "none")),
    "address and file": (
        'kind = "address"\naddress = "tcp://h:1"\nscheduler_file = "s.json"',
        ("address", "scheduler_file", "both"),
    ),
    "an address without protocol": (
        'kind = "address"\naddress = "h:1"',
        ("h:1", "tcp://host:port"),
    ),
    "certificates for a plain address": (
        'kind = "address"\naddress = "tcp://h:1"\ntls = "tls"',
        ("an encrypted address", "tcp://h:1", "tls://h:1"),
    ),
    "temporary certificates for an address": (
        'kind = "address"\naddress = "tls://h:1"\ntls = "temporary"',
        ("tls", "'temporary'", "cluster certificates"),
    ),
    "no time for an address": (
        'kind = "address"\naddress = "tls://h:1"\ntimeout_seconds = 0',
        ("timeout_seconds", "0.1 to 3600"),
    ),
    "half a worker": ('kind = "local"\nworkers = 0.5', ("workers", "0.5", "whole number")),
    "no threads": ('kind = "local"\nthreads = 0', ("threads", "0", "whole number")),
    "Kubernetes without image": ('kind = "kubernetes"', ("lacks the key image", "image = ")),
    "a name in capitals": (KUBERNETES + 'name = "Lab"', ("name", "Lab", "a to z")),
    "a name too long": (KUBERNETES + f'name = "{54 * "a"}"', ("name", "up to 53")),
    "a mount that is relative": (KUBERNETES + 'mount = "stores"', ("mount", "absolute")),
}

# What is wrong: the table of counts or atoms, and what the message must hold.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "an empty table": ("", ("table.csv",)),
    "only a head": (COUNTS.splitlines()[0], ("table.csv", "empty", "no rows")),
    "a negative count": (counts("0,1,3,40", "0,1,3,-1"), ("one", "-1", "whole numbers from 0")),
    "half a count": (counts("0,1,3,40", "0,1,3,0.5"), ("one", "0.5", "whole numbers from 0")),
    "a count in words": (counts("0,1,3,40", "0,1,3,forty"), ("one", "forty", "whole numbers")),
    "no count": (counts("0,1,3,40", "0,1,3,nan"), ("one", "nan", "whole numbers from 0")),
    "an infinite count": (counts("0,1,3,40", "0,1,3,inf"), ("one", "inf", "whole numbers")),
    "a count beyond all atoms": (counts("0,1,3,40", "0,1,3,1e300"), ("one", "1e+300", "whole")),
    "a class too few": (counts("0,1,3,40,30\n", ""), ("7", "(0, 1)", "all 8", "honeycomb")),
    "a class twice": (counts("0,1,3", "0,0,3"), ("twice", "(0, 0)", "once")),
    "an unknown class": (counts("0,3,1", "0,4,1"), ("unknown", "(0, 4)", "8 classes", "honeycomb")),
    "a class in words": (counts("0,3,1", "Mo,3,1"), ("unknown", "(Mo, 3)", "8 classes")),
    "no column of counts": (
        COUNTS.replace(",40,30", "").replace(",one,two", ""),
        ("no column of counts", "centre", "one column per image"),
    ),
    "no column of the centre": (counts("centre", "center"), ("honeycomb", "center", "centre, n_")),
    "an image of zeros": (COUNTS.replace(",30", ",0"), ("image two", "no counts")),
    "another lattice": (
        COUNTS.replace("multiplicity", "opposite"),
        ("table.csv", "honeycomb", "opposite"),
    ),
    "compositions not in the sweep": (
        counts("1,3,1,40,30", "1,3,1,40,900"),
        ("two", "0.89", "0.25, 0.5", "axis x"),
    ),
    "ragged rows": (COUNTS + "1,2,3,4,5,6,7,8\n", ("table.csv", "line 10")),
    "atoms without a column": (changed(ATOMS, "col_px", "col"), ("table.csv", "col_px", "row_px")),
    "atoms at no number": (
        changed(ATOMS, "2,0", "2,left"),
        ("table.csv", "col_px left", "row_px 2", "px"),
    ),
    "atoms at infinity": (changed(ATOMS, "2,0", "2,inf"), ("table.csv", "inf", "px")),
    "an unknown species": (changed(ATOMS, "2,0,Mo", "2,0,W"), ("table.csv", "W", "Mo, Re")),
    "too few atoms": (changed(ATOMS, "1,1,Re\n2,0,Mo\n", ""), ("table.csv", "3", "4 or more")),
    "no complete ring": (changed(ATOMS, "2,0,Mo\n", ""), ("table.csv", "4 atoms", "complete ring")),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good files and bad ones, and stores without a computed point."""
    folder = tmp_path_factory.mktemp("scene")
    files = {
        "ising.toml": ISING,
        "other.toml": ising(SIZE, "size = 8"),
        "seed.toml": ising("seed = 7", "seed = 8"),
        "grid.toml": ising("2.27", "3.0"),
        "counts.csv": COUNTS,
        "atoms.csv": ATOMS,
        "folder/atoms.csv": ATOMS,
        "rubbish.zarr/zarr.json": "[]",
        "own.toml": OWN,
        "job.toml": SLURM,
        "allocation.toml": SLURM + 'scheduler = "inside"\n',
        "folder.toml/profile.toml": SLURM,
        "jobs/latticescape-1.log": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "latin.csv").write_bytes(counts("one", "µ").encode("latin-1"))
    (folder / "latin.toml").write_bytes(b"# \xb5 = 1\n" + ISING.encode())
    for name, text in {"ising": ISING, "alloy": ALLOY, "damaged": ISING}.items():
        sweep = Sweep.from_toml(text)
        create(folder / f"{name}.zarr", sweep, plan(sweep))
    shutil.rmtree(folder / "damaged.zarr" / "done")
    sweep = Sweep(kernel=percolation, grid={"p": [0.5]})
    create(folder / "own.zarr", sweep, plan(sweep))
    return folder


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong request must be refused before a cluster of this machine's own starts."""

    @contextmanager
    def embedded(*_: object, **__: object) -> Iterator[Client]:
        raise AssertionError("a cluster was started")
        yield

    def no_command(*command: str, **_: object) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError(command[0])

    monkeypatch.setattr("latticescape.sweeps.execution.workers.embedded", embedded)
    # Nor is anything submitted, where SLURM is installed.
    monkeypatch.setattr("latticescape.deploy.clusters.queue_systems.subprocess.run", no_command)
    monkeypatch.setattr("asyncio.create_subprocess_exec", no_command)


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def assert_refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, tuple[str, ...], Path], None]:
    """A command, given in a folder, ends with code 2 and one line that holds the words, and no file
    of the folder is another than before."""

    def check(command: str, words: tuple[str, ...], folder: Path) -> None:
        monkeypatch.chdir(folder)
        before = everything(folder)
        result = CliRunner().invoke(main, shlex.split(command), prog_name="latticescape")
        assert isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
        assert [word for word in words if word not in line] == [], line
        assert everything(folder) == before

    return check


Refused = Callable[[str, tuple[str, ...], Path], None]


@pytest.mark.parametrize(("text", "words"), SPECS.values(), ids=SPECS)
def test_a_wrong_spec_is_refused(
    assert_refused: Refused, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "spec.toml").write_text(text)
    assert_refused("run spec.toml --store new/s.zarr", ("spec.toml", *words), tmp_path)


@pytest.mark.parametrize(("command", "words"), COMMANDS.values(), ids=COMMANDS)
def test_a_wrong_command_is_refused(
    assert_refused: Refused, scene: Path, command: str, words: tuple[str, ...]
) -> None:
    assert_refused(command, words, scene)


@pytest.mark.parametrize(("text", "words"), PROFILES.values(), ids=PROFILES)
def test_a_wrong_profile_is_refused(
    assert_refused: Refused, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    for name, content in {"spec.toml": ISING, "lab.toml": text, "file": "", "private": ""}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "file").chmod(0o644)
    (tmp_path / "private").chmod(0o600)
    assert_refused("run spec.toml --store new/s.zarr --cluster lab.toml", words, tmp_path)


@pytest.mark.parametrize(("text", "words"), TABLES.values(), ids=TABLES)
def test_a_wrong_table_is_refused(
    assert_refused: Refused, scene: Path, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "table.csv").write_text(text)
    options = "--species Mo,Re --out new/l.zarr --picture new/l.png"
    assert_refused(f"landscape {scene}/alloy.zarr table.csv {options}", words, tmp_path)


RUN = "run ising.toml --store new/s.zarr"


def test_a_read_only_folder_is_refused(
    assert_refused: Refused, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    assert_refused(RUN, ("new/s.zarr", f"{scene} is read-only", "runs/s.zarr"), scene)


def test_a_full_disk_is_refused(
    assert_refused: Refused, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    words = ("no space", "new/s.zarr", "0.98 kiB free", "177.79 kiB or more")
    assert_refused(RUN, words, scene)


def test_an_address_that_answers_nothing_is_refused(
    assert_refused: Refused, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "latticescape.deploy.clusters.clients.at_address", partial(at_address, timeout=0.5)
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    words = ("no scheduler answers", address, "0.5 s", "dask scheduler")
    assert_refused(f"{RUN} --cluster {address}", words, scene)


@pytest.fixture
def scheduler() -> Iterator[str]:
    """The address of a scheduler without workers."""
    with LocalCluster(
        n_workers=0,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


@contextmanager
def other_program(greeting: bytes) -> Iterator[str]:
    """The address of a program that sends a greeting on every connection, and waits."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection = stack.enter_context(server.accept()[0])
                    connection.sendall(greeting)

        threading.Thread(target=answer, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("greeting", "word"), [(b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-"), (b"", "silence")]
)
def test_another_program_at_the_address_is_refused(
    assert_refused: Refused,
    scene: Path,
    monkeypatch: pytest.MonkeyPatch,
    greeting: bytes,
    word: str,
) -> None:
    monkeypatch.setattr(
        "latticescape.deploy.clusters.clients.at_address", partial(at_address, timeout=0.5)
    )
    with other_program(greeting) as address:
        words = ("is not a Dask scheduler", address, word, "tcp://127.0.0.1:8786")
        assert_refused(f"{RUN} --cluster {address}", words, scene)


def test_the_port_of_a_dashboard_is_refused(
    assert_refused: Refused, scene: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "latticescape.deploy.clusters.clients.at_address", partial(at_address, timeout=2)
    )
    with Client(scheduler, set_as_default=False) as client:
        address = f"tcp://127.0.0.1:{urlsplit(client.dashboard_link).port}"
    words = ("is not a Dask scheduler", address, "a web server", "dashboard")
    assert_refused(f"{RUN} --cluster {address}", words, scene)


def test_a_scheduler_without_workers_is_refused(
    assert_refused: Refused, scene: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WORKERS}.check_workers", partial(check_workers, timeout=0.3))
    words = (scheduler, "no workers", "0.3 s", f"dask worker {scheduler}")
    assert_refused(f"{RUN} --cluster {scheduler}", words, scene)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("sweeps/execution/run.py", '"""', '""" '),
        ("sweeps/execution/worker_code.py", "code_identity", "identity"),
    ],
    ids=["one byte of the source", "a version that cannot be asked"],
)
def test_a_worker_with_other_code_is_refused(
    assert_refused: Refused,
    scene: Path,
    scheduler: str,
    tmp_path: Path,
    file: str,
    old: str,
    new: str,
) -> None:
    with foreign_worker(scheduler, tmp_path, file, old, new):
        words = ("other code", str(tmp_path), str(ROOT), "on every worker")
        assert_refused(f"{RUN} --cluster {scheduler}", words, scene)


@contextmanager
def foreign_worker(scheduler: str, folder: Path, file: str, old: str, new: str) -> Iterator[None]:
    """A worker that runs a copy of this code with a change, from a folder."""
    shutil.copytree(
        ROOT / "latticescape",
        folder / "latticescape",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    changing = folder / "latticescape" / file
    changing.write_text(changing.read_text().replace(old, new))
    worker = subprocess.Popen(
        [sys.executable, "-m", "dask", "worker", scheduler, "--no-nanny", "--no-dashboard"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.kill()
        worker.wait()


def test_a_worker_that_joins_later_with_other_code_is_refused(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joins when all others have been asked, and writes nothing."""
    monkeypatch.setattr(f"{WORKERS}.check_workers", lambda client: 0)
    session = "latticescape.sweeps.execution.dask_session"
    monkeypatch.setattr(f"{session}.warmed", lambda client, sweep: nullcontext())
    store = tmp_path / "s.zarr"
    with (
        foreign_worker(scheduler, tmp_path, "sweeps/execution/run.py", '"""', '""" '),
        pytest.raises(ForeignWorkerError, match="other code") as caught,
    ):
        execute(Sweep.from_toml(ISING), store, scheduler, progress=False)
    assert f"in {tmp_path}" in str(caught.value)
    assert f"in {ROOT}" in str(caught.value)
    assert not Store(store).done().any()


def test_what_cannot_be_made_whole_leaves_no_folder_behind(tmp_path: Path) -> None:
    sweep = Sweep.from_toml(ISING)
    with pytest.raises(RequestError, match="File name too long"):
        create(tmp_path / "new" / "deep" / (250 * "a"), sweep, plan(sweep))
    with suppress(KeyboardInterrupt), atomic_write(tmp_path / "new" / "s.zarr") as draft:
        draft.mkdir()
        raise KeyboardInterrupt
    assert everything(tmp_path) == {}


def make(**parts: object) -> Sweep:
    good = {
        "lattice": square(4),
        "model": Ising(),
        "grid": {"T": [2.0]},
        "schedule": Schedule(10, 5, 2),
    }
    return Sweep(**(good | parts))  # type: ignore[arg-type]


def simulate(seeds: object, **points: object) -> object:
    return sample(Ising(), square(4), points or {"T": [2.0]}, Schedule(1, 2, 1), seeds)  # type: ignore[arg-type]


def energy(T, steps: int = 10):  # type: ignore[no-untyped-def]
    return T


def declare(*variables: object, of: object = energy, **declared: object) -> object:
    return kernel(*variables, **declared)(of)  # type: ignore[arg-type]


def sweep_own(**parts: object) -> Sweep:
    return Sweep(**({"kernel": logistic, "grid": {"r": [3.5]}} | parts))  # type: ignore[arg-type]


def function_of(arguments: str) -> object:
    """A function of these arguments, of no file."""
    names: dict[str, object] = {}
    exec(f"def made({arguments}): return 1.0", names)
    return names["made"]


SEED = np.zeros((1, 4), np.uint64)
LABELLED = xr.DataArray([1.0, 2.0], dims="configuration")

# What is wrong: the call, and what the message must hold.
CALLS: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "a lattice that is a word": (
        lambda: make(lattice="square"),
        ("lattice", "'square'", "square(64)"),
    ),
    "a model that is a class": (lambda: make(model=Ising), ("model", "Ising", "Ising()")),
    "a grid that is a list": (
        lambda: make(grid=[("T", [2.0])]),
        ("grid must be a Mapping", "[('T', [2.0])]", '{"T": [2.0, 2.5]}'),
    ),
    "a grid that is empty": (lambda: make(grid={}), ("grid is empty", "T = {")),
    "a schedule that is a tuple": (
        lambda: make(schedule=(1, 2, 1)),
        ("schedule", "(1, 2, 1)", "Schedule("),
    ),
    "a seed that is None": (lambda: make(seed=None), ("seed", "None", "0 to 2^63 - 1")),
    "an axis of complex numbers": (lambda: make(grid={"T": np.array([2j])}), ("grid.T", "2j")),
    "an axis with two dimensions": (
        lambda: make(grid={"T": np.ones((2, 2))}),
        ("grid.T", "not a number"),
    ),
    "a negative count": (lambda: statistical_distance([1, -2], [1, 2]), ("negative", "-2", ">= 0")),
    "other numbers of classes": (
        lambda: statistical_distance([1, 2], [1, 2, 3]),
        ("classes", "2 and 3", "same classes"),
    ),
    "labels beside too many counts": (
        lambda: statistical_distance(LABELLED, [1, 2, 3]),
        ("classes", "2 and 3"),
    ),
    "a dimension that is not there": (
        lambda: statistical_distance(LABELLED, LABELLED, dim="T"),
        ("classes", "0 and 0"),
    ),
    "a kernel that was not declared": (
        lambda: sweep_own(kernel=energy),
        ("kernel", "<function energy", "@kernel(…)"),
    ),
    "a kernel and a lattice": (
        lambda: sweep_own(lattice=square(4), schedule=Schedule(1, 2, 1)),
        ("a kernel, or of a model on a lattice", "kernel and lattice, schedule"),
    ),
    "a kernel without a grid": (lambda: sweep_own(grid=None), ("grid must be a Mapping", "None")),
    "a kernel with an empty grid": (lambda: sweep_own(grid={}), ("grid is empty",)),
    "a parameter that the function has not": (
        lambda: sweep_own(grid={"r": [3.5], "R": [1.0]}),
        ("own_kernels:logistic", "R", "r, x0, steps"),
    ),
    "a parameter that is not given": (
        lambda: sweep_own(grid={"x0": [0.5]}),
        ("parameter r", "no value", "a default in the function", "r in the grid"),
    ),
    "a parameter out of bounds": (
        lambda: sweep_own(grid={"r": [0.0]}),
        ("grid.r", "0.0", "0 to 4"),
    ),
    "half a step": (lambda: sweep_own(grid={"r": [3], "steps": [1.5]}), ("grid.steps", "1.5")),
    "a swept parameter named as a variable": (
        lambda: Sweep(kernel=declare("T"), grid={"T": [1.0]}),  # type: ignore[call-overload]
        ("name of a variable", "T"),
    ),
    "a decorator without its brackets": (lambda: kernel(energy), ("<function energy", '"energy"')),  # type: ignore[arg-type]
    "a kernel without a variable": (
        lambda: declare(),
        ("kernel.variables", "[]", "one or more variables"),
    ),
    "a kernel of no function": (lambda: declare("e", of=7), ("a function", "7", "def energy")),
    "a kernel of a lambda": (lambda: declare("e", of=lambda T: T), ("lambda", "def")),
    "a kernel of a built-in": (lambda: declare("e", of=max), ("max", "def")),
    "a kernel of any arguments": (
        lambda: declare("e", of=function_of("*Ts")),
        ("Ts cannot be passed by name", "*Ts"),
    ),
    "a default that is a word": (
        lambda: declare("e", of=function_of("mode='fast'")),
        ("default of mode", "'fast'", "a finite number"),
    ),
    "a default out of bounds": (
        lambda: declare("e", of=function_of("T=-1.0"), parameters=[Parameter("T", low=0)]),
        ("default of T", "-1.0", "T >= 0"),
    ),
    "a declared parameter that is none": (
        lambda: declare("e", parameters=[Parameter("H")]),
        ("the function lacks a declared parameter", "H", "T, steps"),
    ),
    "a variable that is a number": (lambda: declare(7), ("must be a name or a Variable", "7")),
    "a variable twice": (lambda: declare("e", "e"), ("twice", "e")),
    "a dimension of words and numbers": (
        lambda: declare(Variable("e", ("bin",)), dims={"bin": [[1, 2], [3]]}),
        ("dims.bin", "[[1, 2], [3]]"),
    ),
    "a version that is true": (lambda: declare("e", version=True), ("version", "True")),
    "a duration in words": (lambda: declare("e", seconds="long"), ("seconds", "'long'")),
    "a function without a source": (
        lambda: Sweep(kernel=declare("e", of=function_of("T")), grid={"T": [1.0]}),  # type: ignore[call-overload]
        ("source of the function made", "write it into a file"),
    ),
    "a seed without points": (
        lambda: simulate(SEED[0]),
        ("seeds", "(4,)", "uint64 of shape (points, 4)"),
    ),
    "a seed of 64 bits": (lambda: simulate(SEED[:, :1]), ("seeds", "(1, 1)", "(points, 4)")),
    "a seed of signed words": (lambda: simulate(SEED.astype(int)), ("seeds", "int64", "uint64")),
    "points without seeds": (
        lambda: simulate(SEED, T=[2.0, 3.0]),
        ("T must have one value per point", "came: 2", "allowed: 1"),
    ),
}


@pytest.mark.parametrize(("call", "words"), CALLS.values(), ids=CALLS)
def test_a_wrong_call_is_refused(call: Callable[[], object], words: tuple[str, ...]) -> None:
    with pytest.raises(RequestError) as caught:
        call()
    reported = str(caught.value)
    assert [word for word in words if word not in reported] == [], reported
