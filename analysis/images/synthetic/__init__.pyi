from .arrangements import place_atoms as place_atoms
from .drawing import draw_configuration as draw_configuration
from .drawing import draw_image as draw_image
from .drawing import drifted as drifted
from .drawing import two_phases as two_phases

__all__ = ["draw_configuration", "draw_image", "drifted", "place_atoms", "two_phases"]
