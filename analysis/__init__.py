"""Images and simulated Datasets in; distances, parameters and model comparisons out."""

from latticescape.physics.extras import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
