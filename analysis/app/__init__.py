"""The page of ``latticescape browse``: a sweep, its landscape and its points in a browser."""
