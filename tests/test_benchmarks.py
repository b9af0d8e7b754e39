"""Benchmarks run, whatever they would measure."""

import importlib.util
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

import benchmarks.__main__ as command
from benchmarks import (
    atoms,
    calibration,
    critical,
    end_to_end,
    information,
    instructions,
    kaufman,
    kernels,
    lecture_table,
    mutants,
    peers,
    refinement,
    reweighting,
    scale,
    selection,
    spectra,
    threads,
)
from benchmarks.kernels import CASES, FLIPS, OTHERS, SQUARE
from benchmarks.timing import Work, one_core, side_by_side, strides_for
from latticescape.analysis.images.spectra.windows import sliding_fft
from latticescape.physics import Ising, Schedule, square, triangular
from latticescape.sweeps.execution.run import Report

TINY = {"seconds": 0.0, "runs": 1}


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def test_one_core_is_given_back() -> None:
    cores = getattr(os, "sched_getaffinity", lambda process: {0})
    before = cores(0)
    with one_core():
        assert len(cores(0)) == 1
    assert cores(0) == before


def test_every_rule_is_weighed() -> None:
    report = information.report(size=4, samples=3, equilibration=0, stride=8, runs=1)
    lines = [line for line in report.splitlines()[2:] if line.startswith("  ")]
    rules = [name for _ in information.CASES for name in information.RULES]
    assert [line[:26].strip() for line in lines] == rules
    assert {line[40:].split()[0] for line in lines if "heat bath" in line} <= {"1.00", "nan"}


def test_every_kernel_has_a_rate() -> None:
    flips = [replace(FLIPS[0], stride_mcs=8)]
    lines = kernels.report(size=4, **TINY, flips=flips).splitlines()[1:]
    named = [case.at(4).title for case in (*CASES, *OTHERS, *flips)]
    assert [line[:36].strip() for line in lines if line[36:].strip()] == [
        *named,
        "adatoms, hops of 32 on L=16",
    ]
    rates = [float(rate) for line in lines for rate in line[36:].split()]
    assert len(rates) == len(CASES) + 2 * len(OTHERS) + 2 * len(flips) + 1
    assert all(rate > 0 for rate in rates)


def test_a_run_does_the_updates_that_it_is_credited_with() -> None:
    lanes, scalar = (SQUARE.at(4).work(kernel) for kernel in (None, "reference"))
    assert lanes.updates == 8 * scalar.updates == 8 * 64 * 16 * 10


def test_threads_are_set_side_by_side() -> None:
    assert float(threads.report(SQUARE.at(4), **TINY).split()[-2]) > 0


def test_spectra_are_set_beside_those_of_a_plain_loop() -> None:
    image = spectra.two_domains(80)
    np.testing.assert_allclose(
        sliding_fft(image, window=16, step=4), spectra.plain_loop(image, 16, 4), atol=3e-5
    )
    lines = spectra.report(80, 16, 8, runs=1, own_processes=False).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["times", "times", "MB", "times", "MB"]
    assert all(float(line.split()[-2]) > 0 for line in lines[1:])


def test_a_reweighted_landscape_is_held_against_direct_simulation() -> None:
    lines = reweighting.report(side=3, tests=3, fine=5, size=6, schedule=Schedule(5, 20, 2))
    assert lines.splitlines()[0].startswith("3 x 3 references of 1280 samples, L = 6: ")
    assert lines.splitlines()[1].startswith("inside: trusted 9 points, z: rms ")


def test_runs_take_turns_after_a_warm_up() -> None:
    asked: list[tuple[str, int]] = []
    ours = Work(lambda strides: asked.append(("ours", strides)), updates=10, least=2)
    theirs = Work(lambda strides: asked.append(("theirs", strides)), updates=1)
    pair = side_by_side(ours, theirs, seconds=0, runs=2)
    assert asked[:4] == [("ours", 2), ("ours", 2), ("theirs", 1), ("theirs", 1)]
    assert asked[4:] == [("ours", 2), ("theirs", 1)] * 2
    assert min(pair.ours, pair.theirs, pair.ratio) > 0


def test_a_run_is_as_long_as_it_was_asked_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.timing.cpu_seconds_of", lambda run: 0.01)
    assert strides_for(Work(lambda strides: None, updates=1, least=2), 0.5) == 100


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_peers_are_measured_where_they_are_installed(peer: peers.Peer) -> None:
    lines = peers.report([peer], size=6, **TINY).splitlines()[2:-2]
    if peer.extra and not installed(peer.name):
        assert lines == [f"{peer.name} is not installed: pip install '.[{peer.extra}]'"]
        return
    assert [line[:28].strip() for line in lines] == [case.at(6).title for case in peer.cases]
    assert all(peer.title in line for line in lines)
    assert all(min(float(rate) for rate in line[28:50].split()) > 0 for line in lines)


