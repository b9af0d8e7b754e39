"""A missing extra ends in one error that says what to install; the core runs sweeps alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from latticescape.physics.extras import EXTRAS
from tests.support.runs import SPEC

# An interpreter in which some modules cannot be imported.
HIDE = """
import importlib.abc, runpy, sys
hidden = set(sys.argv[1].split(","))
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""
COMMAND = """
sys.argv = ["latticescape", *sys.argv[2:]]
runpy.run_module("latticescape", run_name="__main__")
"""
COMMANDS = """
from latticescape.deploy.cli.main import main
for line in sys.argv[2:]:
    assert not main(line.split(), standalone_mode=False), line
"""
ALL = ",".join({module for modules in EXTRAS.values() for module in modules} - {"yaml"})


def without(hidden: str, folder: Path, *arguments: str, code: str = COMMAND) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", HIDE + code, hidden, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ising.toml").write_text(SPEC)
    (tmp_path / "profile.toml").write_text('kind = "slurm"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("extra", "hidden", "command"),
    [
        ("images", "skimage", "measure image.png --species Mo,Re"),
        ("browse", "holoviews", "map s.zarr energy --out energy.png"),
        ("browse", "panel", "browse s.zarr"),
        ("export", "h5netcdf", "export s.zarr s.nc"),
        ("cluster", "dask_jobqueue", "run ising.toml --store new.zarr --cluster profile.toml"),
        ("cluster", "cryptography", "cluster certificates --out tls"),
    ],
)
def test_a_missing_extra_is_one_error(
    extra: str, hidden: str, command: str, folder: Path, calm: Path
) -> None:
    if "s.zarr" in command:
        (folder / "s.zarr").symlink_to(calm)
    code, errors = without(hidden, folder, *command.split())
    (line,) = errors.splitlines()
    assert line.startswith(f"Error: {hidden} is not installed")
    assert line.endswith(f'Try: pip install "latticescape[{extra}]"')
    assert code == 2


def test_a_function_whose_extra_is_missing_says_so(folder: Path) -> None:
    code = "from latticescape import measure"
    status, errors = without("skimage", folder, code=code)
    assert status == 1
    assert errors.splitlines()[-1] == (
        "latticescape.RequestError: skimage is not installed. "
        'Try: pip install "latticescape[images]"'
    )


def test_the_core_runs_sweeps_without_any_extra(folder: Path) -> None:
    commands = (
        "plan ising.toml --no-calibrate",
        "run ising.toml --store s.zarr --workers 1 --quiet",
        "status s.zarr",
        "verify s.zarr",
        "consolidate s.zarr c.zarr",
        "export s.zarr s.csv --to csv",
        "cluster list",
    )
    assert without(ALL, folder, *commands, code=COMMANDS) == (0, "")
