"""Which model: S², p-values, BIC and evidence of several models on the same images."""

from analysis.selection.comparison import compare
from analysis.selection.criteria import bic, model_weights
from analysis.selection.p_values import p_values

__all__ = ["bic", "compare", "model_weights", "p_values"]
