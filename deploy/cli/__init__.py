"""The command line: one module a verb or a small group of verbs."""
