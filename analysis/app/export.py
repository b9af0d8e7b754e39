"""What is seen, as a picture to keep and as the code that makes it."""

import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from latticescape.analysis.plots.configurations import configuration_chart
from latticescape.analysis.plots.maps import Picture, landscape_map, save, variable_map
from latticescape.analysis.plots.snapshots import snapshot_map

FUNCTIONS: dict[str, Callable[..., Picture]] = {
    function.__name__: function
    for function in (variable_map, landscape_map, configuration_chart, snapshot_map)
}


@dataclass(frozen=True)
class Sources:
    """Where everything came from, as a script has to open it.

    Attributes
    ----------
    store
        The sweep.
    observed, species
        What was given to ``observed_counts``.
    scape
        A landscape's store; None if it is of ``observed``.
    slab
        Arguments of ``slab_landscape`` besides the sweep, if ``observed`` is a file of sources.
    """

    store: str
    observed: tuple[str, ...] = ()
    species: tuple[str, ...] | None = None
    scape: str | None = None
    slab: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Call:
    """A public function of ``latticescape.analysis.plots`` with what it is given.

    Attributes
    ----------
    function
        Its name.
    inputs
        What comes first: ``sweep``, ``observed``, ``scape``, as the code names them.
    arguments
        The rest.
    fixed
        Parameters at which a landscape is cut.
    """

    function: str
    inputs: tuple[str, ...]
    positional: tuple[object, ...] = ()
    arguments: Mapping[str, object] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)

    def picture(self, given: Mapping[str, xr.Dataset]) -> Picture:
        """The picture, of the inputs by their names."""
        inputs = [given[name] for name in self.inputs]
        if self.fixed:
            inputs[0] = inputs[0].sel(dict(self.fixed), method="nearest")
        return FUNCTIONS[self.function](*inputs, *self.positional, **self.arguments)

    def code(self, sources: Sources, file: str) -> str:
        """A script that makes the picture, and saves it.

        Examples
        --------
        >>> call = Call("variable_map", ("sweep",), ("energy",), {"x": "T"})
        >>> print(call.code(Sources("runs/ising.zarr"), "energy.png"))
        from latticescape.analysis.plots import save, variable_map
        from latticescape import open_sweep
        <BLANKLINE>
        sweep = open_sweep('runs/ising.zarr')
        picture = variable_map(sweep, 'energy', x='T')
        save(picture, 'energy.png')
        <BLANKLINE>
        """
        imports = [
            f"from latticescape.analysis.plots import {', '.join(sorted(('save', self.function)))}"
        ]
        steps: list[str] = []
        needs_observed = "observed" in self.inputs or (
            "scape" in self.inputs and sources.scape is None
        )
        if "scape" in self.inputs and sources.scape is not None:
            imports.append("import xarray as xr")
            steps.append(f"scape = xr.open_zarr({sources.scape!r})")
        if needs_observed or "sweep" in self.inputs:
            imports.append("from sweeps import open_sweep")
            steps.append(f"sweep = open_sweep({sources.store!r})")
        if needs_observed:
            names, made = self._of_observed(sources)
            imports.append(f"from analysis import {', '.join(names)}")
            steps += made
        if self.fixed:
            steps.append(f'scape = scape.sel({dict(self.fixed)!r}, method="nearest")')
        told = [*self.inputs, *map(repr, self.positional)]
        told += [f"{name}={value!r}" for name, value in self.arguments.items()]
        steps.append(f"picture = {self.function}({', '.join(told)})")
        steps.append(f"save(picture, {file!r})")
        return "\n".join([*sorted(imports), "", *steps, ""])

    def _of_observed(self, sources: Sources) -> tuple[list[str], list[str]]:
        """Names to import from ``analysis``, and the lines that make what was observed."""
        if sources.slab is not None:
            asked = ", ".join(f"{name}={value!r}" for name, value in sources.slab.items())
            return ["slab_landscape"], [f"scape = slab_landscape(sweep, {asked})"]
        species = f", species={sources.species!r}" if sources.species else ""
        files, lattice = list(sources.observed), 'lattice=sweep.attrs["lattice"]'
        counts = f"observed = observed_counts({files!r}, {lattice}{species})"
        if "scape" not in self.inputs:
            return ["observed_counts"], [counts]
        return ["landscape", "observed_counts"], [counts, "scape = landscape(sweep, observed)"]


def written(picture: Picture, suffix: str) -> io.BytesIO:
    """A picture's file, as ``save`` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        return io.BytesIO(save(picture, Path(folder) / f"picture{suffix}").read_bytes())
