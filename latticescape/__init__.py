"""Lattice models over whole parameter spaces, and which point of them an image came from."""

import logging

from latticescape.physics.extras import lazy_names

# The application chooses where messages go.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
