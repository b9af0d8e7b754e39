"""From counts and simulations to parameters, their errors, and the choice of a model."""
