"""Clusters and the command line: the only room that knows either."""

from deploy.clusters import connect

__all__ = ["connect"]
