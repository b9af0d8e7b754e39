"""Damaged inputs of every kind for every command: no traceback, no hang, nothing left behind."""
