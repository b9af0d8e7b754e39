"""Benchmarks run, whatever they would measure."""

from benchmarks.kernels import CASES, our_rates, peer_ratios


def test_kernel_benchmarks_run() -> None:
    rates = our_rates(mcs=1, runs=1, sizes=4)
    assert len(rates) == len(CASES)
    assert all(rate.per_ns > 0 for rate in rates)


def test_peers_are_measured_where_they_are_installed() -> None:
    assert all(ratio > 0 for _, _, ratio in peer_ratios(mcs=10, runs=1))
