"""The zarr store of a sweep: layout, integrity, records, and object stores."""