def test_a_peer_that_is_missing_is_named_and_stops_nothing() -> None:
    missing = replace(peers.PEERS[0], name="a_peer_of_nobody")
    lines = peers.report([missing, replace(peers.PEERS[-1], cases=[SQUARE])], size=4, **TINY)
    assert lines.splitlines()[2] == "a_peer_of_nobody is not installed: pip install '.[bench]'"
    assert "our scalar kernel" in lines.splitlines()[3]


def unlike_pairs(size: int) -> list[tuple[int, int]]:
    """Unlike bonds of either shell, with species 1 at site 0 and at one more site."""
    species = np.zeros((size**2, size**2), int)
    species[:, 0] = 1
    np.fill_diagonal(species, 1)
    bonds = [triangular(size).bonds(shell) for shell in (1, 2)]
    counts = [(species[1:, b[:, 0]] != species[1:, b[:, 1]]).sum(axis=1) for b in bonds]
    return list(zip(*(count.tolist() for count in counts), strict=True))


def smol_energies(size: int) -> list[float]:
    """smol's energies of the same arrangements."""
    ensemble = peers.smol_ensemble(triangular(size), -0.1, -0.05)
    energies = []
    for site in range(1, size**2):
        species = np.zeros(size**2, np.int32)
        species[[0, site]] = 1
        energies.append(ensemble.natural_parameters @ ensemble.compute_feature_vector(species))
    return energies


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_smol_has_the_energies_of_our_pair_alloy_where_it_is_installed() -> None:
    pairs = Counter(unlike_pairs(6))
    assert pairs == {(10, 12): 6, (12, 10): 6, (12, 12): 23}
    if installed("smol"):
        ours = Counter(round(-0.1 * near - 0.05 * far, 9) for near, far in pairs.elements())
        assert Counter(round(energy, 9) for energy in smol_energies(6)) == ours


CODE = """
kernel:
    xorl %eax, %eax
.L1:
    incq %rax
    jne .L1
.L2:
    vpaddq %zmm0, %zmm1, %zmm1
    cmpq %rax, %rbx
    je .L3
    vpxorq %zmm2, %zmm1, %zmm1
    jmp .L3
    nop
.L3:
    decq %rbx
    jne .L2
    retq
.Lfunc_end0:
wrapper:
.L4:
    vpaddq %zmm0, %zmm1, %zmm1
    jmp .L4
"""


def test_the_shortest_turn_of_the_vector_loop_is_found() -> None:
    turn = [line.split()[0] for line in instructions.shortest_turn(CODE)]
    assert turn == ["vpaddq", "cmpq", "je", "decq", "jne"]
    assert instructions.shortest_turn("kernel:\n    vpxorq %zmm2, %zmm1, %zmm1\n    retq\n") == []


def test_instructions_are_counted_in_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = instructions.report([SQUARE.at(4)]).splitlines()
    if not instructions.READABLE:
        assert lines[0].startswith("instructions are counted in x86 assembly alone")
        return
    loop, vector = map(int, lines[1][30:42].split())
    assert 100 < vector < loop < 1000
    assert lines[1].endswith("2 bytes a lane")
    assert ("perf_event" in lines[-1]) == (instructions.counted(lambda: None) is None)


def test_events_are_counted_where_the_machine_counts_them() -> None:
    ran: list[int] = []
    events = instructions.counted(lambda: ran.append(sum(range(10**6))), instructions.TASK_CLOCK)
    assert (events is None and not ran) or (events > 10**5 and len(ran) == 1)


def test_retired_instructions_are_those_of_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "loop_assembly", lambda case: CODE)
    monkeypatch.setattr(instructions, "counted", lambda run: 200 * 16 * 10 * 20 * 8)
    found = instructions.count(SQUARE.at(4), strides=20)
    assert (found.loop, found.vector) == (5, 1)
    assert found.retired == 200 * len(instructions.native_width())


