"""The command line: a group of verbs, each loaded from its own module when it is called.

Exit codes: 0 done, 1 some points failed (the rest are stored), 2 the request was wrong.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from latticescape.physics.errors import DamageError, RequestError
from latticescape.physics.extras import optional_imports
from latticescape.physics.provenance import package_version

# Every verb by section: the module in latticescape.deploy.cli that defines it, and what it does.
# Kept here, so that the help of the group imports no module of a verb.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Sweeps": {
        "plan": ("plan", "Estimate the size and the run time of a sweep."),
        "run": ("run", "Compute a sweep into a store, or resume one."),
        "submit": ("run", "Start a sweep on a running scheduler and return."),
        "status": ("store", "Show progress, owner and time left of a store."),
        "watch": ("store", "Follow the progress of a store live."),
        "cancel": ("run", "Stop all work on a store."),
        "retry-failed": ("run", "Compute failed and poisoned points again."),
        "extend": ("run", "Compute more samples of every point of a store."),
        "merge": ("store", "Unite stores of parts of one sweep."),
        "verify": ("store", "Check every point against its checksum."),
        "consolidate": ("store", "Copy a finished store into a few large files."),
        "export": ("store", "Write the results as netCDF, CSV or RO-Crate."),
        "list": ("store", "List the stores in a folder: model, axes, state, size, age."),
        "info": ("store", "Describe a store: lattice, model, axes, schedule, state."),
        "map": ("fit", "Plot a variable of a store over its axes."),
    },
    "Images": {
        "measure": ("images", "Find atoms in images and count their neighborhoods."),
        "segment": ("images", "Map the phases of an image by local spectra."),
    },
    "Inference": {
        "guess": ("guess", "Estimate parameters from counts, before any simulation."),
        "landscape": ("fit", "Compute the statistical distance of a sweep to images."),
        "fit": ("fit", "Estimate model parameters, with errors, from images."),
        "compare": ("compare", "Compare models by S², p-value, BIC and Bayes factor."),
        "calibrate": ("calibrate", "Count how often the intervals of a fit hold the truth."),
        "sample-size": ("compare", "Estimate how many atoms an error or a decision needs."),
        "refine": ("refine", "Add points to a sweep around the best parameters."),
        "phase-diagram": ("phase_diagram", "Locate where the order of a model changes."),
    },
    "Studies": {
        "study": ("study", "Go from images to a verdict and a report."),
        "report": ("study", "Write the page of a study again."),
    },
    "Pages": {
        "browse": ("browse", "Explore a sweep in a web browser."),
        "demo": ("demo", "Run the whole workflow on images of Mo(1-x)Re(x)S2."),
    },
    "System": {
        "doctor": ("cluster", "Check the installation and a cluster."),
        "cluster": ("cluster", "List and show cluster profiles, make certificates."),
    },
}


# Sent by a shell that closes; and by ``kill``, ``timeout`` and the limits of login nodes.
ENDING = (signal.SIGHUP, signal.SIGTERM)


@contextmanager
def orderly_end() -> Iterator[None]:
    """Raise ``SystemExit`` on these signals within the block, so that everything is closed.

    An ignored signal stays ignored, as under ``nohup``. The exit code is that of a shell: 128 plus
    the number of the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set signal handlers
        return

    def end(number: int, _: object) -> NoReturn:
        # A second signal must not interrupt the cleanup that the first one started.
        for other in ENDING:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in ENDING}
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, end)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


class Refusal(click.ClickException):
    """A wrong request: one line on standard error, exit code 2."""

    exit_code = 2

    def __init__(self, error: RequestError) -> None:
        super().__init__(" ".join(str(error).split()))


def is_no_disconnect(record: logging.LogRecord) -> bool:
    """Drop Dask's tracebacks of closed connections: a run that ends well may close them first."""
    return not str(record.msg).startswith(("Batched Comm Closed", "Lost connection to"))


class LazyGroup(click.Group):
    """A group that imports the module of a verb when the verb is called."""

    def invoke(self, ctx: click.Context) -> Any:
        for name in ("distributed.batched", "distributed.core"):
            # Stays, since Dask may log until the interpreter ends.
            logging.getLogger(name).addFilter(is_no_disconnect)
        try:
            with orderly_end(), optional_imports():
                return super().invoke(ctx)
        except RequestError as error:
            logging.getLogger("latticescape").debug("the request failed", exc_info=error)
            raise Refusal(error) from None
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else f"{ctx.command_path} COMMAND"
            problem = error.format_message().rstrip(".?")
            raise Refusal(RequestError(problem, hint=f"{command} --help")) from None
        except DamageError as error:
            logging.getLogger("latticescape").debug("a store is damaged", exc_info=error)
            damage = RequestError(
                "a store is damaged: what it holds cannot be read",
                came=error,
                allowed="a store without damage",
                hint="latticescape verify STORE --repair, then latticescape run",
            )
            raise Refusal(damage) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for verbs in SECTIONS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for verbs in SECTIONS.values():
            if cmd_name in verbs:
                # The builtins map and list keep their names.
                builtin = cmd_name in ("map", "list")
                function = f"{cmd_name}_" if builtin else cmd_name.replace("-", "_")
                module = import_module(f"latticescape.deploy.cli.{verbs[cmd_name][0]}")
                command: click.Command = getattr(module, function)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))
        for section, verbs in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(
                    [(verb.ljust(width), summary) for verb, (_, summary) in verbs.items()]
                )


# The name of the command of dask: dask takes it from here, not from the entry point.
@click.group(name="sweep", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_version(), prog_name="latticescape")
def main() -> None:
    """Simulate lattice models over parameter grids, and fit them to images of atoms."""
