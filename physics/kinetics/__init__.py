"""Kinetic Monte Carlo of adatoms that hop between the sites of a lattice."""
