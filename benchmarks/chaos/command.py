"""``python -m benchmarks chaos``: disturb sweeps, and print the table."""

import json
import shutil
import tempfile
from pathlib import Path

import click

from benchmarks.chaos.calls import Work
from benchmarks.chaos.cases import Outcome, absent, play_all
from benchmarks.chaos.strikes import KINDS
from benchmarks.chaos.table import table
from latticescape.deploy.cli.main import orderly_end

POSITIVE = click.IntRange(min=1)
MEMORY = Path("/dev/shm")


@click.command()
@click.option("--runs", type=POSITIVE, default=20, show_default=True, help="Of each kind.")
@click.option("--only", type=click.Choice(list(KINDS)), multiple=True, help="Kinds, not all.")
@click.option("--seed", default=2026, show_default=True, help="Decides the moments.")
@click.option("--jobs", type=POSITIVE, default=2, show_default=True, help="Sweeps at a time.")
@click.option(
    "--blocks", type=click.IntRange(min=20), default=200, show_default=True, help="Of each sweep."
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write every run there.")
@click.option("--keep", is_flag=True, help="Keep the folder of all files.")
def chaos(
    runs: int,
    only: tuple[str, ...],
    seed: int,
    jobs: int,
    blocks: int,
    file: Path | None,
    keep: bool,
) -> None:
    """Kill workers, schedulers, clients, jobs, nodes, links, disks and chunks amid sweeps."""
    kinds = only or tuple(KINDS)
    missing = absent(kinds)
    for name, reason in missing.items():
        click.echo(f"{name} is left out: {reason}", err=True)
    # In memory, if there is a place: a SIGKILL spares the cache of files, and waiting for a disk
    # would be all that differs.
    folder = Path(tempfile.mkdtemp(prefix="ls", dir=MEMORY if MEMORY.is_dir() else None))
    kinds = tuple(name for name in kinds if name not in missing)
    try:
        with orderly_end():  # else daemons, networks and mounts would stay
            outcomes = play_all(
                kinds, runs, Work(blocks), seed=seed, jobs=jobs, tell=_tell, folder=folder
            )
    finally:
        if keep:
            click.echo(f"kept in {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if file is not None:
        file.write_text(json.dumps([outcome.as_dict() for outcome in outcomes], indent=1))
    click.echo(table(outcomes))


def _tell(outcome: Outcome) -> None:
    case = outcome.case
    typed = ", ".join(f"{typed.words} {typed.code}" for typed in outcome.typed)
    click.echo(
        f"{case.kind} {case.number}: {outcome.done} done, {outcome.in_flight} in flight, "
        f"{outcome.recomputed} recomputed, {outcome.lost} lost, same {outcome.same}, "
        f"differing {','.join(outcome.differing) or 'none'}; {typed}; {outcome.seconds:.0f} s"
        + (f"; {outcome.trouble}" if outcome.trouble else ""),
        err=True,
    )
