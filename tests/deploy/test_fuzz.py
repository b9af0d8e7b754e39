"""How ``python -m benchmarks fuzz`` counts what goes wrong."""

from benchmarks.fuzz.command import Tally, _of_output


def test_a_problem_is_counted_and_shown_with_its_first_case() -> None:
    tally = Tally()
    tally.add("hangs: run", "case 1")
    tally.add("hangs: run", "case 2")
    assert "2 x hangs: run\n  first: case 1" in tally.text()
    assert _of_output("run x", 7, "", "") == "exit code 7: run"
    assert _of_output("run x", 2, "", "") == "no reason: run"
    assert "traceback" in _of_output("run x", 1, "Traceback (most recent call last)", "")
