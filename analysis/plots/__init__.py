"""Static pictures of sweeps, landscapes, images and phase diagrams."""

from latticescape.physics.extras import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
