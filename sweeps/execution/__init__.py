"""Running a sweep on Dask: tasks, fault tolerance, leases, status and progress."""
