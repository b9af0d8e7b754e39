"""Small mutants of the code, and whether the tests of their own package notice them.

``python -m benchmarks.mutants [NAME ...]`` copies the tree, changes one place at a time, and runs
the test files that stand for it: ``tests/<package>/…``. A mutant is killed if a test fails, and
survives if all pass. Names pick packages, files or parts of a reason. The exit code is 1 if fewer
than 95 % are killed; an entry that no longer applies is refused before anything runs.

A mutant of a compiled kernel has its kernels compiled anew, which takes most of the time.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PARTS = ("physics", "sweeps", "analysis", "deploy")
COPIED = (*PARTS, "latticescape", "tests", "benchmarks", "examples", "docs")
COPIED_FILES = ("conftest.py", "pyproject.toml", "README.md", "CHANGELOG.md", "constraints.txt")
ENOUGH = 0.95
TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Mutant:
    """One change of one file, and the test files of its package that should notice.

    ``tests`` are names in ``tests/<package>/``, each with an optional ``-k`` expression behind a
    space.
    """

    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    @property
    def package(self) -> str:
        return self.file.partition("/")[0]

    def applied(self, root: Path) -> str:
        """The file's text with the change.

        Raises
        ------
        ValueError
            If the old text does not stand in the file exactly once.
        """
        path = root / self.file
        text = path.read_text() if path.exists() else ""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands {text.count(self.old)} times in it")
        return text.replace(self.old, self.new)

    def killed(self, root: Path) -> bool:
        """Whether a test fails in a copy of the tree that has the change; the copy is restored."""
        path = root / self.file
        before, changed = path.read_text(), self.applied(root)
        path.write_text(changed)
        try:
            return any(not _passes(root, f"tests/{self.package}/{test}") for test in self.tests)
        finally:
            path.write_text(before)


def mutant(file: str, old: str, new: str, why: str, *tests: str) -> Mutant:
    """An entry of the table; a test's name is without ``test_`` and ``.py``."""
    names = (test.partition(" ") for test in tests)
    return Mutant(file, old, new, why, tuple(f"test_{a}.py{b}{c}" for a, b, c in names))


