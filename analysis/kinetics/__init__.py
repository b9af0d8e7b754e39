"""Adatoms as seen: energies from populations, rates from tracks, barriers from rates."""

from analysis.kinetics.arrhenius import arrhenius
from analysis.kinetics.site_energies import site_energies
from analysis.kinetics.tracks import hop_rates

__all__ = [
    "arrhenius",
    "hop_rates",
    "site_energies",
]
