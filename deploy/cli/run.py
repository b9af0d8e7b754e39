"""``latticescape run``, ``submit``, ``cancel`` and ``retry-failed``: compute a store."""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from latticescape.deploy.cli.interface import (
    PATH,
    STORE,
    as_json,
    block_option,
    cluster_option,
    duration_text,
    example,
    quiet_option,
    show,
    threads_option,
    workers_option,
)
from latticescape.deploy.clusters.connect import connect, persistent, profile_of
from latticescape.deploy.clusters.profiles import Slurm
from latticescape.sweeps.execution.run import Report, execute
from latticescape.sweeps.execution.submit import cancel as cancel_store
from latticescape.sweeps.execution.submit import submit as submit_sweep
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import Store


@click.command(
    epilog=example(
        "latticescape run ising.toml --store runs/ising.zarr",
        "latticescape run ising.toml --store /shared/ising.zarr --cluster tcp://host:8786",
        "latticescape run finer.toml --store runs/finer.zarr --base runs/ising.zarr",
    )
)
@click.argument("spec", type=PATH)
@click.option("--store", type=STORE, required=True, help="Folder or URL, new or unfinished.")
@cluster_option
@workers_option
@threads_option
@block_option
@click.option("--base", type=STORE, help="Store of a smaller sweep whose points to reuse.")
@quiet_option
@as_json
def run(
    spec: Path,
    store: StorePath,
    cluster: str,
    workers: int | None,
    threads: int | None,
    block_points: int | None,
    base: StorePath | None,
    quiet: bool,
    json_: bool,
) -> None:
    """Compute a sweep into a store, or resume an unfinished one."""
    report = execute_on(
        cluster,
        Sweep.from_file(spec),
        store,
        workers=workers,
        threads=threads,
        block_points=block_points,
        progress=not quiet,
        base=base,
    )
    _finish(report, json_)


@click.command(
    epilog=example(
        "latticescape submit ising.toml --store /shared/ising.zarr --cluster tcp://host:8786"
    )
)
@click.argument("spec", type=PATH)
@click.option("--store", type=STORE, required=True, help="Folder or URL, new or unfinished.")
@click.option(
    "--cluster",
    required=True,
    help="A profile's name or path, a scheduler's file, tcp://host:port or tls://host:port.",
)
@block_option
@as_json
def submit(
    spec: Path, store: StorePath, cluster: str, block_points: int | None, json_: bool
) -> None:
    """Start a sweep on a running scheduler and return.

    Follow it with status or watch, and stop it with cancel, all by its store.
    """
    sweep = Sweep.from_file(spec)
    job = submit_sweep(sweep, store, persistent(cluster), block_points=block_points)
    facts = {"id": job, "store": str(store), "digest": sweep.digest, "cluster": cluster}
    show(facts, json_, f"submitted to {cluster}; follow it with: latticescape watch {store}")


@click.command(epilog=example("latticescape cancel runs/ising.zarr"))
@click.argument("store", type=STORE)
@as_json
def cancel(store: StorePath, json_: bool) -> None:
    """Stop all work on a store, from any machine; finished points are kept."""
    lease = cancel_store(store)
    facts = {"store": str(store), "id": lease.id, "cancelled": lease.owner}
    show(facts, json_, f"cancelled the work of {lease.owner} on {store}")


@click.command(
    name="retry-failed",
    epilog=example(
        "latticescape retry-failed runs/ising.zarr",
        "latticescape retry-failed runs/ising.zarr --cluster tcp://host:8786",
    ),
)
@click.argument("store", type=STORE)
@cluster_option
@workers_option
@threads_option
@quiet_option
@as_json
def retry_failed(
    store: StorePath,
    cluster: str,
    workers: int | None,
    threads: int | None,
    quiet: bool,
    json_: bool,
) -> None:
    """Compute failed, poisoned and pending points again."""
    report = execute_on(
        cluster,
        Store(store).sweep,
        store,
        workers=workers,
        threads=threads,
        progress=not quiet,
        poisoned=True,
    )
    _finish(report, json_)


def _finish(report: Report, json_: bool) -> NoReturn:
    """Print what a run did and what is missing, and end with its exit code."""
    others = {"taken over": report.taken_over, "failed": report.failed}
    counts = [f"{report.computed} of {report.points} points computed"]
    counts += [f"{number} {name}" for name, number in others.items() if number]
    summary = (
        f"{report.store}: {', '.join(counts)}, {duration_text(report.seconds)} "
        f"on {report.workers} worker{'' if report.workers == 1 else 's'}"
    )
    show(report.as_dict(), json_, summary)
    if report.note:
        click.echo(f"Note: {report.note}", err=True)
    missing = {
        "failed": report.failed,
        "are poisoned": report.poisoned,
        "are pending": report.pending,
    }
    problem = ", ".join(f"{number} points {verb}" for verb, number in missing.items() if number)
    if problem:
        hint = ""
        if not report.failed and ". Try: " not in report.error:
            again = "the same command again; finished points are kept"
            retry = f"latticescape retry-failed {report.store}"
            hint = f". Try: {again if report.pending else retry}"
        click.echo(f"Error: {problem}: {report.error}{hint}", err=True)
    sys.exit(0 if report.complete else 1)


LOG = logging.getLogger(__name__)

# Of two runs of a store, one after the other, these are added.
SUMMED = (
    *("computed", "taken_over", "computed_blocks", "updates"),
    *("seconds", "kernel_seconds", "worker_seconds"),
)


def execute_on(
    cluster: str,
    sweep: Sweep,
    store: StorePath,
    *,
    workers: int | None = None,
    threads: int | None = None,
    block_points: int | None = None,
    progress: bool = True,
    poisoned: bool = False,
    base: StorePath | None = None,
) -> Report:
    """Run a sweep on a cluster; parameters as for ``execute`` and :func:`latticescape.connect`.

    A SLURM job that holds the scheduler ends with its walltime or its node, and the cluster with
    it: another job is submitted as long as each one computes something.

    Raises
    ------
    RequestError
        If the cluster, the store or the sweep cannot be used.
    """

    def once(poisoned: bool) -> Report:
        LOG.info("compute %d points of sweep %s in %s", sweep.points, sweep.digest[:12], store)
        return execute(
            sweep,
            store,
            connect(cluster, workers=workers, threads=threads),
            block_points=block_points,
            progress=progress,
            poisoned=poisoned,
            base=base,
        )

    report = last = once(poisoned)
    while last.lost and last.computed:
        profile = profile_of(cluster)
        if not (isinstance(profile, Slurm) and profile.scheduler == "inside"):
            break
        click.echo("The job that holds the scheduler is lost; submitting another one.", err=True)
        last = once(poisoned=False)
        sums = {name: getattr(report, name) + getattr(last, name) for name in SUMMED}
        report = replace(last, note=report.note or last.note, **sums)
    return report
