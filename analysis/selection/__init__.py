"""Which model: S², p-values, BIC and evidence of several models on the same images."""

from analysis.selection.comparison import compare
from analysis.selection.criteria import bic, model_weights
from analysis.selection.evidence import bayes_factors
from analysis.selection.left_out import leave_one_out
from analysis.selection.models import Model, least_s2
from analysis.selection.p_values import p_values

__all__ = [
    "Model",
    "bayes_factors",
    "bic",
    "compare",
    "least_s2",
    "leave_one_out",
    "model_weights",
    "p_values",
]
