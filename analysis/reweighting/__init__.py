"""From stored samples at the points of a sweep to any nearby point."""

from analysis.reweighting.landscapes import beside_untrusted, reweighted_landscape
from analysis.reweighting.reweighting import reweight

__all__ = ["beside_untrusted", "reweight", "reweighted_landscape"]
