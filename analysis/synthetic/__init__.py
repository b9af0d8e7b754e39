"""Images drawn from known arrangements of atoms."""

from analysis.synthetic.arrangements import place_atoms
from analysis.synthetic.drawing import draw_configuration, draw_image, drifted, two_phases

__all__ = [
    "draw_configuration",
    "draw_image",
    "drifted",
    "place_atoms",
    "two_phases",
]
