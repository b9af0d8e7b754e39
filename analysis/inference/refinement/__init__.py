"""Where to simulate next, so that the minimum of a landscape is known better."""
