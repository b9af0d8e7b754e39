"""The command line: one verb a stage, no logic of its own.

Exit codes: 0 done, 1 some points failed (the rest are stored), 2 the request was wrong.
"""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from latticescape.deploy.cli.browse import browse
from latticescape.deploy.cli.cluster import cluster
from latticescape.deploy.cli.compare import compare, sample_size
from latticescape.deploy.cli.fit import fit
from latticescape.deploy.cli.images import measure, segment
from latticescape.deploy.cli.landscape import landscape, map_
from latticescape.deploy.cli.options import PATH, POSITIVE, STORE, as_json, example
from latticescape.deploy.cli.outputs import finite, show
from latticescape.deploy.cli.phase_diagram import phase_diagram
from latticescape.deploy.cli.refine import refine
from latticescape.deploy.clusters.signals import orderly_end
from latticescape.physics.errors import RequestError
from latticescape.sweeps.execution.calibrate import calibrate as measured_rate
from latticescape.sweeps.execution.run import Report
from latticescape.sweeps.execution.status import status as store_status
from latticescape.sweeps.execution.submit import cancel as cancel_store
from latticescape.sweeps.execution.submit import submit as submit_sweep
from latticescape.sweeps.spec.plan import plan as plan_sweep
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.consolidate import consolidate as consolidate_store
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.provenance import package_version
from latticescape.sweeps.store.store import Store
from latticescape.sweeps.store.verify import verify as verify_store

quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")
cluster_option = click.option(
    "--cluster",
    default="local",
    show_default=True,
    help="A profile's name or path, tcp://host:port or tls://host:port.",
)
workers_option = click.option(
    "--workers", type=POSITIVE, help="Worker processes on this machine [default: one a core]."
)
threads_option = click.option(
    "--threads", type=POSITIVE, help="Threads of each worker on this machine [default: 1]."
)
block_option = click.option(
    "--block-points", type=POSITIVE, help="Most points a block; changes no result."
)


class Refusal(click.ClickException):
    """A wrong request, told in one line."""

    exit_code = 2

    def __init__(self, error: RequestError) -> None:
        super().__init__(" ".join(str(error).split()))


