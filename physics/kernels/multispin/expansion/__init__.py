"""Multispin coding of two species with any clusters on any lattice."""
