"""Lattice models over whole parameter spaces, and which point of them an image came from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
