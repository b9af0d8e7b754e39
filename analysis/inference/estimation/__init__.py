"""Parameters and their errors from a landscape."""
