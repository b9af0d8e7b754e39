"""A film of two cations with a free surface and mobile adatoms on it."""
