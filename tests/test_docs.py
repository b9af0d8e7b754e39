"""What README and docs show runs, and what they point at is there."""

import re
from pathlib import Path

import click
import pytest

from deploy.cli import main
from sweeps import Sweep

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.slow
def test_the_story_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert story is not None
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(story[1], "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "'w1': (" in told
    assert "bic" in told
    assert (tmp_path / "runs" / "mores2.zarr").is_dir()


@pytest.mark.slow
def test_the_example_of_reweighting_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs" / "howto" / "reweight-a-coarse-sweep.md"
    example = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert example is not None
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], page.name, "exec"), {})
    told = capsys.readouterr().out
    assert "100% of 441 points are trusted" in told
    assert "not trusted: no\n" in told
    assert "'w1': (" in told


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_command_in_the_docs_is_a_command(page: Path) -> None:
    for words in re.findall(r"latticescape ([a-z][a-z-]+[^`\n]*)", page.read_text()):
        command: click.Command = main
        rest = words.split()
        while isinstance(command, click.Group) and rest and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        if command is not main:
            known = {o for p in command.params for o in p.opts}
            assert set(re.findall(r"--[a-z-]+", " ".join(rest))) <= known, words


@pytest.mark.parametrize("spec", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.name)
def test_every_example_spec_is_valid(spec: Path) -> None:
    assert Sweep.from_file(spec).points > 10
