from .clusters.connect import connect as connect

__all__ = ["connect"]
