"""Multispin coding: 64 replicas a machine word, eight points a vector register."""
