"""Atoms on the sites of a named lattice, and the rings of their neighbours."""

from analysis.sites.lattice_fit import fit_sites, site_rings
from analysis.sites.rings import complete_rings

__all__ = [
    "complete_rings",
    "fit_sites",
    "site_rings",
]
