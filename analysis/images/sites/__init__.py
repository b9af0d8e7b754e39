"""Atoms on the sites of a named lattice, and the rings of their neighbours."""