OBSERVABLES = "physics/kernels/observables.py"
CLOSED_FORMS = "physics/exact/closed_forms.py"
LATTICE = "physics/lattices/lattice.py"
MUTANTS = (
    # physics
    mutant(OBSERVABLES, "(m2 - m * m) / temp", "(m2 - m * m) * temp", "χ times T", "observables"),
    mutant(OBSERVABLES, "temperature**2", "temperature", "C over T, not T²", "observables"),
    mutant(OBSERVABLES, "(3 * square", "(2 * square", "factor of Binder's cumulant", "observables"),
    mutant(OBSERVABLES, "(total - values)", "(total + values)", "jackknife mean", "observables"),
    mutant(OBSERVABLES, "(number - 1) / number", "1 / number", "jackknife error", "observables"),
    mutant(
        "physics/kernels/equilibration.py",
        "return sums.first_half / early, (sums.features - sums.first_half) / late",
        "return sums.first_half / late, (sums.features - sums.first_half) / early",
        "halves of the drift exchanged",
        "observables",
    ),
    mutant(
        OBSERVABLES,
        "drift: Floats = np.sum(",
        "drift: Floats = -np.sum(",
        "sign of energy_drift",
        "observables",
    ),
    mutant(
        OBSERVABLES, "sums.features / number", "sums.features", "features not means", "observables"
    ),
    mutant(
        CLOSED_FORMS,
        "np.tanh(2 * K) * (1 + 2",
        "np.tanh(2 * K) * (1 - 2",
        "sign in Onsager's energy",
        "closed_forms_and_enumeration onsager",
    ),
    mutant(
        CLOSED_FORMS,
        "4 / float(np.log(3))",
        "2 / float(np.log(3))",
        "critical temperature of the triangular lattice",
        "closed_forms_and_enumeration critical",
    ),
    mutant(
        CLOSED_FORMS,
        "- 2 / np.sinh(2 * K) ** 2)",
        "+ 2 / np.sinh(2 * K) ** 2)",
        "sign in Kaufman's heat capacity",
        "closed_forms_and_enumeration kaufman",
    ),
    mutant(
        CLOSED_FORMS,
        "** -4.0, 0) ** 0.125",
        "** -4.0, 0) ** 0.25",
        "Yang's exponent",
        "closed_forms_and_enumeration onsager",
    ),
    mutant(
        LATTICE,
        "[own, ring[:, 1], ring[:, 2]]",
        "[own, ring[:, 2], ring[:, 3]]",
        "triangles that point down",
        "lattices triang",
    ),
    mutant(
        LATTICE,
        "(moved % shape[:, None])",
        "((moved + 1) % shape[:, None])",
        "neighbours one cell off",
        "lattices",
    ),
    mutant(
        "physics/structure_factor.py",
        "np.abs(amplitude) ** 2",
        "np.abs(amplitude)",
        "amplitude instead of intensity",
        "structure_factor",
    ),
    mutant(
        "physics/structure_factor.py",
        "range(-1 - geometry.dimension, -1)",
        "range(-geometry.dimension, 0)",
        "axes of the Fourier transform",
        "structure_factor",
    ),
    mutant(
        "physics/models/alloys.py",
        '"triangles_2": (0, 0, 1, 0)',
        '"triangles_2": (0, 0, 0, 1)',
        "triangles of two atoms of species 1",
        "models",
    ),
    mutant(
        "physics/models/ising.py",
        'return -points["mu"] * points["H"]',
        'return points["mu"] * points["H"]',
        "sign of the field",
        "models",
        "exactness kernels_agree",
    ),
    mutant(
        "physics/models/alloys.py",
        '"like_0_1": (1, 0, 0)',
        '"like_0_1": (0, 0, 1)',
        "species of like pairs",
        "solid_solution",
    ),
    mutant(
        "physics/models/alloys.py",
        "np.rint(x * sites)",
        "np.floor(x * sites)",
        "rounding of atoms",
        "models",
    ),
    mutant(
        "physics/kernels/boltzmann.py",
        "np.where(energy > 0, factor, 1.0)",
        "np.where(energy < 0, factor, 1.0)",
        "occupation mirrored",
        "multispin",
    ),
    mutant(
        "physics/kernels/batches.py",
        "(beta[0] - beta[1])",
        "(beta[1] - beta[0])",
        "sign of a swap's gain",
        "tempering trades",
    ),
    mutant(
        "physics/kernels/swendsen_wang.py",
        "-np.expm1(-task",
        "-np.expm1(-0.5 * task",
        "factor in the probability of a bond",
        "swendsen_wang chance",
    ),
    mutant(
        "physics/slab/lattice.py",
        "above = np.concatenate([none, numbers[:-1]])",
        "above = np.concatenate([none, numbers[1:]])",
        "the layer above is the one below",
        "slab bulk_pairs or enumeration",
    ),
    mutant(
        "physics/slab/lattice.py",
        "up, left = np.roll(numbers, 1, 0), np.roll(numbers, 1, 1)",
        "up, left = np.roll(numbers, 1, 0), np.roll(numbers, -1, 1)",
        "hollows around a site",
        "slab hollow",
    ),
    mutant(
        "physics/exact/enumeration.py",
        'energies / point["T"]',
        'energies * point["T"]',
        "Boltzmann factor with T for 1/T",
        "closed_forms_and_enumeration",
    ),
    # sweeps
    mutant(
        "sweeps/spec/sweep.py",
        "sorted(parameters.items())",
        "parameters.items()",
        "seeds follow the order of the parameters",
        "seeding",
    ),
    mutant(
        "sweeps/spec/sweep.py",
        "value + 0.0)",
        "value)",
        "minus zero is another point",
        "seeding",
    ),
    mutant(
        "sweeps/spec/sweep.py",
        '">u8"',
        '"<u8"',
        "byte order of the seed",
        "seeding",
    ),
    mutant(
        "sweeps/spec/plan.py",
        "/ workers / 3600",
        "/ workers / 60",
        "minutes for hours",
        "run plan",
    ),
    mutant(
        "sweeps/spec/plan.py",
        "-(-n // b)",
        "n // b",
        "the last block of an axis is lost",
        "consolidate shards",
    ),
    mutant(
        "sweeps/spec/axes.py",
        "np.sort(both)[::-1])",
        "np.sort(both))",
        "a descending axis turns round",
        "extension axis",
    ),
    mutant(
        "sweeps/spec/axes.py",
        "made == tuple(np.linspace",
        "made != tuple(np.linspace",
        "lists that are not evenly spaced are",
        "axis",
    ),
    mutant(
        "sweeps/spec/plan.py",
        "return updates / elapsed",
        "return elapsed / updates",
        "inverse rate",
        "own_kernel calibration",
    ),
    mutant(
        "sweeps/store/arrays.py",
        "np.concatenate(rows, axis=1)",
        "np.concatenate(rows[:1], axis=1)",
        "only the first variable is summed",
        "integrity checksum",
    ),
    mutant(
        "sweeps/store/arrays.py",
        'newbyteorder("<")',
        'newbyteorder(">")',
        "byte order of checksums",
        "integrity checksum",
    ),
    mutant(
        "sweeps/functions/function.py",
        "return 1 / self.seconds",
        "return self.seconds",
        "rate of an own kernel",
        "own_kernel plan",
    ),
    mutant(
        "sweeps/execution/tasks.py",
        "middle = len(units) // 2",
        "middle = len(units) - 1",
        "halves are uneven",
        "failures halve",
    ),
    # analysis
    mutant(
        "analysis/counts/distances.py",
        "2 * np.arcsin(",
        "np.arcsin(",
        "half of the statistical distance",
        "landscape",
    ),
    mutant(
        "analysis/counts/distances.py",
        "np.where(total > 0, total, np.nan)",
        "np.where(total > 0, total, 1)",
        "an empty histogram has a distance",
        "landscape distance",
    ),
    mutant(
        "analysis/inference/comparison/comparison.py",
        "else 2 * half",
        "else half",
        "factor of the BIC",
        "landscape published",
    ),
    mutant(
        "analysis/inference/comparison/comparison.py",
        "np.exp(np.nanmin(values) - values)",
        "np.exp(values - np.nanmin(values))",
        "sign of model weights",
        "comparison",
    ),
    mutant(
        "analysis/inference/comparison/evidence.py",
        "np.sum((share * errors) ** 2)",
        "np.sum(share * errors)",
        "a wrecked ln_evidence_se",
        "comparison evidence",
    ),
    mutant(
        "analysis/inference/comparison/evidence.py",
        "along[[0, -1]] /= 2",
        "along[[0, -1]] *= 1",
        "edges of the trapezoidal rule",
        "comparison evidence",
    ),
    mutant(
        "analysis/inference/comparison/evidence.py",
        "len(fit.parameters) / 2 * np.log(2 * np.pi)",
        "len(fit.parameters) * np.log(2 * np.pi)",
        "factor of Laplace's evidence",
        "comparison evidence",
    ),
    mutant(
        "analysis/inference/estimation/deviance.py",
        "4 * number * (np.arccos",
        "2 * number * (np.arccos",
        "deviance of redrawn counts",
        "estimation",
    ),
    mutant(
        "analysis/inference/estimation/information.py",
        "curvature += 8 * number",
        "curvature += 4 * number",
        "factor of the curvature",
        "estimation errors",
    ),
    mutant(
        "analysis/inference/estimation/deviance.py",
        "root * (1 - rest / (8 * many))",
        "root * (1 + rest / (8 * many))",
        "sign of the correction for few counts",
        "estimation",
    ),
    mutant(
        "analysis/counts/overlap.py",
        "(int(occurs.sum()) - 1) / spread",
        "int(occurs.sum()) / spread",
        "degrees of freedom of effective counts",
        "counts neighbourhoods",
    ),
    mutant(
        "analysis/inference/reweighting/mixture.py",
        "(len(numbers) - 1) / len(numbers)",
        "1 / len(numbers)",
        "jackknife of free energies",
        "reweighting pymbar or row",
    ),
    mutant(
        "analysis/inference/landscapes/gaussian_process.py",
        "np.maximum(prior - ",
        "np.maximum(prior + ",
        "the known points widen the error",
        "refinement forecast or few",
        "estimation interpolation",
    ),
    mutant(
        "analysis/kinetics/boltzmann.py",
        "-1.0 / (scale * kelvin)",
        "-scale / kelvin",
        "units of a barrier",
        "kinetics units or barrier",
    ),
    mutant(
        "analysis/kinetics/boltzmann.py",
        "degrees = len(kelvin) - 2",
        "degrees = len(kelvin) - 1",
        "degrees of freedom of a line",
        "kinetics",
    ),
    mutant(
        "analysis/kinetics/tracks.py",
        "np.exp(-values * hops / self.coordination)",
        "np.exp(values * hops / self.coordination)",
        "sign in unseen hops",
        "kinetics film or hop",
    ),
    mutant(
        "analysis/images/species.py",
        "exponents = -0.5 * (",
        "exponents = -1.0 * (",
        "width of a species' intensity",
        "species",
    ),
    mutant(
        "analysis/images/species.py",
        "len(self.logs)) - 2 * self.likelihood",
        "len(self.logs)) + 2 * self.likelihood",
        "sign of the likelihood in the BIC",
        "species",
    ),
    mutant(
        "analysis/images/spectra/windows.py",
        "/ window) ** 2).astype",
        "/ window)).astype",
        "shape of Hann's window",
        "spectra",
    ),
    mutant(
        "analysis/images/atoms/gaussians.py",
        "scale = np.exp(-2 * atom[3])",
        "scale = np.exp(-atom[3])",
        "derivatives of a Gaussian",
        "atoms derivatives",
    ),
    mutant(
        "analysis/images/unmixing/principal.py",
        "axes * signs, scores * signs",
        "axes, scores",
        "sign of a component",
        "unmixing components",
    ),
    mutant(
        "analysis/phases/crossings.py",
        "drift = 1 / universal.nu + universal.omega",
        "drift = 1 / universal.nu - universal.omega",
        "sign of the correction to scaling",
        "phase_diagram cross or cover",
    ),
    mutant(
        "analysis/phases/ordering.py",
        "np.maximum(S / np.maximum(around, least) - 1, 0)",
        "np.maximum(S / np.maximum(around, least), 0)",
        "dropped term of the correlation length",
        "phase_diagram antiferro or alloy",
    ),
    mutant(
        "analysis/phases/disorder.py",
        "(own.sum() - 2 * own)",
        "(own.sum() - own)",
        "each pair holds two replicas",
        "spin_overlap",
    ),
    mutant(
        "analysis/phases/curves.py",
        "(sizes / sizes.max()) ** -exponent",
        "(sizes / sizes.max()) ** exponent",
        "sign of the scaling exponent",
        "phase_diagram ridges or critical",
    ),
    mutant(
        "analysis/inference/sample_size.py",
        "(error / wanted) ** 2",
        "error / wanted",
        "errors go as one over n",
        "comparison data",
    ),
    mutant(
        "analysis/images/synthetic.py",
        "(np.array(shape) - 1) / 2",
        "np.array(shape) / 2",
        "middle of a frame",
        "synthetic boundary or middle",
    ),
    mutant(
        "analysis/inference/estimation/fit.py",
        '"low68": -0.994458',
        '"low68": 0.994458',
        "sign of a lower bound",
        "estimation fits",
    ),
    mutant(
        "physics/kernels/multispin/demon.py",
        "abs(step) / (1 + z % 2)",
        "abs(step) / (1 + z % 3)",
        "unit of an account",
        "demon exactness",
    ),
    mutant(
        "physics/kernels/multispin/accounts.py",
        "awake[demon] = e.inverse(e.both(*coins))",
        "awake[demon] = e.ones",
        "a demon that never sleeps",
        "demon",
    ),
    mutant(
        "physics/kernels/multispin/heat_bath.py",
        "attempted = e.inverse(e.both(*fresh[:6]))",
        "attempted = e.ones",
        "Metropolis flips that are all attempted",
        "multispin_streams",
        "demon",
    ),
    # deploy
    mutant(
        "deploy/clusters/profiles.py",
        "workers: int | None = Field(default=None, ge=1, le=100_000, examples=[2])",
        "workers: int | None = Field(default=None, ge=2, le=100_000, examples=[2])",
        "the lowest number of workers is refused",
        "profiles profile_and",
    ),
    mutant(
        "deploy/clusters/profiles.py",
        "parse_bytes(value) >= 100e6",
        "parse_bytes(value) >= 100e3",
        "a thousandth of the least memory",
        "bad_input profile",
    ),
    mutant(
        "deploy/clusters/job_queues.py",
        "max(30, walltime_seconds(profile.walltime) // 20)",
        "max(30, walltime_seconds(profile.walltime) // 2)",
        "workers leave at half of the walltime",
        "profiles worker",
    ),
    mutant(
        "deploy/clusters/kubernetes.py",
        "/ 2**20)}Mi",
        "/ 2**30)}Mi",
        "memory of a pod",
        "kubernetes",
    ),
    mutant(
        "deploy/cli/run.py",
        "getattr(report, name) + getattr(last, name)",
        "getattr(report, name)",
        "what a second job computed is lost",
        "runs",
    ),
    mutant(
        "deploy/derived.py",
        "and not math.isfinite(value)",
        "and math.isfinite(value)",
        "numbers become null",
        "cli",
    ),
    mutant(
        "deploy/cli/fit.py",
        '"high95": 0.975',
        '"high95": 0.75',
        "quantile of an upper bound",
        "cli fit_tells",
    ),
    mutant(
        "deploy/demo.py",
        "norm.ppf(0.5 + confidence / 2)",
        "norm.ppf(confidence)",
        "one-sided for two-sided",
        "synthetic_check",
    ),
    mutant(
        "deploy/clusters/authority.py",
        "DAYS = 365",
        "DAYS = 0",
        "certificates expire at once",
        "security",
    ),
    mutant(
        "deploy/cli/main.py",
        "exit_code = 2",
        "exit_code = 1",
        "exit code of a wrong request",
        "bad_input wrong_spec",
    ),
)


