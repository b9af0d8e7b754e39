"""A parameter grid in, an xarray Dataset in a zarr store out; on Dask, resumable."""

from latticescape.physics.extras import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
