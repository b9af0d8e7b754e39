"""From image files to atoms, sites, species, and local spectra."""
