"""From stored samples at the points of a sweep to any nearby point."""
