"""Tags and a note of a store."""

from pathlib import Path

import pytest

from latticescape.physics.errors import RequestError
from latticescape.sweeps import extend, label, run, status
from latticescape.sweeps.spec.plan import plan
from latticescape.sweeps.store.label import MAX_NOTE, MAX_TAG, MAX_TAGS, NAME, Label, read_label
from latticescape.sweeps.store.store import Store, create
from tests.support.command_line import json_of, latticescape
from tests.support.runs import assert_same_bits, ising_sweep


@pytest.fixture
def store(tmp_path: Path) -> Path:
    create(tmp_path / "s.zarr", ising_sweep(), plan(ising_sweep()))
    return tmp_path / "s.zarr"


def test_info_writes_and_list_shows_them(store: Path) -> None:
    before = status(store)
    facts = json_of("info", store, "--tag", "draft", "--tag", "µ", "--note", "for figure 3")
    assert (facts["tags"], facts["note"]) == (["draft", "µ"], "for figure 3")
    (row,) = json_of("list", store)["stores"]
    assert (row["tags"], row["note"]) == (["draft", "µ"], "for figure 3")
    for command in ("info", "list"):
        words = latticescape(command, store).stdout.split()
        assert {"draft,", "µ", "figure"} - {word.rstrip(";") for word in words} == set()
    assert status(store) == before
    assert json_of("info", store, "--note", "")["tags"] == ["draft", "µ"]
    assert json_of("info", store, "--tag", "")["tags"] == []


def test_a_label_changes_no_result(store: Path, tmp_path: Path) -> None:
    label(store, tags=["a", "a"], note="b")
    run(ising_sweep(), store, "inline")
    run(ising_sweep(), tmp_path / "plain.zarr", "inline")
    assert_same_bits(store, tmp_path / "plain.zarr")
    assert read_label(Store(store).records) == Label(tags=("a",), note="b")
    extend(store, "inline", samples=12)
    assert Store(store).sweep.schedule.samples == 12
    assert read_label(Store(store).records) == Label(tags=("a",), note="b")
    longer = tmp_path / "longer.zarr"
    extend(store, "inline", samples=16, out=longer)
    assert read_label(Store(longer).records) == Label(tags=("a",), note="b")
    label(longer, note="own")
    extend(store, "inline", samples=16, out=longer)
    assert read_label(Store(longer).records) == Label(tags=("a",), note="own")


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        (["\x1b[2J"], None),
        ([""], None),
        (["a" * (MAX_TAG + 1)], None),
        (list(map(str, range(MAX_TAGS + 1))), None),
        (None, "a" * (MAX_NOTE + 1)),
        (None, "two\nlines"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    tags: list[str] | None, note: str | None, store: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        label(store, tags=tags, note=note)
    assert caught.value.allowed
    assert caught.value.hint
    assert not Store(store).records.has(NAME)


@pytest.mark.parametrize(
    "record", [{"tags": "a"}, {"tags": ["\x1b"]}, {"note": 3}, {"other": 1}, {"note": "a\nb"}]
)
def test_a_record_that_is_no_label_counts_as_none(record: dict[str, object], store: Path) -> None:
    Store(store).records.write(NAME, record)
    assert (json_of("info", store)["tags"], json_of("info", store)["note"]) == ([], "")


def test_nothing_is_written_through_a_link(store: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store / "done" / "notes").symlink_to(tmp_path / "elsewhere")
    result = latticescape("info", store, "--note", "a")
    assert result.exit_code == 2
    assert "not a regular file" in result.stderr
    assert [*(tmp_path / "elsewhere").iterdir()] == []
