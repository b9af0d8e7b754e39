"""What each command imports: counted in sys.modules, since times depend on the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from latticescape import Schedule, Sweep, square
from latticescape.physics.models.ising import Ising
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.store import create

HEAVY = (
    *("arviz", "bokeh", "cryptography", "dask", "dask_jobqueue", "distributed", "emcee"),
    *("holoviews", "matplotlib", "numba", "numpy", "pandas", "panel", "rich", "scipy.optimize"),
    *("scipy.sparse", "scipy.stats", "skimage", "sklearn", "xarray", "zarr"),
)
COMMAND = """
import sys
from latticescape.deploy.cli.main import main
code = main(sys.argv[1:], standalone_mode=False)
assert not code, code
"""
REPORT = f"""
print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""


def imported(code: str, *arguments: str | Path) -> set[str]:
    """The heavy modules that a new interpreter has imported after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}{REPORT}", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return Sweep(square(8), Ising(), {"T": [2.0, 2.5]}, Schedule(10, 5, 2))


@pytest.mark.parametrize("package", ["latticescape", "latticescape.analysis"])
def test_importing_the_package_imports_nothing_heavy(package: str) -> None:
    assert imported(f"import sys, {package}") == set()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    assert imported(COMMAND, option) == set()


def test_status_and_list_import_no_models_and_no_dask(sweep: Sweep, tmp_path: Path) -> None:
    create(tmp_path / "s.zarr", sweep, plan(sweep))
    assert imported(COMMAND, "status", tmp_path / "s.zarr") == {"numpy", "rich", "zarr"}
    assert imported(COMMAND, "list", tmp_path) == {"numpy", "rich", "zarr"}


def test_plan_imports_models_but_no_store_and_no_dask(sweep: Sweep, tmp_path: Path) -> None:
    (tmp_path / "ising.toml").write_text(sweep.to_toml())
    assert imported(COMMAND, "plan", tmp_path / "ising.toml") <= {"numpy", "rich", "numba"}
