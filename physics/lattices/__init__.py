"""Lattices, and the classes of local configurations on them."""
