"""Damaged inputs for the commands, and how ``python -m benchmarks fuzz`` counts what goes wrong."""

import json
from collections.abc import Mapping
from random import Random

from numcodecs.zstd import Zstd

from benchmarks.fuzz.command import Tally, _of_output, play, prepared
from benchmarks.fuzz.damage import apply_damages, draw_damages
from benchmarks.fuzz.inputs import VERBS

# Cases that no command may fail at, in every run of the tests; the long runs draw other ones.
CASES = 40

# Those that read no image and draw no picture: these take seconds.
QUICK = [verb for verb in VERBS if verb.weight >= 4 and "image" not in " ".join(verb.inputs)]


def test_damaged_inputs_are_refused_without_a_traceback() -> None:
    with prepared(QUICK) as inputs:
        tally = play(inputs, range(CASES), QUICK)
    assert not tally.problems, tally.text()
    assert tally.cases.total() == CASES
    assert {0, 2} <= set(tally.codes) <= {0, 1, 2}


def files(clock: str) -> Mapping[str, bytes]:
    """Files of a store that hold a clock."""
    record = {"attributes": {"made": clock, "spec": "a = 1\nb = 2\n"}, "shape": [3, 4]}
    return {
        "s.zarr/zarr.json": json.dumps(record).encode(),
        "s.zarr/n/zarr.json": json.dumps({**record, "node": clock}).encode(),
        "s.zarr/n/c/0": bytes(Zstd().encode(clock.encode().ljust(24))),
        "s.zarr/done/notes/lease.json": json.dumps({"time": clock}).encode(),
        "counts.csv": b"a,b\n1,2\n3,4\n",
    }


def test_the_damage_follows_from_the_seed_and_not_from_a_clock_in_a_store() -> None:
    early, late = files("2026"), files("2026-11-30 12:00")
    for case in range(300):
        drawn = [draw_damages(each, Random(case)) for each in (early, dict(reversed(late.items())))]
        assert drawn[0] == drawn[1]
        if all(damage.kind in ("json", "text", "gone") for damage in drawn[0]):
            one, other = apply_damages(drawn[0], early), apply_damages(drawn[0], late)
            clocks = (b"2026-11-30 12:00", b"2026")
            same = {
                name: text.replace(*clocks) if isinstance(text, bytes) else text
                for name, text in other.items()
            }
            assert same == one


def test_a_problem_is_counted_and_shown_with_its_first_case() -> None:
    tally = Tally()
    tally.add("hangs: run", "case 1")
    tally.add("hangs: run", "case 2")
    assert "2 x hangs: run\n  first: case 1" in tally.text()
    assert _of_output("run x", 7, "", "") == "exit code 7: run"
    assert _of_output("run x", 2, "", "") == "no reason: run"
    assert "traceback" in _of_output("run x", 1, "Traceback (most recent call last)", "")
