"""What tests of several files start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from latticescape.sweeps import Sweep
from tests.support.browsing import browser
from tests.support.runs import SPEC, in_process, undisturbed

__all__ = ["browser", "calm", "client"]


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of ``SPEC`` that nothing happened to."""
    return undisturbed(Sweep.from_toml(SPEC), tmp_path_factory.mktemp("calm") / "calm.zarr")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of one worker, in this process: what a test patches holds in it."""
    with in_process() as client:
        yield client
