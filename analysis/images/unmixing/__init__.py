"""Spectra of windows as mixtures of a few endmembers."""
