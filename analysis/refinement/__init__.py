"""Where to simulate next, so that the minimum of a landscape is known better."""

from analysis.refinement.errors import numerical_errors
from analysis.refinement.proposal import Proposal, propose

__all__ = ["Proposal", "numerical_errors", "propose"]