def copied(folder: Path) -> Path:
    """A copy of what the tests need, with its links."""
    ignored = shutil.ignore_patterns("__pycache__", "*.png")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for name in COPIED_FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def _passes(root: Path, test: str) -> bool:
    file, _, expression = test.partition(" ")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", file]
    done = subprocess.run(
        [*command, *(["-k", expression] if expression else [])],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{test} did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def tried(mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, bool, float]]:
    """Each mutant, whether it was killed, and the seconds that took."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = copied(Path(folder))
        for each in mutants:
            begin = time.monotonic()
            yield each, each.killed(root), time.monotonic() - begin


def chosen(names: Sequence[str]) -> list[Mutant]:
    """The mutants whose file or reason holds one of these names; all without names."""
    return [m for m in MUTANTS if not names or any(n in m.file or n in m.why for n in names)]


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Apply small mutants one by one and run the tests of their own package."""
    mutants = chosen(names)
    if not mutants:
        raise click.UsageError(f"no mutant has {' or '.join(names)} in its file or reason")
    try:
        for each in mutants:
            each.applied(ROOT)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    survivors = []
    for each, killed, seconds in tried(mutants):
        word = "killed" if killed else "SURVIVED"
        click.echo(f"{word:9} {seconds:5.0f} s  {each.file}: {each.why}")
        if not killed:
            survivors.append(each)
    share = 1 - len(survivors) / len(mutants)
    click.echo(f"{len(mutants) - len(survivors)} of {len(mutants)} killed ({share:.0%})")
    sys.exit(share < ENOUGH)


if __name__ == "__main__":
    main()
