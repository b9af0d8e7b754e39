"""What tests of several files start from."""

from pathlib import Path

import pytest

from sweeps import Sweep
from tests.browsing import browser
from tests.runs import SPEC, undisturbed

__all__ = ["browser", "calm"]


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of ``SPEC`` that nothing happened to."""
    return undisturbed(Sweep.from_toml(SPEC), tmp_path_factory.mktemp("calm") / "calm.zarr")
