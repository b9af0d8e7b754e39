"""The table of what dies amid a sweep: some kinds once, for real, and how it is counted."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.chaos.calls import Call, Calls, Work, in_flight, recomputed
from benchmarks.chaos.cases import Case, Outcome, absent, play_all
from benchmarks.chaos.strikes import KINDS
from benchmarks.chaos.table import allowed, table
from benchmarks.chaos.user import HUNG, Typed
from tests.support.sharing import compute_once

# What the others do to a sweep has tests of its own, and the table.
PLAYED = ("network", "noise")
ABSENT = absent(PLAYED)
TYPED = {
    "network": ["run"],
    "noise": ["run", "verify", "verify --repair", "run"],
}
SEEN = {"noise": "Try: latticescape verify STORE --repair"}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    """A run of each of these kinds that this machine has what it takes for."""
    here = [name for name in PLAYED if name not in ABSENT]

    def play(folder: Path) -> list[Outcome]:
        return play_all(here, 1, Work(24), seed=1, jobs=3, tell=[].append, folder=folder)

    played = compute_once(tmp_path_factory, "chaos", play)
    return {outcome.case.kind: outcome for outcome in played}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(name, marks=pytest.mark.skipif(name in ABSENT, reason=ABSENT.get(name, "")))
        for name in PLAYED
    ],
)
def test_what_dies_costs_no_block_and_no_bit(outcomes: Mapping[str, Outcome], kind: str) -> None:
    found = outcomes[kind]
    assert found.trouble == ""
    assert (found.lost, found.same) == (0, True)
    assert 2 <= found.done < 24
    assert found.recomputed <= allowed(found)
    assert [typed.words for typed in found.typed] == TYPED[kind]
    assert found.typed[-1].code == 0
    seen = [line for typed in found.typed for line in typed.seen]
    assert any(SEEN.get(kind, "") in line for line in [*seen, ""])


WORK = Work(20)
PLACES = [place for place, block in WORK.places.items() if block == 3]


def call(points: list[tuple[float, float]], process: int = 1) -> Call:
    return Call(0.0, process, WORK.places[points[0]], tuple(points))


def test_a_block_that_was_halved_counts_once() -> None:
    """Computed whole, then its halves, and one of these once more."""
    calls = [call(PLACES), call(PLACES[:2], 2), call(PLACES[2:], 2)]
    assert recomputed(calls[:1]) == {}
    assert recomputed(calls) == {3: 1}
    assert recomputed([*calls, calls[1]]) == {3: 2}
    assert in_flight(calls, {4}) == {3}
    assert in_flight(calls, {3}) == set()


def test_calls_are_read_as_workers_write_them(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "calls.log")
    assert calls.begun(WORK) == []
    places = ";".join(f"{t!r},{h!r}" for t, h in PLACES)
    calls.log.write_text(f"1.5 77 start {places}\n1.6 77 end {places}\n")
    assert calls.begun(WORK) == [Call(1.5, 77, 3, tuple(PLACES))]
    compile(calls.preload(), "preload.py", "exec")
    calls.clear()
    assert calls.begun(WORK) == []


def test_blocks_are_as_many_as_asked_for() -> None:
    assert set(WORK.places.values()) == set(range(20))
    assert len(WORK.places) == 80


def outcome(number: int, **found: object) -> Outcome:
    typed = (Typed("run", 1, ("Error: no",), 2.0), Typed("run", 0, (), 1.0))
    return Outcome(Case("disk", number, 1), in_flight=2, typed=typed, **found)  # type: ignore[arg-type]


def test_the_table_counts_runs_that_broke_the_promise() -> None:
    good, late = outcome(0, recomputed=2), outcome(1, recomputed=3, differing=("attempts",))
    lost = outcome(2, lost=1, differing=("energy",))
    stuck = Outcome(Case("disk", 3, 1), trouble="TimeoutError: no end", typed=(good.typed[0],))
    lines = table([good, late, lost, stuck]).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:8] == ["the disk full", "4", "1", "5", "6", "1", "2 of 4", "1 of 4"]
    assert cells[8] == "`run` (3); no way: TimeoutError: no end (1)"
    assert "  - 4 of 4: `run: Error: no`" in lines
    hung = Outcome(Case("worker", 0, 1), typed=(Typed("run", HUNG, (), 180.0),))
    assert "1 of 1: `run: it hangs`" in table([hung])


def test_kinds_are_named_on_the_command_line() -> None:
    refused = CliRunner().invoke(main, ["chaos", "--only", "meteorite"])
    assert refused.exit_code == 2
    assert all(name in refused.output for name in KINDS)
