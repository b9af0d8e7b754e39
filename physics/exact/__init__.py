"""Exact results: enumeration of small lattices, and closed forms."""
