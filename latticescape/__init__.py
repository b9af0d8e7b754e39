"""Lattice models over whole parameter spaces, and which point of them an image came from."""

from latticescape.physics.extras import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
