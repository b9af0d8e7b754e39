"""``python -m benchmarks [NAME ...]``: all benchmarks, or those named, printed."""

from importlib import import_module

import click
import llvmlite.binding as llvm

from physics.simd import native_width

NAMES = (
    "kernels",
    "instructions",
    "peers",
    "threads",
    "overhead",
    "scale",
    "end_to_end",
    "kaufman",
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: tuple[str, ...]) -> None:
    """Print the benchmarks NAMES, or all of them."""
    click.echo(f"{llvm.get_host_cpu_name()}, registers of {64 * len(native_width())} bits")
    for name in names or NAMES:
        click.echo(f"\n{name}\n{import_module(f'benchmarks.{name}').report()}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
