"""Clusters: profiles, connections, batch jobs and certificates."""
