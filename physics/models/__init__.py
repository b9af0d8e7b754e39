"""Lattice models: an energy as parameters times integer features."""
