"""What to simulate: the sweep, its axes, its spec file, and its cut into blocks."""
