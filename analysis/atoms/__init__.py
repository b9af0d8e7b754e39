"""Atoms of an image: sub-pixel positions and brightness, each with its error."""

from analysis.atoms.finding import find_atoms

__all__ = [
    "find_atoms",
]
