"""Sound files of every kind that a command reads, and the commands that read them."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import tifffile
from click.testing import CliRunner
from PIL import Image

from latticescape.analysis.images.synthetic import draw_configuration, place_atoms
from latticescape.deploy.cli.main import main
from latticescape.physics import (
    Ising,
    PairAlloy,
    Schedule,
    SegregationSlab,
    configurations,
    slab,
    square,
    triangular,
)
from latticescape.sweeps import Sweep, consolidate, run

SHORT = Schedule(20, 10, 2)
AXIS = {"x": [0.25, 0.5], "w1": np.linspace(-0.4, 0.4, 5)}
ISING = Sweep(square(6), Ising(), {"T": [1.8, 2.27, 3.0], "H": [0.0, 0.5]}, SHORT, seed=7)
ALLOY = Sweep(triangular(6), PairAlloy(), AXIS, SHORT, seed=7)
SLAB = Sweep(
    slab(8, 6),
    SegregationSlab(w_CL=1.65, w_LO=-7.57),
    {"w_LL": [3.4, 4.9, 6.4, 7.9]},
    Schedule(30, 10, 3),
    seed=3,
)
PART = Sweep(triangular(6), PairAlloy(), {**AXIS, "x": [0.25]}, SHORT, seed=7)
SWEEPS = {"ising": ISING, "alloy": ALLOY, "slab": SLAB, "part": PART}

# Inputs that commands write.
MEASURE = "measure image.tif --species A,B --out measured.zarr --atoms atoms.csv --quiet"
TYPED = {
    "measured.zarr": MEASURE,
    "atoms.csv": MEASURE,
    "surface.zarr": "landscape alloy.zarr counts.csv --out surface.zarr",
    "draws.zarr": "fit alloy.zarr counts.csv --method bootstrap --draws 20 --out draws.zarr",
}

# The inputs that others are made from.
MADE_FROM = {
    "shards.zarr": ("ising.zarr",),
    "open.zarr": ("ising.zarr",),
    "measured.zarr": ("image.tif",),
    "atoms.csv": ("image.tif",),
    "surface.zarr": ("alloy.zarr", "counts.csv"),
    "draws.zarr": ("alloy.zarr", "counts.csv"),
}

SOURCES = """\
[SO]
table = "hollows.csv"
column = "with"
[SN]
table = "hollows.csv"
column = "without"
[PR]
table = "profile.csv"
column = "ca"
error = 0.02
"""
PROFILE = """\
kind = "slurm"
jobs = 4
cores = 1
memory = "2 GB"
walltime = "01:00:00"
folder = "jobs"
tls = "temporary"
prologue = ["module load python"]
"""


@dataclass(frozen=True)
class Verb:
    """A command, as it is typed in the folder of the inputs.

    Attributes
    ----------
    line
        What is typed; ``NEW`` begins the names of outputs.
    inputs
        The inputs that are damaged.
    also
        Further inputs that the command reads.
    writes
        Inputs that it may change.
    weight
        How often it is called, compared with others: slow commands less.
    """

    line: str
    inputs: tuple[str, ...]
    also: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    weight: int = 4


NEW = "new"
IMAGES = ("image.tif", "image.png", "image.npy", "image.h5")

VERBS = (
    Verb("plan ising.toml", ("ising.toml",), weight=8),
    Verb("plan slab.toml --json", ("slab.toml",)),
    Verb("plan alloy.toml --json", ("alloy.toml",)),
    Verb("status ising.zarr", ("ising.zarr",), weight=10),
    Verb("status open.zarr --json", ("open.zarr",), weight=14),
    Verb("watch open.zarr --every 0.1", ("open.zarr",)),
    Verb("info ising.zarr", ("ising.zarr",), weight=6),
    Verb("info open.zarr --json", ("open.zarr",), weight=6),
    Verb("info slab.zarr --json", ("slab.zarr",)),
    Verb("list", ("ising.zarr", "open.zarr", "measured.zarr")),
    Verb("list . --json", ("ising.zarr", "slab.zarr")),
    Verb("verify ising.zarr", ("ising.zarr",), weight=8),
    Verb("verify open.zarr --repair", ("open.zarr",), writes=("open.zarr",), weight=6),
    Verb("verify shards.zarr", ("shards.zarr",)),
    Verb("cancel open.zarr", ("open.zarr",), writes=("open.zarr",), weight=6),
    Verb("consolidate ising.zarr new.zarr", ("ising.zarr",)),
    Verb("consolidate open.zarr new.zarr --partial --json", ("open.zarr",)),
    Verb("export ising.zarr new.nc", ("ising.zarr",)),
    Verb("export open.zarr new.csv --to csv --json", ("open.zarr",)),
    Verb("export ising.zarr new.crate --to ro-crate", ("ising.zarr",)),
    Verb("run ising.toml --store new.zarr --quiet", ("ising.toml",), weight=2),
    Verb(
        "run ising.toml --store open.zarr --quiet",
        ("open.zarr",),
        ("ising.toml",),
        ("open.zarr",),
        weight=8,
    ),
    Verb(
        "run alloy.toml --store new.zarr --base part.zarr --quiet", ("part.zarr",), ("alloy.toml",)
    ),
    Verb("extend part.zarr --samples 12 --out new.zarr --quiet", ("part.zarr",)),
    Verb(
        "extend part.zarr --until energy_se=0.1 --max-samples 20 --quiet",
        ("part.zarr",),
        writes=("part.zarr", ".part.zarr.extending"),
    ),
    Verb("merge part.zarr alloy.zarr --out new.zarr", ("part.zarr", "alloy.zarr")),
    Verb("retry-failed open.zarr --quiet", ("open.zarr",), writes=("open.zarr",), weight=6),
    Verb("map ising.zarr susceptibility --out new.png --at H=0", ("ising.zarr",), weight=1),
    Verb("landscape alloy.zarr counts.csv", ("counts.csv",), ("alloy.zarr",)),
    Verb("landscape alloy.zarr counts.csv --out new.zarr", ("alloy.zarr",), ("counts.csv",)),
    Verb("landscape alloy.zarr measured.zarr", ("measured.zarr",), ("alloy.zarr",)),
    Verb("landscape alloy.zarr atoms.csv", ("atoms.csv",), ("alloy.zarr",)),
    Verb(
        "landscape slab.zarr sources.toml --json",
        ("sources.toml", "hollows.csv", "profile.csv"),
        ("slab.zarr",),
    ),
    Verb(
        "landscape slab.zarr sources.toml",
        ("slab.zarr",),
        ("sources.toml", "hollows.csv", "profile.csv"),
    ),
    Verb("fit alloy.zarr counts.csv --json", ("counts.csv", "alloy.zarr")),
    Verb("fit alloy.zarr measured.zarr --out new.zarr", ("measured.zarr",), ("alloy.zarr",)),
    Verb(
        "fit alloy.zarr counts.csv --method bootstrap --draws 20",
        ("counts.csv", "alloy.zarr"),
        weight=1,
    ),
    Verb(
        "compare counts.csv --model a=alloy.zarr --random --draws 19 --json",
        ("counts.csv", "alloy.zarr"),
        weight=2,
    ),
    Verb(
        "sample-size measured.zarr --model a=alloy.zarr --error w1=0.1",
        ("measured.zarr", "alloy.zarr"),
        weight=2,
    ),
    Verb(
        "refine alloy.zarr counts.csv --target w1=0.05 --rounds 1 --budget 2 --quiet "
        "--store-out new.zarr",
        ("counts.csv", "alloy.zarr"),
        weight=1,
    ),
    Verb("phase-diagram ising.zarr --json", ("ising.zarr",), weight=2),
    Verb("phase-diagram ising.toml --fit fit.json --draws 1", ("fit.json",), ("ising.toml",)),
    *(
        Verb(f"measure {image} --species A,B --out new.zarr --quiet", (image,), weight=1)
        for image in IMAGES
    ),
    Verb("segment image.tif --window 32 --step 16 --quiet", ("image.tif",), weight=1),
    Verb(
        "browse alloy.zarr --observed counts.csv --no-show --port 0",
        ("alloy.zarr",),
        ("counts.csv",),
        weight=2,
    ),
    Verb(
        "browse alloy.zarr --landscape surface.zarr --posterior draws.zarr --no-show --port 0",
        ("surface.zarr", "draws.zarr"),
        ("alloy.zarr",),
        weight=2,
    ),
    Verb("cluster show ./lab.toml", ("lab.toml",)),
    Verb("cluster job-script ./lab.toml", ("lab.toml",)),
)


def typed(line: str) -> None:
    """Type a command that must succeed."""
    result = CliRunner().invoke(main, line.split())
    if result.exit_code:
        raise RuntimeError(f"latticescape {line}: {result.output}") from result.exception


def make_inputs(folder: Path, names: Iterable[str]) -> None:
    """Write inputs, and those they are made from, into a folder, which is the current one."""
    for name in names:
        if not (folder / name).exists():
            make_inputs(folder, MADE_FROM.get(name, ()))
            _make_input(folder, name)


def _make_input(folder: Path, name: str) -> None:
    path = folder / name
    match name:
        case "shards.zarr":
            consolidate(folder / "ising.zarr", path)
        case "open.zarr":
            _write_open(folder)
        case _ if name in TYPED:
            typed(TYPED[name])
        case "fit.json":
            fit = {"parameters": {"J": {"value": 1.0, "se": 0.1, "low68": 0.9, "high68": 1.1}}}
            path.write_text(json.dumps(fit))
        case "lab.toml":
            path.write_text(PROFILE)
        case _ if name in IMAGES:
            _write_images(folder)
        case _ if path.suffix == ".zarr":
            run(SWEEPS[path.stem], path, block_points=2, progress=False)
        case _ if path.stem in SWEEPS:
            path.write_text(SWEEPS[path.stem].to_toml())
        case _:
            _write_tables(folder)


def _write_open(folder: Path) -> None:
    """A store of which a block is open, with records of a scheduler that died at it."""
    store = folder / "open.zarr"
    shutil.copytree(folder / "ising.zarr", store)
    for name in ("done", "state", "energy"):
        (store / name / "c" / "0" / "0").unlink(missing_ok=True)
    notes = store / "done" / "notes"
    notes.mkdir(exist_ok=True)
    lease = {
        "id": "0" * 32,
        "scheduler": "Scheduler-1",
        "address": "tcp://127.0.0.1:1",
        "port": 1,
        "host": "elsewhere",
        "user": "somebody",
        "pid": 7,
        "since": 1.7e9,
        "done": 2,
    }
    records = {
        "lease": lease,
        "pulse": {"time": 1.7e9},
        "block-0": {"trying": [0], "sets": [[1]], "deaths": [[0, 1]]},
    }
    for name, record in records.items():
        (notes / f"{name}.json").write_text(json.dumps(record))
        os.utime(notes / f"{name}.json", (1.7e9, 1.7e9))


def _write_tables(folder: Path) -> None:
    classes = configurations("triangular")
    head = ",".join(("centre", "n_b", *classes.pair_names, "multiplicity", "small", "large"))
    rows = [
        ",".join(map(str, (*key, number, 4 * number, 16 * number)))
        for key, number in zip(classes.keys, classes.multiplicity, strict=True)
    ]
    (folder / "counts.csv").write_text("\n".join([head, *rows]) + "\n")
    hollows = zip([24, 121, 41, 45, 23, 2], [10, 52, 71, 52, 68, 3], strict=True)
    (folder / "hollows.csv").write_text(
        "with,without\n" + "".join(f"{a},{b}\n" for a, b in hollows)
    )
    profile = [0.4213, 0.3736, 0.3587, 0.3588, 0.3621, 0.3755]
    (folder / "profile.csv").write_text("ca\n" + "".join(f"{v}\n" for v in profile))
    (folder / "sources.toml").write_text(SOURCES)


def _write_images(folder: Path) -> None:
    species = np.random.default_rng(7).integers(0, 2, 8 * 8)  # half of the inner atoms are B
    placed = place_atoms(triangular(8), species, spacing=12.0)
    image = draw_configuration(placed, seed=1, peak=200.0, background=20.0)
    values = np.asarray(image.values, np.uint16)
    tifffile.imwrite(folder / "image.tif", values)
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(folder / "image.png")
    np.save(folder / "image.npy", values)
    with h5py.File(folder / "image.h5", "w") as file:
        file["image"] = values
