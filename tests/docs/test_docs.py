"""The code of the README and the docs runs, and their links, files and commands exist."""

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import numpy as np
import pytest

from latticescape.deploy.cli.main import main
from latticescape.physics.kinetics.adatoms import BOLTZMANN_EV
from latticescape.sweeps import Sweep, run
from tests.support.browsing import served
from tests.support.command_line import latticescape
from tests.support.runs import in_process

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*/*.md")])
# Parts of messages that pages quote, as they stand in the code.
QUOTED = {
    "recover-from-failures.md": (
        "while it computed only this",
        "the scheduler is lost",
        "the same command again",
        "took over from",
        "cannot write to the store",
        "no object storage answers for",
        "their done marks are lost",
        "The job that holds the scheduler is lost; submitting another one.",
        "runs other code than this process",
        "waiting for a worker:",
        "free some space, then run the same command again",
    ),
    "secure-a-cluster.md": (
        "do not trust each other",
        "no certificates for",
        "no scheduler answers",
    ),
    "predict-a-phase-diagram.md": ("no order found", "correlation ratio"),
    "compare-models.md": ("S² left out",),
}
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.slow
def test_the_story_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert story is not None
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(story[1], "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "'w1': (" in printed
    assert "bic" in printed
    pair = names["table"].sel(model="pair", parameter="w1")
    estimate = names["fit"](names["distances"]).parameters["w1"]
    assert (float(pair["best"]), float(pair["best_se"])) == pytest.approx(estimate)
    assert (tmp_path / "runs" / "coarse.zarr").is_dir()


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
    printed = capsys.readouterr().out
    assert "100% of 441 points are trusted" in printed
    assert "not trusted: no\n" in printed
    assert "'w1': (" in printed


def test_the_page_on_adatoms_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "howto" / "follow-adatoms.md").read_text()
    spec, code = (
        re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("toml", "python")
    )
    (tmp_path / "adatoms.toml").write_text(spec[0])
    sweep = Sweep.from_file(tmp_path / "adatoms.toml")
    assert (sweep.model.kind, sweep.axes["T"].tolist()) == ("adatoms", [120.0, 150.0, 180.0])
    assert len(code) == 1
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code[0], "follow-adatoms.md", "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == 3
    energy, error = (names["energies"][name].values for name in ("energy", "energy_se"))
    gap = BOLTZMANN_EV * 150.0 * np.log(880 / 120)
    assert energy[1] - energy[0] == pytest.approx(gap)
    assert (error > 0).any()
    # ln(220 / 12) over the difference of 1 / k_B T of the outer two.
    slope = np.log(220 / 12) / (1 / 300.0 - 1 / 360.0) * BOLTZMANN_EV
    assert float(names["fit"].barrier) == pytest.approx(slope, abs=float(names["fit"].barrier_se))


def test_the_page_on_extensions_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "howto" / "extend-a-sweep.md").read_text()
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    (schedule,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "extend-a-sweep.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert "copied=(2, 2)" in lines[-1]
    # 16 times the samples: a quarter of the error.
    assert float((names["longer"].energy_se / names["short"].energy_se).mean()) < 0.4
    assert names["even"].until_met.all()
    assert (names["even"].energy_se <= 0.002).all()
    spec = names["sweep"].to_toml().split("[schedule]")[0] + schedule
    assert Sweep.from_toml(spec).schedule.targets is not None


def test_the_page_on_couplings_and_disorder_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its blocks run with a small lattice and a short schedule, on fewer points."""
    page = (ROOT / "docs" / "howto" / "couple-and-disorder.md").read_text()
    matrix, bonds = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    rest = """
    [sweep]
    keep = ["spins"]
    [lattice]
    kind = "square"
    size = 8
    [schedule]
    equilibration_mcs = 20
    samples = 20
    stride_mcs = 2
    """
    coupled = Sweep.from_toml(matrix + "[grid]\nT = [3.0, 5.0]" + rest)
    disordered = Sweep.from_toml(bonds.replace("num = 16", "num = 4") + rest)
    assert (coupled.kernel.name, disordered.kernel.name) == ("lanes", "lanes")
    assert disordered.shape == (4, 4)
    monkeypatch.chdir(tmp_path)
    with in_process() as client:
        assert bool(run(coupled, "runs/matrix.zarr", client, progress=False).done.all())
        run(disordered, "runs/bonds.zarr", client, progress=False)
    names: dict[str, Any] = {}
    exec(compile(code, "couple-and-disorder.md", "exec"), names)
    assert names["average"].sizes["T"] == 4
    assert (names["average"].energy_se > 0).all()
    assert (names["overlap"].overlap_squared_se > 0).all()
    assert ((names["binder"] > -1) & (names["binder"] < 1)).all()


@pytest.mark.slow
def test_every_verb_of_the_tour_does_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run all commands of the page in order; of ``browse`` only fetch the page."""
    page = (ROOT / "docs" / "howto" / "on-the-command-line.md").read_text()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names = re.findall(r"^`(\w+\.toml)`:", page, re.M)
    for name, spec in zip(names, re.findall(r"```toml\n(.*?)```", page, re.DOTALL), strict=True):
        Path(name).write_text(spec)
    shown = {}
    for line in re.findall(r"^latticescape (.*)$", page, re.MULTILINE):
        command, _, file = line.partition(" > ")
        verb, *arguments = shlex.split(command)
        if verb == "browse":
            with served(*arguments) as address, urlopen(address) as answer:
                shown[verb] = answer.read().decode()
            continue
        done = latticescape(verb, *arguments)
        assert done.exit_code == 0, done.output
        shown[verb] = done.output
        if file:
            Path(file).write_text(done.stdout)
    verbs = "run info landscape fit compare sample-size refine phase-diagram browse"
    assert list(shown) == verbs.split()
    assert json.loads(Path("fit.json").read_text())["overlap"] == "simulated"
    assert "errors by bootstrap" in shown["fit"]
    assert "reached" in shown["refine"]
    assert "of the diagrams drawn from the fit" in shown["phase-diagram"]
    assert "Bokeh" in shown["browse"]
    for name in ("landscape.html", "diagram.html", "runs/landscape.zarr", "runs/diagram.zarr"):
        assert Path(name).exists()


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_every_attack_names_a_test() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "threats.md").read_text())
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_command_in_the_docs_is_a_command(page: Path) -> None:
    for words in re.findall(r"latticescape ([a-z][a-z-]+[^`\n]*)", page.read_text()):
        command: click.Command = main
        rest = words.split()
        while isinstance(command, click.Group) and rest:
            called = command.get_command(click.Context(command), rest[0])
            if called is None:
                break
            command = called
            rest.pop(0)
        if command is not main:
            known = {o for p in command.params for o in p.opts}
            assert set(re.findall(r"--[a-z-]+", " ".join(rest))) <= known, words


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_command_line_in_the_docs_names_a_command(page: Path) -> None:
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        for verb in re.findall(r"^ *(?:\S*/)?latticescape ([\w-]+)", block, re.MULTILINE):
            assert main.get_command(click.Context(main), verb), verb


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_file_and_module_that_a_page_names_exists(page: Path) -> None:
    quoted = re.findall(r"`([^`\n]+)`", page.read_text())
    for name in quoted:
        if re.fullmatch(r"(physics|sweeps|analysis|deploy|tests|benchmarks)/[\w./-]*", name):
            assert (ROOT / name).exists(), name
        elif re.match(r"latticescape\.\w+\.", name):
            module, _, attribute = name.partition("(")[0].rpartition(".")
            try:
                importlib.import_module(f"{module}.{attribute}")
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.parametrize("page", QUOTED)
def test_messages_that_a_page_quotes_are_those_of_the_code(page: str) -> None:
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "howto" / page).read_text())
    sources = [
        source.read_text()
        for part in ("physics", "sweeps", "analysis", "deploy")
        for source in (ROOT / part).rglob("*.py")
    ]
    for message in QUOTED[page]:
        assert message in text
        assert any(message in source for source in sources), message


@pytest.mark.parametrize("spec", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.name)
def test_every_example_spec_is_valid(spec: Path) -> None:
    assert Sweep.from_file(spec).points > 10


def test_the_architecture_page_lists_all_rooms_and_their_imports() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    below: dict[str, set[str]] = {}
    for room, imports in re.findall(r"^\| `(\w+/\w+)` \|.*\|([^|]*)\|$", page, re.MULTILINE):
        part = room.split("/")[0]
        direct = {f"{part}/{name}" for name in imports.strip().split(", ")} & below.keys()
        below[room] = direct.union(*(below[other] for other in direct))
    parts = ("physics", "sweeps", "analysis", "deploy")
    rooms = {f"{part}/{file.parent.name}" for part in parts for file in ROOT.glob(f"{part}/*/*.py")}
    assert rooms == set(below)
    upward = set()
    for room in rooms:
        for file in (ROOT / room).rglob("*.py"):
            for module in re.findall(
                r"^ *(?:from|import) latticescape\.(\S+)", file.read_text(), re.M
            ):
                other = "/".join(module.split(".")[:2])
                same_part = other.split("/")[0] == room.split("/")[0]
                if same_part and other in rooms - {room} - below[room]:
                    upward.add((room, other))
    assert not upward
