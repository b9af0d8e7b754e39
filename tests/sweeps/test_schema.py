"""The schema layer: every kind of wrong table becomes one sentence that names what is allowed."""

import subprocess
import sys
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field

from latticescape.physics.errors import RequestError
from latticescape.sweeps.schema import Choice, Table, parse_toml, read_kind


def even(value: int) -> int:
    if value == 13:
        raise RequestError("13 brings bad luck", came=value)
    if value % 2:
        raise ValueError
    return value


class Part(Table):
    name: str
    colour: Annotated[str, Choice({"red": 1, "blue": 2})] = "red"
    width: float = Field(1.0, gt=0, le=5)


class Job(Table):
    jobs: int = Field(1, ge=1, le=100, examples=[8])
    memory: Annotated[int, AfterValidator(even)] = Field(2, description="an even number of GB")
    parts: list[Part] = Field([], max_length=2)
    lengths: dict[str, int] = Field(default_factory=dict)
    scheduler: Literal["outside", "inside"] = "outside"
    note: str | None = None


class Spec(Table):
    job: Job
    grid: dict[str, Any]


# What the table [job] holds, and the whole message.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": (
        {"job": 3},
        "[job] has an unknown key (came: job; allowed: jobs, memory, parts, lengths, scheduler, "
        "note). Try: jobs = 8",
    ),
    "below its range": (
        {"jobs": 0},
        "job.jobs is out of range (came: 0; allowed: a whole number from 1 to 100). Try: jobs = 8",
    ),
    "true for a number": (
        {"jobs": True},
        "job.jobs is of the wrong type (came: True; allowed: a whole number from 1 to 100). "
        "Try: jobs = 8",
    ),
    "a validator": ({"memory": 3}, "job.memory cannot be used (came: 3; allowed: an even number"),
    "a validator's own words": ({"memory": 13}, "job.memory: 13 brings bad luck (came: 13)"),
    "a choice": (
        {"scheduler": "cloud"},
        "job.scheduler is unknown (came: 'cloud'; allowed: outside | inside)",
    ),
    "a number for a text": (
        {"note": 7},
        "job.note is of the wrong type (came: 7; allowed: a text)",
    ),
    "a list for a table": ({"lengths": []}, "job.lengths is not a table (came: []"),
    "a value of a table": ({"lengths": {"bin": 1.5}}, "job.lengths.bin is of the wrong type (came"),
    "a number for a list": ({"parts": 7}, "job.parts is of the wrong type (came: 7; allowed: a li"),
    "an item that is none": ({"parts": [7]}, "job.parts[0] is not a table (came: 7"),
    "too many items": ({"parts": [{"name": n} for n in "abc"]}, "job.parts is too long"),
    "a key of an item": ({"parts": [{}]}, "[job.parts[0]] lacks the key name (allowed: a text)"),
    "a choice of an item": (
        {"parts": [{"name": "a", "colour": "grey"}]},
        "job.parts.a.colour is unknown (came: 'grey'; allowed: red | blue)",
    ),
    "no finite number": (
        {"parts": [{"name": "a", "width": float("nan")}]},
        "job.parts.a.width is out of range (came: nan; allowed: a number above 0 to 5)",
    ),
}


@pytest.mark.parametrize(("job", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_key_is_one_sentence(job: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        Spec.read({"job": job, "grid": {}}, "the spec")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"job": {}, "gird": {}}, "the spec has an unknown table (came: gird; allowed: job, grid)"),
        ({"job": {}}, "the spec lacks the table grid (allowed: job, grid). Try: [grid]"),
        ({"job": 7, "grid": {}}, "job is not a table (came: 7"),
        (7, "the spec is not a table (came: 7"),
    ],
)
def test_a_wrong_file_is_one_sentence(tables: Any, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        Spec.read(tables, "the spec")
    assert str(caught.value).startswith(message)


def test_a_table_of_its_own_names_its_keys() -> None:
    with pytest.raises(RequestError, match=r"^kernel.jobs is out of range"):
        Job.read({"jobs": 0}, "[kernel]")
    with pytest.raises(RequestError, match=r"^\[kernel\] has an unknown key"):
        Job.read({"job": 0}, "[kernel]")


def test_the_kind_of_a_table_picks_its_schema() -> None:
    kinds = {"job": Job, "part": Part}
    assert read_kind(kinds, {"kind": "part", "name": "a"}, "the profile") == Part(name="a")
    for table, message in (
        ({}, r"the profile lacks the key kind \(allowed: job \| part\)"),
        ({"kind": "jab"}, r"the profile has an unknown kind \(came: 'jab'; allowed: job \| part\)"),
        ({"kind": "part", "nam": "a"}, r"the profile \(part\) has an unknown key \(came: nam;"),
    ):
        with pytest.raises(RequestError, match=message):
            read_kind(kinds, table, "the profile")


@pytest.mark.parametrize("text", ["jobs =", "a = " + 5000 * "9", "a = " + 5000 * "["])
def test_no_toml_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="the profile is not valid TOML"):
        parse_toml(text, "the profile", "jobs = 8")


def test_a_sweep_made_in_python_needs_no_pydantic() -> None:
    code = (
        "import sys; from latticescape import Ising, Schedule, Sweep, square;"
        "Sweep(square(4), Ising(), {'T': [2.0]}, Schedule(1, 2, 1)).to_toml();"
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_spec_names_every_model_whatever_was_imported_before() -> None:
    code = (
        "from latticescape.sweeps.spec.sweep import Sweep\n"
        "from latticescape.sweeps.spec.spec_file import MODELS\n"
        "print(*MODELS)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    models = {"ising", "pair_alloy", "three_body_alloy", "solid_solution", "segregation_slab"}
    assert models <= set(done.stdout.split())