@pytest.mark.parametrize("name", command.NAMES)
def test_names_on_the_command_line_pick(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in command.NAMES:
        monkeypatch.setattr(f"benchmarks.{each}.report", lambda each=each: f"report of {each}")
    picked = CliRunner().invoke(command.main, [name]).output.splitlines()
    assert picked[1:] == ["", name, f"report of {name}"]
    everything = CliRunner().invoke(command.main, []).output
    assert [n for n in command.NAMES if f"report of {n}" in everything] == list(command.NAMES)


def test_a_name_that_is_none_is_refused_with_those_that_are() -> None:
    refused = CliRunner().invoke(command.main, ["kernel"])
    assert refused.exit_code == 2
    assert all(name in refused.output for name in command.NAMES)


def test_a_short_run_is_held_against_the_exact_torus() -> None:
    lines = kaufman.report(1e6).splitlines()
    assert len(lines) == 2 + len(kaufman.TEMPERATURES)
    assert lines[-1].startswith("1.0e+06 flips in")


def test_critical_temperatures_are_held_against_the_known_ones() -> None:
    lines = critical.report(
        [critical.Case("square", (4, 6, 8), 2.1, 2.5)], samples=300
    ).splitlines()
    assert lines[0].startswith("square, L = 4, 6, 8:")
    assert [line.split()[0] for line in lines[1:]] == ["Tc", "U*", "inverse", "beta", "gamma"]
    value, error, known = map(float, lines[1].split()[1:4])
    assert abs(value - known) < 5 * error < 0.5


def test_a_lattice_without_circuits_of_its_own_is_among_them() -> None:
    case = critical.Case("kagome", (2, 3, 4), 1.9, 2.5, samples=300, stride_mcs=8)
    lines = critical.report([case]).splitlines()
    value, error, known = map(float, lines[1].split()[1:4])
    assert known == 2.14332
    assert abs(value - known) < 5 * error < 1.0


def test_a_whole_run_is_measured_beside_the_peer_where_it_is_installed() -> None:
    reported = end_to_end.report(end_to_end.grid(3, 2, size=4, mcs=20), workers=1).splitlines()
    assert reported[0].startswith("3 x 2 points, square 4 x 4, 64 replicas, 20 MCS")
    assert reported[4].startswith("kernel time / worker time")
    peer = installed("mcising")
    assert reported[-1].startswith("ours is faster" if peer else "mcising is not installed")


def test_atoms_are_found_beside_the_peers_that_are_installed() -> None:
    lines = atoms.report([atoms.SCENES[0]], size=160).splitlines()
    ours = lines[3].split()
    assert ours[0] == "find_atoms"
    assert 0.5 < float(ours[2]) < 1.5
    assert [float(share) for share in ours[4:6]] == [1.0, 1.0]
    assert lines[2].startswith("100 counts: bound 0.05")
    there = [peer for peer in atoms.PEERS if peer.installed]
    assert [line.split()[0] for line in lines[4 : 4 + len(there)]] == [
        peer.title.split()[0] for peer in there
    ]
    assert len(lines) == 4 + len(atoms.PEERS)
    faint = atoms.report([replace(atoms.SCENES[0], peak=0.3)], peers=[], size=160)
    assert "find_atoms: no " in faint


def test_shares_are_of_the_workers_time() -> None:
    report = Report(
        "s.zarr",
        "",
        points=4,
        blocks=2,
        seconds=10,
        kernel_seconds=15,
        worker_seconds=16,
        updates=10**12,
        workers=2,
    )
    run = end_to_end.Run(1, 1, report)
    assert (run.per_ns, run.kernel_share, run.busy_share) == (50, 15 / 16, 0.75)
    assert end_to_end.PeerRun(points=2, seconds=3).scaled(4) == 6


def test_the_lectures_table_is_printed_beside_the_published_one() -> None:
    lines = lecture_table.report(Schedule(20, 5, 4), size=16, every=3, draws=99).splitlines()
    heads = [line.split(",")[0] for line in lines if not line.startswith(" ")]
    assert heads[:4] == ["random", "pair", "pair_nnn", "three_body"]
    assert lines[1].startswith("  re05   S² 0.00615 ± 0.00000 [0.0062]  χ² 0.9906 [0.9899]")
    gain = next(line for line in lines if line.startswith("S²(pair) - S²(three-body)"))
    assert float(gain.split()[4]) > 0.001


def test_p_values_decisions_and_needs_are_tallied() -> None:
    lines = selection.report(2, size=16, draws=19, most=2).splitlines()
    assert sum(" KS p " in line for line in lines) == 6
    assert sum(" true: wrong " in line for line in lines) == 2
    assert lines[-2].startswith("  power .9 against random wanted, N = ")


@pytest.mark.slow
def test_what_blocks_and_workers_cost_is_measured_on_a_small_crowd() -> None:
    small = {"blocks": 3, "sizes": [8, 16], "tasks": 40, "workers": 20, "seconds": 0.01}
    lines = scale.report(**small).splitlines()
    written = [line for line in lines if line.endswith(("ms a block", "bytes a block"))]
    assert len(written) == 4
    assert all(float(line[40:].split()[0]) > 0 for line in written)
    looked = lines[lines.index(next(line for line in lines if line.endswith(" blocks"))) + 1 :][:8]
    names = ["plan", "create", "status", "list", "info", "verify", "open_sweep", "a variable"]
    assert [
        line for line, name in zip(looked, names, strict=True) if not line.startswith(name)
    ] == []
    assert all(float(seconds) >= 0 for line in looked for seconds in line[40:].split())
    rushes = [line for line in lines if "tasks/s" in line]
    assert [line[:18].strip() for line in rushes] == ["Dask alone", "run, into a store"]
    assert "20 workers there in" in lines[-5]
    assert lines[-1].endswith("10 workers a process")


@pytest.mark.slow
def test_a_crowd_ends_with_its_client() -> None:
    with scale.crowd(2) as client:
        assert sorted(client.nthreads().values()) == [1, 1]
        children = psutil.Process().children()
    # The scheduler and two processes of a worker each; what tracks their resources stays.
    assert sum(not child.is_running() for child in children) == 3


def test_calibration_counts_intervals_that_hold_the_truth() -> None:
    axes = {"T": np.linspace(2.6, 5.0, 7)}
    small = {
        "lattice": square(12),
        "truth": {"T": 3.6},
        "axes": axes,
        "schedule": Schedule(20, 5, 5),
    }
    lines = calibration.report(2, ["square"], model=Ising(H=0.2), **small).splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(calibration.METHODS)
    shares = [float(part) for line in lines[2:] for part in line.split()[2:]]
    assert len(shares) == 6
    assert all(0 <= share <= 1 for share in shares)


def test_refinement_is_set_beside_uniform_grids() -> None:
    case = refinement.Case("w1", {"w1": (-0.5, 0.5)}, 7, 0.002, 21, (7, 14, 28, 56))
    lines = refinement.report(1, (case,), repeats=2).splitlines()
    assert len(lines) == 3
    assert float(lines[1].split()[-1]) > 0
    assert "geometric mean" in lines[2]


def test_every_mutant_applies_and_its_tests_are_there() -> None:
    """Move an entry's file, text or tests along with the code."""
    stale = []
    for mutant in mutants.MUTANTS:
        try:
            compile(mutant.applied(mutants.ROOT), mutant.file, "exec")
        except ValueError as error:
            stale.append(str(error))
        folder = mutants.ROOT / "tests" / mutant.package
        stale += [test for test in mutant.tests if not (folder / test.split()[0]).is_file()]
    assert stale == []


def test_mutants_are_spread_over_all_packages() -> None:
    assert len(mutants.MUTANTS) >= 60
    assert len({(mutant.file, mutant.old) for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS)
    assert {mutant.package for mutant in mutants.MUTANTS} == set(mutants.PARTS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of one file with one test."""
    for name, text in {
        "physics/__init__.py": "",
        "physics/twice.py": "def twice(x):\n    return 2 * x  # twice\n",
        "tests/physics/test_twice.py": (
            "from physics.twice import twice\n\ndef test_twice():\n    assert twice(3) == 6\n"
        ),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_mutant_is_killed_by_a_test_that_fails_and_survives_if_all_pass(tree: Path) -> None:
    before = (tree / "physics" / "twice.py").read_text()
    file = "physics/twice.py"
    assert mutants.mutant(file, "2 * x", "3 * x", "factor", "twice").killed(tree)
    assert not mutants.mutant(file, "# twice", "# thrice", "comment", "twice").killed(tree)
    assert (tree / "physics" / "twice.py").read_text() == before
    with pytest.raises(RuntimeError, match="did not run"):
        mutants.mutant(file, "2 * x", "3 * x", "factor", "twice nothing").killed(tree)


@pytest.mark.parametrize("old", ["x", "three"])
def test_a_mutant_that_does_not_apply_exactly_once_is_refused(tree: Path, old: str) -> None:
    with pytest.raises(ValueError, match="times in it"):
        mutants.mutant("physics/twice.py", old, "y", "", "twice").applied(tree)


@pytest.mark.slow
def test_a_wrong_sign_of_the_drift_is_noticed_by_the_tests_of_its_package() -> None:
    result = CliRunner().invoke(mutants.main, ["sign of energy_drift"])
    assert result.exit_code == 0, result.output
    assert "1 of 1 killed" in result.output
