"""``latticescape run``, ``submit``, ``cancel`` and ``retry-failed``: compute a store."""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click

from latticescape.deploy.cli import interface as ui
from latticescape.deploy.clusters.connect import connect, persistent, profile_of
from latticescape.deploy.clusters.profiles import Slurm
from latticescape.sweeps.execution.extend import Extension
from latticescape.sweeps.execution.run import Report, execute
from latticescape.sweeps.execution.submit import cancel as cancel_store
from latticescape.sweeps.execution.submit import submit as submit_sweep
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.store import Store


@click.command(
    epilog=ui.example(
        "latticescape run ising.toml --store runs/ising.zarr",
        "latticescape run ising.toml --store /shared/ising.zarr --cluster tcp://host:8786",
        "latticescape run finer.toml --store runs/finer.zarr --base runs/ising.zarr",
    )
)
@click.argument("spec", type=ui.PATH)
@click.option("--store", type=ui.STORE, required=True, help="Folder or URL, new or unfinished.")
@ui.cluster_option
@ui.workers_option
@ui.threads_option
@ui.block_option
@click.option("--base", type=ui.STORE, help="Store of a smaller sweep whose points to reuse.")
@ui.log_options
@ui.as_json
def run(
    spec: Path,
    store: StorePath,
    cluster: str,
    quiet: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Compute a sweep into a store, or resume an unfinished one."""
    sweep = Sweep.from_file(spec)
    _finish(execute_on(cluster, sweep, store, progress=not quiet, **options), json_)


@click.command(
    epilog=ui.example(
        "latticescape submit ising.toml --store /shared/ising.zarr --cluster tcp://host:8786"
    )
)
@click.argument("spec", type=ui.PATH)
@click.option("--store", type=ui.STORE, required=True, help="Folder or URL, new or unfinished.")
@click.option(
    "--cluster",
    required=True,
    help="A profile's name or path, a scheduler's file, tls://host:port or module:function.",
)
@ui.block_option
@ui.log_options
@ui.as_json
def submit(
    spec: Path,
    store: StorePath,
    cluster: str,
    block_points: int | None,
    quiet: bool,  # a choice of log_options
    json_: bool,
) -> None:
    """Start a sweep on a running scheduler and return.

    Then status and watch show how far the sweep is, and cancel stops it; each takes its store.
    """
    sweep = Sweep.from_file(spec)
    job = submit_sweep(sweep, store, persistent(cluster), block_points=block_points)
    facts = {"id": job, "store": str(store), "digest": sweep.digest, "cluster": cluster}
    ui.show(facts, json_, f"submitted to {cluster}; follow it with: latticescape watch {store}")


@click.command(
    epilog=ui.example(
        "latticescape extend runs/ising.zarr --samples 2000",
        "latticescape extend runs/ising.zarr --until energy_se=1e-4 --max-samples 10000",
    )
)
@click.argument("store", type=ui.STORE)
@click.option("--samples", type=int, help="New total number of samples of every point.")
@click.option(
    "--equilibration", "equilibration_mcs", type=int, help="New total number of steps before them."
)
@ui.number_option(
    "--until", "ERROR=TARGET", "energy_se=1e-4", help="More samples until an error is so small."
)
@click.option("--max-samples", type=int, help="Maximum number of samples, with --until.")
@click.option("--out", type=ui.STORE, help="A new store; by default the store is replaced.")
@ui.cluster_option
@ui.workers_option
@ui.threads_option
@ui.block_option
@ui.log_options
@ui.as_json
def extend(
    store: StorePath,
    samples: int | None,
    equilibration_mcs: int | None,
    until: list[tuple[str, float]],
    max_samples: int | None,
    out: StorePath | None,
    cluster: str,
    quiet: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Compute more samples of every point, which goes on from where it stopped.

    The result has the same bits as a sweep that had all the samples from the beginning. If the
    command is interrupted, the same command continues.
    """
    targets = {**dict(until), **({} if max_samples is None else {"max_samples": max_samples})}
    asked = {"samples": samples, "equilibration_mcs": equilibration_mcs, "until": targets}
    extension = Extension.of(store, asked, out)
    report = execute_on(
        cluster,
        extension.sweep,
        extension.target,
        base=extension.base,
        progress=not quiet,
        **options,
    )
    _finish(extension.finished(report), json_)


@click.command(epilog=ui.example("latticescape cancel runs/ising.zarr"))
@click.argument("store", type=ui.STORE)
@ui.as_json
def cancel(store: StorePath, json_: bool) -> None:
    """Stop all work on a store, from any machine; finished points are kept."""
    lease = cancel_store(store)
    facts = {"store": str(store), "id": lease.id, "cancelled": lease.owner}
    ui.show(facts, json_, f"cancelled the work of {lease.owner} on {store}")


@click.command(
    name="retry-failed",
    epilog=ui.example(
        "latticescape retry-failed runs/ising.zarr",
        "latticescape retry-failed runs/ising.zarr --cluster tcp://host:8786",
    ),
)
@click.argument("store", type=ui.STORE)
@ui.cluster_option
@ui.workers_option
@ui.threads_option
@ui.log_options
@ui.as_json
def retry_failed(
    store: StorePath, cluster: str, quiet: bool, json_: bool, **options: int | None
) -> None:
    """Compute failed, poisoned and pending points again."""
    sweep = Store(store).sweep
    report = execute_on(cluster, sweep, store, progress=not quiet, poisoned=True, **options)
    _finish(report, json_)


def _finish(report: Report, json_: bool) -> NoReturn:
    """Print what a run did and what is missing, and end with its exit code."""
    others = {
        "continued": report.continued,
        "taken over": report.taken_over,
        "failed": report.failed,
        "ended at max_samples": report.unmet,
    }
    counts = [f"{report.computed} of {report.points} points computed"]
    counts += [f"{number} {name}" for name, number in others.items() if number]
    summary = (
        f"{report.store}: {', '.join(counts)}, {ui.duration_text(report.seconds)} "
        f"on {report.workers} worker{'' if report.workers == 1 else 's'}"
    )
    ui.show(report.as_dict(), json_, summary)
    if report.not_equilibrated:
        click.echo(ui.equilibration_note(report.not_equilibrated, report.points), err=True)
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
    poisoned: bool = False,
    **options: Any,
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
        LOG.debug("compute %d points of sweep %s in %s", sweep.points, sweep.digest[:12], store)
        client = connect(cluster, workers=workers, threads=threads)
        return execute(sweep, store, client, poisoned=poisoned, **options)

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
