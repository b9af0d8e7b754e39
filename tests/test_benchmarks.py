"""Benchmarks run, whatever they would measure."""

import importlib.util

from benchmarks import end_to_end
from benchmarks.kernels import CASES, our_rates, peer_ratios, thread_ratio
from sweeps.run import Report


def test_kernel_benchmarks_run() -> None:
    rates = our_rates(mcs=1, runs=1, sizes=4)
    assert len(rates) == len(CASES)
    assert all(rate.per_ns > 0 for rate in rates)


def test_threads_are_set_side_by_side() -> None:
    assert thread_ratio(mcs=10, runs=1, tasks=2) > 0


def test_peers_are_measured_where_they_are_installed() -> None:
    assert all(ratio > 0 for _, _, ratio in peer_ratios(mcs=10, runs=1))


def test_a_whole_run_is_measured_beside_the_peer_where_it_is_installed() -> None:
    told = end_to_end.report(end_to_end.grid(3, 2, size=4, mcs=20), workers=1).splitlines()
    assert told[0].startswith("3 x 2 points, square 4 x 4, 64 replicas, 20 MCS")
    assert told[4].startswith("kernel time / worker time")
    peer = importlib.util.find_spec("mcising") is not None
    assert told[-1].startswith("ours is faster" if peer else "no peer installed")


def test_shares_are_of_the_workers_time() -> None:
    report = Report(
        "s.zarr",
        "",
        points=4,
        blocks=2,
        seconds=10,
        kernel_seconds=15,
        worker_seconds=16,
        updates=10**12,
        workers=2,
    )
    run = end_to_end.Run(1, 1, report)
    assert (run.per_ns, run.kernel_share, run.busy_share) == (50, 15 / 16, 0.75)
    assert end_to_end.PeerRun(points=2, seconds=3).scaled(4) == 6
