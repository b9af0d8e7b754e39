"""A run on a cluster by name, which goes on when that cluster is lost and can be had again."""

from dataclasses import replace

import click

from latticescape.deploy.clusters.connect import connect, profile_of
from latticescape.deploy.clusters.profiles import Profile, Slurm
from latticescape.sweeps.execution.run import Report, execute
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.location import StorePath


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
    """As :func:`latticescape.run.execute`, on what :func:`latticescape.connect` makes of a name.

    A job of SLURM with the scheduler in it ends with its walltime or its node, and takes the
    cluster along: as long as each computes something, another one is submitted.

    Raises
    ------
    RequestError
        As of both.
    """

    def once(poisoned: bool) -> Report:
        return execute(
            sweep,
            store,
            connect(cluster, workers=workers, threads=threads),
            block_points=block_points,
            progress=progress,
            poisoned=poisoned,
            base=base,
        )

    report = once(poisoned)
    last = report
    while last.lost and last.computed and _is_one_job(profile_of(cluster)):
        click.echo("the job with the scheduler is lost; another one is submitted", err=True)
        last = once(poisoned=False)
        report = _together(report, last)
    return report


def _is_one_job(profile: Profile) -> bool:
    return isinstance(profile, Slurm) and profile.scheduler == "inside"


def _together(one: Report, other: Report) -> Report:
    """The report of two runs of a store, one after the other."""
    summed = ("computed", "taken_over", "computed_blocks", "updates", "seconds", "kernel_seconds")
    sums = {name: getattr(one, name) + getattr(other, name) for name in (*summed, "worker_seconds")}
    return replace(other, note=one.note or other.note, **sums)
