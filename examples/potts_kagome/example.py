"""Three-state Potts model on kagome: its critical temperature from two lattice sizes."""

from pathlib import Path
from typing import Any

import numpy as np

from latticescape import Schedule, Sweep, kagome, phase_diagram, run
from latticescape.analysis.plots import phase_diagram_map, save

HERE = Path(__file__).parent


def conjecture(states: int) -> float:
    """Critical temperature of the Potts model on kagome by Wu's conjecture, exact for two states.

    The root v = e^(J/T) − 1 > 0 of v⁶ + 6v⁵ + 9v⁴ − 2qv³ − 12qv² − 6q²v − q³ = 0.
    """
    q = states
    roots = np.roots([1, 6, 9, -2 * q, -12 * q, -6 * q**2, -(q**3)])
    (v,) = roots[(abs(roots.imag) < 1e-9) & (roots.real > 0)].real
    return float(1 / np.log1p(v))


def main(folder: Path, small: bool = False) -> dict[str, Any]:
    """Write stores and figure into a folder, and return the critical temperature."""
    sweep = Sweep.from_file(HERE / "potts.toml")
    sizes, schedule = (6, 12), sweep.schedule
    if small:
        schedule = Schedule(100, 200, 3)
    stores = [
        run(
            Sweep(kagome(size), sweep.model, sweep.axes, schedule, sweep.seed),
            folder / f"potts{size}.zarr",
            progress=False,
        )
        for size in sizes
    ]
    diagram = phase_diagram(stores)
    errors = [float(diagram[f"boundary_{part}"]) for part in ("se", "finite_size_se")]
    value, error = float(diagram.boundary), float(np.hypot(*np.nan_to_num(errors)))
    print(f"T = {value:.4f} ± {error:.4f} J, by {diagram.boundary_method.item()}")
    print(f"Wu's conjecture: {conjecture(3):.4f}")
    path = save(phase_diagram_map(diagram), folder / "order.png", title="Three states on kagome")
    return {"truth": {"T": conjecture(3)}, "parameters": {"T": (value, error)}, "pictures": [path]}


if __name__ == "__main__":
    main(HERE)
