"""The package works beside a user's files, and beside other projects, of the same names.

A folder holds files named after the four parts of the package, and a project named ``sweeps`` is
installed. A script, a notebook and ``python -m latticescape`` sweep there, on each kind of cluster.
"""

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from latticescape.sweeps.store.store import Store
from tests.support.processes import address_in, end
from tests.support.virtual_slurm import PATH, missing, virtual_slurm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# A kernel that runs without compilation: each installation would compile anew.
SPEC = """
[sweep]
seed = 5
[lattice]
kind = "square"
size = 4
[model]
kind = "adatoms"
E_b = 0.35
adatoms = 1
[grid]
T = [120.0, 150.0]
[schedule]
equilibration_mcs = 1
samples = 2
stride_mcs = 1
"""
ONE_WORKER = 'kind = "local"\nworkers = 1\n'
SLURM = """
kind = "slurm"
jobs = 1
memory = "1 GB"
walltime = "00:10:00"
interface = "lo"
folder = "jobs"
check_seconds = 1
"""
USERS_FILES = ("physics.py", "sweeps.py", "analysis/__init__.py", "deploy/__init__.py")
SCRIPT = """
import latticescape
from latticescape import Sweep, connect, run

for store, cluster in {stores}.items():
    with connect(cluster) as client:
        run(Sweep.from_file("spec.toml"), store, client, progress=False)
print(latticescape.__file__)
"""
NOTEBOOK = """
import nbformat
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(text) for text in open("script.py").read().split("\\n\\n")]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
print(notebook.cells[-1].outputs[-1].text)
"""


class Installation:
    """A virtual environment that holds the package and finds what this process finds."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        self.python = folder / "bin" / "python"
        self.packages = next(folder.glob("lib/*/site-packages"))
        (self.packages / "others.pth").write_text(
            "\n".join(entry for entry in sys.path if entry.endswith("site-packages"))
        )

    def pip(self, command: str, *arguments: object) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--no-input"]
        subprocess.run([*pip, command, *map(str, arguments)], check=True, capture_output=True)

    def install(self, wheel: Path) -> None:
        self.pip("install", "--no-deps", "--no-index", "--no-compile", "--ignore-installed", wheel)


def built(kind: str, folder: Path) -> Path:
    """A wheel of this tree: ``kind`` is wheel, with its files, or editable, with their place."""
    code = f"from hatchling.build import build_{kind} as build; print(build({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return folder / done.stdout.split()[-1]


def fake_sweeps(folder: Path) -> Path:
    """A wheel of another project named ``sweeps``, which cannot be imported."""
    path, meta = folder / "sweeps-1.0-py3-none-any.whl", "sweeps-1.0.dist-info"
    files = {
        "sweeps/__init__.py": "raise ImportError('the project sweeps')\n",
        f"{meta}/METADATA": "Metadata-Version: 2.1\nName: sweeps\nVersion: 1.0\n",
        f"{meta}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{meta}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{meta}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder with files that raise where they are imported."""
    folder = tmp_path / "home"
    for name in USERS_FILES:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"raise ImportError('the user has {name}')\n")
    (folder / "jobs").mkdir()
    for name, text in {"spec": SPEC, "embedded": ONE_WORKER, "slurm": SLURM}.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of the processes, with those of a SLURM if this machine has one."""
    settings = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore", "PATH": PATH}
    settings.pop("PYTHONPATH", None)
    with ExitStack() as stack:
        if not missing():
            (tmp_path / "slurm").mkdir()
            settings["SLURM_CONF"] = str(stack.enter_context(virtual_slurm(tmp_path / "slurm")))
        yield settings


# Each way runs on each cluster, from one installation; the last after the uninstallation.
RUNS = {
    "wheel": [
        ("script", ("embedded", "address", "slurm")),
        ("command", ("slurm",)),
        ("command", ("address",)),
    ],
    "editable": [
        ("notebook", ("embedded", "address", "slurm")),
        ("command", ("embedded",)),
    ],
}


@pytest.mark.parametrize("kind", RUNS)
def test_files_and_projects_of_the_same_names_harm_nothing(
    kind: str, tmp_path: Path, home: Path, environment: dict[str, str]
) -> None:
    pytest.importorskip("hatchling")
    pytest.importorskip("nbclient")
    own = Installation(tmp_path / "environment")
    own.install(built(kind, tmp_path))
    own.install(fake_sweeps(tmp_path))
    place = (own.packages if kind == "wheel" else ROOT) / "latticescape" / "__init__.py"

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [str(own.python), *arguments], cwd=home, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ExitStack() as stack:

        def dask(*arguments: str) -> None:
            process = subprocess.Popen(
                [str(own.python), "-m", "dask", *arguments],
                cwd=home,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(end, process)

        dask("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", "scheduler.json")
        address = address_in(home / "scheduler.json")
        dask("worker", address, "--no-dashboard", "--no-nanny", "--nthreads", "1")
        clusters = {"embedded": "embedded.toml", "address": address}
        if "SLURM_CONF" in environment:
            clusters["slurm"] = "slurm.toml"

        for way, names in RUNS[kind]:
            if (way, names) == RUNS[kind][-1]:
                own.pip("uninstall", "--yes", "sweeps")
                assert not (own.packages / "sweeps").exists()
            stores = {f"{way}-{name}.zarr": clusters[name] for name in names if name in clusters}
            if way == "command":
                for store, cluster in stores.items():
                    options = ["--store", store, "--cluster", cluster, "--quiet"]
                    python("-m", "latticescape", "run", "spec.toml", *options)
            else:
                (home / "script.py").write_text(SCRIPT.format(stores=stores))
                start = ["script.py"] if way == "script" else ["-c", NOTEBOOK]
                assert python(*start).split()[-1] == str(place)
            assert all(Store(home / store).done().all() for store in stores)
    if "slurm" not in clusters:
        pytest.skip(f"not run on SLURM: no {', '.join(missing())}")
