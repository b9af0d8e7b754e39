"""Parameters of models from counts, without a simulation."""
