"""Which model: S², p-values, BIC and evidence of several models on the same images."""

from analysis.selection.comparison import bic, compare

__all__ = ["bic", "compare"]
