"""Counts of local configurations in images, tables and measured stores."""
