"""Atoms of an image: sub-pixel positions and brightness, each with its error."""
