"""Adatoms as observed: energies from populations, rates from tracks, barriers from rates."""
