"""From simulated curves to where the order changes: crossings, ridges, exponents, diagrams."""

from analysis.phase_diagram.crossings import binder_crossing
from analysis.phase_diagram.scaling import finite_size_scaling

__all__ = ["binder_crossing", "finite_size_scaling"]
