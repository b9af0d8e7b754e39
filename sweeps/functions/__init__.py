"""A user's own Python function as the kernel of a sweep."""
