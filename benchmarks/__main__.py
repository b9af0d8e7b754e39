"""``python -m benchmarks``: every benchmark, printed."""

from benchmarks import end_to_end, kernels

if __name__ == "__main__":
    print(kernels.report(), flush=True)
    print(end_to_end.report())
