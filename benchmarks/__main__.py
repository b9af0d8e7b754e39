"""``python -m benchmarks``: every benchmark, printed."""

from benchmarks.kernels import report

if __name__ == "__main__":
    print(report())
