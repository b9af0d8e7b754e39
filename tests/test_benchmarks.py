"""Benchmarks run, whatever they would measure."""

from benchmarks.kernels import CASES, our_rates, peer_rates


def test_kernel_benchmarks_run() -> None:
    rates = our_rates(mcs=1, runs=1, sizes=4)
    assert len(rates) == len(CASES)
    assert all(rate.per_ns > 0 for rate in rates)


def test_peers_are_measured_where_they_are_installed() -> None:
    assert all(rate.per_ns > 0 for rate in peer_rates(mcs=2, runs=1))
