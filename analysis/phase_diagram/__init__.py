"""From simulated curves to where the order changes: crossings, ridges, exponents, diagrams."""

from analysis.phase_diagram.crossings import binder_crossing
from analysis.phase_diagram.diagram import phase_diagram
from analysis.phase_diagram.ordering import ordering
from analysis.phase_diagram.ridges import ridge_scaling, ridges
from analysis.phase_diagram.scaling import finite_size_scaling
from analysis.phase_diagram.simulation import simulate

__all__ = [
    "binder_crossing",
    "finite_size_scaling",
    "ordering",
    "phase_diagram",
    "ridge_scaling",
    "ridges",
    "simulate",
]
