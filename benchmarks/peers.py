"""Ours beside named peers and beside our own scalar kernel, taking turns on one core.

Ours runs eight points of 64 replicas, a peer one chain (the scalar kernel one point): each as it
is fastest a core. All measure every 10 MCS: ours energy, moments to m⁴ and the histogram of
configurations, peers energy and magnetization, smol energy and its features.
"""

import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.kernels import BARE, ISING, PAIR_ALLOY, SQUARE, THREE_BODY, Case
from benchmarks.timing import EVERY_MCS, Pair, Work, one_core, side_by_side
from latticescape.physics import Lattice
from latticescape.physics.kernels.lattice_kernel import REFERENCE


@dataclass(frozen=True)
class Peer:
    """Whom we stand beside, and in what.

    Attributes
    ----------
    name
        Of the package, but for a kernel of our own.
    extra
        What brings it; none for a kernel of our own.
    """

    name: str
    work: Callable[[Case], Work]
    cases: Sequence[Case]
    extra: str | None

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return self.extra is None or importlib.util.find_spec(self.name) is not None

    @property
    def title(self) -> str:
        """Name and version."""
        version = f" {importlib.metadata.version(self.name)}" if self.extra else ""
        return self.name + version


def scalar_work(case: Case) -> Work:
    """Our own reference kernel."""
    return case.work(REFERENCE)


def mcising_work(case: Case) -> Work:
    """mcising's Metropolis sweep."""
    from mcising import IsingSimulation

    lattice, field = case.lattice, case.model.fixed_parameters.get("H", 0.0)
    chain = IsingSimulation(
        lattice.linear_size, 1.0, 0.0, 0.0, field, 1, "metropolis", lattice.kind
    )

    def run(strides: int) -> None:
        for _ in range(strides):
            chain.sweep(EVERY_MCS, temperature=case.point["T"])
            chain.energy()
            chain.magnetization()

    return Work(run, EVERY_MCS * lattice.sites)


def peapods_work(case: Case) -> Work:
    """peapods' Metropolis sweep of a square lattice, on one thread.

    It measures every sweep but those of the warm-up. A warm-up of nine sweeps in ten makes as many
    measurements as everybody's.
    """
    import peapods

    size, sites = case.lattice.linear_size, case.lattice.sites
    chain = peapods.Ising((size, size), temperatures=np.array([case.point["T"]]))

    def run(strides: int) -> None:
        chain.sample(EVERY_MCS * strides, warmup_ratio=1 - 1 / EVERY_MCS, sequential=True)

    return Work(run, EVERY_MCS * sites)


def smol_work(case: Case) -> Work:
    """smol's canonical Metropolis sampler of a pair alloy, on one thread.

    It proposes unlike pairs alone, from anywhere.
    """
    from smol.constants import kB
    from smol.moca import Sampler

    given, lattice = case.model.fixed_parameters, case.lattice
    with warnings.catch_warnings():  # spglib's of its own error handling
        warnings.simplefilter("ignore", DeprecationWarning)
        ensemble = smol_ensemble(lattice, given["w1"], given["w2"])
    sampler = Sampler.from_ensemble(ensemble, temperature=1 / kB, seeds=[1])
    stride = EVERY_MCS * lattice.sites
    start = np.arange(lattice.sites) < round(case.point["x"] * lattice.sites)
    sampler.run(1, np.random.default_rng(1).permutation(start.astype(np.int32)))
    return Work(lambda strides: sampler.run(strides * stride, thin_by=stride), stride)


def smol_ensemble(lattice: Lattice, w1: float, w2: float) -> Any:
    """The pair alloy on a triangular lattice as smol's cluster expansion.

    Species are ±1: an unlike pair is (1 − s·s')/2, and a site has three bonds of either shell.
    Of smol's processors the one of correlation functions is a little the faster one here.
    """
    from pymatgen.core import Lattice as Cell
    from pymatgen.core import Structure
    from smol.cofe import ClusterSubspace
    from smol.moca import ClusterExpansionProcessor, Ensemble

    cell = Structure(Cell.hexagonal(1.0, 10.0), [{"Mo": 0.5, "Re": 0.5}], [[0.0, 0.0, 0.0]])
    pairs = ClusterSubspace.from_cutoffs(cell, {2: 1.8}, basis="sinusoid", num_threads=1)
    supercell = np.diag([lattice.linear_size, lattice.linear_size, 1])
    coefficients = [1.5 * (w1 + w2), 0.0, -1.5 * w1, -1.5 * w2]
    processor = ClusterExpansionProcessor(pairs, supercell, coefficients, num_threads=1)
    return Ensemble(processor)


PEERS = [
    Peer("mcising", mcising_work, [BARE, *ISING], "bench"),
    Peer("peapods", peapods_work, [SQUARE.at(32)], "bench"),
    Peer("smol", smol_work, [PAIR_ALLOY], "bench-alloys"),
    Peer("our scalar kernel", scalar_work, [SQUARE, PAIR_ALLOY, THREE_BODY], None),
]

FOOTNOTE = (
    "about half of the exchanges that ours and the scalar kernel attempt are of like atoms, and\n"
    "change nothing; smol proposes unlike atoms alone"
)


def report(
    peers: Iterable[Peer] = PEERS,
    *,
    size: int | None = None,
    seconds: float = 0.5,
    runs: int = 5,
) -> str:
    """A table of both rates and their ratio; a line for each peer that is not installed."""
    lines = [
        f"medians of {runs} runs taking turns on one core, measured every {EVERY_MCS} MCS",
        f"{'attempted updates/ns':<28}{'ours':>10}{'peer':>12}{'ratio':>11}  peer",
    ]
    with one_core():
        for peer in peers:
            if not peer.installed:
                lines.append(f"{peer.name} is not installed: pip install '.[{peer.extra}]'")
                continue
            for case in peer.cases:
                chosen = case.at(size) if size else case
                pair = side_by_side(chosen.work(), peer.work(chosen), seconds=seconds, runs=runs)
                lines.append(_row(chosen, peer, pair))
    return "\n".join([*lines, FOOTNOTE])


def _row(case: Case, peer: Peer, pair: Pair) -> str:
    return f"{case.title:<28}{pair.ours:10.3f}{pair.theirs:12.7f}{pair.ratio:11.1f}  {peer.title}"
