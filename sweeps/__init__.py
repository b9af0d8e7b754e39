"""A parameter grid in, an xarray Dataset in a zarr store out; on Dask, resumable."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
