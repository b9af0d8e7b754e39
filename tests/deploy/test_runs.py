"""Runs that go on in another job when the job that held the scheduler has ended."""

from typing import Any

import pytest

from latticescape.deploy.cli import run as command
from latticescape.deploy.clusters.profiles import Local, Slurm
from latticescape.sweeps import Sweep
from latticescape.sweeps.execution.run import Report
from tests.support.runs import SPEC


def reports(patch: pytest.MonkeyPatch, profile: object, *each: dict[str, Any]) -> Report:
    """What ``execute_on`` reports if its runs end like this, one after the other."""
    left = iter([Report("s.zarr", "", points=9, blocks=3, **facts) for facts in each])
    patch.setattr(command, "execute", lambda *arguments, **options: next(left))
    patch.setattr(command, "connect", lambda *arguments, **options: None)
    patch.setattr(command, "profile_of", lambda cluster: profile)
    return command.execute_on("lab", Sweep.from_toml(SPEC), "s.zarr")


INSIDE = Slurm(jobs=2, memory="1 GB", walltime="00:10:00", scheduler="inside")


def test_what_the_jobs_of_a_run_computed_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    report = reports(
        monkeypatch,
        INSIDE,
        {"computed": 4, "updates": 40, "seconds": 2.0, "note": "first", "lost": True},
        {"computed": 3, "updates": 30, "seconds": 1.5, "lost": True},
        {"computed": 2, "updates": 20, "seconds": 1.0, "failed": 1},
    )
    assert (report.computed, report.updates, report.seconds) == (9, 90, 4.5)
    assert (report.failed, report.note, report.lost) == (1, "first", False)


@pytest.mark.parametrize(
    ("profile", "facts"),
    [
        (INSIDE, {"computed": 0, "lost": True}),
        (INSIDE, {"computed": 4, "lost": False}),
        (Local(), {"computed": 4, "lost": True}),
    ],
)
def test_a_run_is_not_repeated_without_need_or_hope(
    monkeypatch: pytest.MonkeyPatch, profile: object, facts: dict[str, Any]
) -> None:
    assert reports(monkeypatch, profile, facts).computed == facts["computed"]
