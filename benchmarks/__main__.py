"""``python -m benchmarks [NAME ...]``: all benchmarks, or those named, printed."""

from functools import partial
from importlib import import_module

import click
import llvmlite.binding as llvm

from benchmarks.chaos.command import chaos
from benchmarks.fuzz.command import fuzz
from latticescape.physics.kernels.multispin.simd import native_width

NAMES = (
    "kernels",
    "information",
    "instructions",
    "peers",
    "threads",
    "overhead",
    "scale",
    "end_to_end",
    "kaufman",
    "critical",
    "atoms",
    "spectra",
    "reweighting",
    "lecture_table",
    "selection",
    "refinement",
    "slab",
    "wrong_images",
)


class Benchmarks(click.Group):
    """Several may be named at once, and a name that is none is answered with those that are."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        args[0] = args[0].replace("-", "_")
        if args[0] not in self.commands:
            ctx.fail(f"no benchmark {args[0]!r}, but {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Benchmarks, chain=True, invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Print the benchmarks named, or all but chaos and fuzz, which take most of an hour."""
    click.echo(f"{llvm.get_host_cpu_name()}, registers of {64 * len(native_width())} bits")
    if context.invoked_subcommand is None:
        for name in NAMES:
            _print(name)


def _print(name: str) -> None:
    click.echo(f"\n{name}\n{import_module(f'benchmarks.{name}').report()}")


for name in NAMES:
    main.add_command(click.Command(name, callback=partial(_print, name)))
main.add_command(chaos)
main.add_command(fuzz)

if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
