"""Processes, jobs, nodes, networks, disks and chunks die amid a sweep: what is lost, what is seen.

Everything is real: processes that get SIGKILL, a SLURM of two nodes, network namespaces, a file
system without space. The user's part is the command line, and what it prints.
"""