class Requests(click.Group):
    """A group whose wrong requests end in one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with orderly_end():
                return super().invoke(ctx)
        except RequestError as error:
            raise Refusal(error) from None
        except click.UsageError as error:
            whose = error.ctx.command_path if error.ctx else f"{ctx.command_path} COMMAND"
            told = error.format_message().rstrip(".?")
            raise Refusal(RequestError(told, hint=f"{whose} --help")) from None


# Its name is that of the dask command: dask takes it from here, not from the entry point.
@click.group(name="sweep", cls=Requests, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_version(), prog_name="latticescape")
def main() -> None:
    """Simulate lattice models over parameter grids, and find what an image came from."""


for command in (
    cluster,
    measure,
    segment,
    landscape,
    map_,
    fit,
    compare,
    sample_size,
    phase_diagram,
    browse,
    refine,
):
    main.add_command(command)


@main.command(epilog=example("latticescape demo", "latticescape demo --out /tmp/demo --json"))
@click.option(
    "--out", type=PATH, default=Path("latticescape-demo"), show_default=True, help="Folder to fill."
)
@quiet_option
@as_json
def demo(out: Path, quiet: bool, json_: bool) -> None:
    """The main job on real data, on a cluster of this machine's own.

    Sweeps the pair and the three-body model of Mo(1-x)Re(x)S2 over their interactions, measures the
    statistical distance to four microscope images, and sets it beside the published table. Images
    drawn from a known interaction go the whole way as well, from their pixels on.
    """
    from latticescape.deploy.cli.tables import fit_lines, lecture_table, rehearsal_line
    from latticescape.deploy.demo import demo as run_demo

    found = run_demo(out, progress=not quiet)
    if json_:
        click.echo(json.dumps(finite(found.as_dict())))
    else:
        console = Console()
        for model in found.comparison["model"].values:
            console.print(lecture_table(found.comparison, found.published, str(model)))
        for model, fit in found.fits.items():
            for line in fit_lines(fit):
                console.print(f"{model}: {line}", highlight=False)
        console.print(rehearsal_line(found.rehearsal), highlight=False)
        for report in found.reports.values():
            click.echo(f"store     {report.store}")
        for path in found.pictures:
            click.echo(f"picture   {path}")
        click.echo(f"seconds   {found.seconds:.0f}")
    sys.exit(_exit_code(found.failed))


@main.command(
    epilog=example(
        "latticescape plan ising.toml", "latticescape plan ising.toml --workers 64 --json"
    )
)
@click.argument("spec", type=PATH)
@click.option(
    "--workers", type=POSITIVE, default=1, show_default=True, help="Cores to reckon with."
)
@block_option
@click.option("--calibrate/--no-calibrate", default=True, help="Measure the speed here, some 3 s.")
@as_json
def plan(spec: Path, workers: int, block_points: int | None, calibrate: bool, json_: bool) -> None:
    """What a sweep costs: points, blocks, bytes, hours. Runs nothing, stores nothing."""
    sweep = Sweep.from_file(spec)
    found = plan_sweep(sweep, block_points=block_points)
    rate = measured_rate(sweep) if calibrate else None
    facts = {
        "digest": sweep.digest,
        "points": found.points,
        "blocks": len(found.blocks),
        "block_shape": list(found.block_shape),
        "bytes": found.bytes,
        "updates": found.updates,
        "kernel": f"{sweep.kernel.name} {sweep.kernel.version}",
        "updates_per_second": rate,
        "workers": workers,
        "hours": None if rate is None else found.hours(rate, workers),
    }
    show(facts, json_)


@main.command(
    epilog=example(
        "latticescape run ising.toml --store runs/ising.zarr",
        "latticescape run ising.toml --store /shared/ising.zarr --cluster tcp://host:8786",
        "latticescape run finer.toml --store runs/finer.zarr --base runs/ising.zarr",
    )
)
@click.argument("spec", type=PATH)
@click.option("--store", type=STORE, required=True, help="Folder or URL, new or begun.")
@cluster_option
@workers_option
@threads_option
@block_option
@click.option("--base", type=STORE, help="Store of a smaller sweep: its points are taken over.")
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
    """Compute a sweep into a store; on a store begun before, go on where it stopped."""
    from latticescape.deploy.clusters.runs import execute_on

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
    show(report.as_dict(), json_)
    _end(report)


@main.command(
    epilog=example(
        "latticescape submit ising.toml --store /shared/ising.zarr --cluster tcp://host:8786"
    )
)
@click.argument("spec", type=PATH)
@click.option("--store", type=STORE, required=True, help="Folder or URL, new or begun.")
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
    """Leave a sweep to a running scheduler, and return; status, watch and cancel take the store."""
    from latticescape.deploy.clusters.connect import lasting

    sweep = Sweep.from_file(spec)
    job = submit_sweep(sweep, store, lasting(cluster), block_points=block_points)
    show({"id": job, "store": str(store), "digest": sweep.digest, "cluster": cluster}, json_)


@main.command(epilog=example("latticescape status runs/ising.zarr"))
@click.argument("store", type=STORE)
@as_json
def status(store: StorePath, json_: bool) -> None:
    """How far a store is, who works on it, and when it will be done."""
    show(store_status(store).as_dict(), json_)


@main.command(epilog=example("latticescape watch runs/ising.zarr"))
@click.argument("store", type=STORE)
@click.option("--every", type=click.FloatRange(min=0.1), default=1.0, help="Seconds between looks.")
def watch(store: StorePath, every: float) -> None:
    """Watch a store, live, until nobody works on it. Exit code 1 if points are missing then."""
    from latticescape.deploy.cli.watch import watch as watch_store

    sys.exit(_exit_code(not watch_store(store, every=every).complete))


@main.command(epilog=example("latticescape cancel runs/ising.zarr"))
@click.argument("store", type=STORE)
@as_json
def cancel(store: StorePath, json_: bool) -> None:
    """Call off all work on a store, from any machine; what is done stays."""
    lease = cancel_store(store)
    show({"store": str(store), "id": lease.id, "cancelled": lease.owner}, json_)


@main.command(
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
    """Try failed and poisoned points again, as if for the first time, and all that are pending."""
    from latticescape.deploy.clusters.runs import execute_on

    report = execute_on(
        cluster,
        Store(store).sweep,
        store,
        workers=workers,
        threads=threads,
        progress=not quiet,
        poisoned=True,
    )
    show(report.as_dict(), json_)
    _end(report)


@main.command(
    epilog=example("latticescape verify runs/ising.zarr", "latticescape verify s.zarr --repair")
)
@click.argument("store", type=STORE)
@click.option("--repair", is_flag=True, help="Make damaged points pending; run computes them anew.")
@as_json
def verify(store: StorePath, repair: bool, json_: bool) -> None:
    """Compare every point with its checksum. Exit code 1 if any is damaged, repaired or not."""
    found = verify_store(store, repair=repair)
    facts = {
        "store": found.store,
        "points": found.points,
        "done": found.done,
        "damaged": found.damaged,
        "blocks_damaged": len(found.damages),
        "repaired": repair,
    }
    told = [damage.told for damage in found.damages]
    show({**facts, "damages": told} if json_ else facts, json_)
    for line in told:
        click.echo(f"Error: {line}", err=True)
    if told and not repair:
        click.echo(f"Try: {found.hint}", err=True)
    sys.exit(_exit_code(bool(told)))


@main.command(epilog=example("latticescape consolidate runs/ising.zarr share/ising.zarr"))
@click.argument("store", type=STORE)
@click.argument("out", type=STORE)
@click.option("--partial", is_flag=True, help="Even if points are missing; they stay so in OUT.")
@as_json
def consolidate(store: StorePath, out: StorePath, partial: bool, json_: bool) -> None:
    """Copy a finished store into OUT, a few large files to be shared; OUT can only be read."""
    show(consolidate_store(store, out, partial=partial).as_dict(), json_)


@main.command(
    epilog=example("latticescape doctor --compile", "latticescape doctor --cluster tcp://host:8786")
)
@cluster_option
@click.option("--compile", "compiling", is_flag=True, help="Compile the Ising kernels, and time.")
@as_json
def doctor(cluster: str, compiling: bool, json_: bool) -> None:
    """What is wrong with this installation or cluster, before anything is spent."""
    from latticescape.deploy.doctor import examine

    findings = examine(cluster, compiling=compiling)
    if json_:
        click.echo(
            json.dumps(
                {
                    "healthy": all(f.good for f in findings),
                    "findings": [
                        {"name": f.name, "good": f.good, "told": f.told} for f in findings
                    ],
                }
            )
        )
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.name:<22} {finding.told}")
    sys.exit(0 if all(finding.good for finding in findings) else 2)


def _exit_code(failed: int) -> int:
    return 1 if failed else 0


def _end(report: Report) -> NoReturn:
    """Tell what is missing, and leave with the exit code of a run."""
    if report.note:
        click.echo(f"Note: {report.note}", err=True)
    missing = {
        "failed": report.failed,
        "are poisoned": report.poisoned,
        "are pending": report.pending,
    }
    told = ", ".join(f"{number} points {verb}" for verb, number in missing.items() if number)
    if told:
        click.echo(f"Error: {told}: {report.error}{_to_try(report)}", err=True)
    sys.exit(_exit_code(not report.complete))


def _to_try(report: Report) -> str:
    if report.failed or ". Try: " in report.error:
        return ""
    if report.pending:
        return ". Try: the same command once more; what is done stays"
    return f". Try: latticescape retry-failed {report.store}"
