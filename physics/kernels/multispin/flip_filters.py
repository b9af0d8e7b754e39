"""Further couplings of single flips: what a change of a spin has to pass for each of them.

The heat bath draws a spin from the energy of one or two couplings and of the field. Where there are
more, a change then has to pass min(1, exp(−ΔE_k/T)) for each further coupling k on its own, with a
uniform number of its own: the factorised Metropolis filter, which keeps detailed balance since the
draw before it does. With u of z neighbours unlike the spin as it is, ΔE_k = b·(u − z/2).

References
----------
Michel, Kapfer and Krauth, J. Chem. Phys. 140, 054116 (2014), 10.1063/1.4863991.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.kernels.boltzmann import boltzmann
from latticescape.physics.kernels.multispin.adders import count_bits
from latticescape.physics.kernels.multispin.simd import Emitter
from latticescape.physics.kernels.multispin.streams import PLANES, Words, draw
from latticescape.physics.kernels.multispin.thresholds import (
    Load,
    Trial,
    linear,
    loader,
    normal_form,
    passed,
    products,
    threshold_planes,
)

Floats = npt.NDArray[np.float64]

# Planes without a test: few lanes change. Changes speed alone.
HOT = 10


def filter_terms(steps: Floats, sizes: Sequence[int]) -> Words:
    """Coefficients of the thresholds of all filters, as the kernel reads them.

    Parameters
    ----------
    steps
        b/T, by which the energy rises with each unlike neighbour, (filters, 8).
    sizes
        Neighbours z by each coupling.

    Returns
    -------
    ndarray
        (terms, 8) uint64: filter by filter, plane by plane.
    """
    found = [np.empty((0, steps.shape[-1]), np.uint64)]
    for step, z in zip(steps, sizes, strict=True):
        uphill = np.maximum(step * (np.arange(z + 1)[:, None] - z / 2), 0.0)
        terms = normal_form(threshold_planes(boltzmann(uphill)), [z + 1])
        found.append(terms.reshape(-1, terms.shape[-1]))
    return np.concatenate(found)


def filtered(
    e: Emitter,
    old: Any,
    new: Any,
    around: Sequence[Sequence[Any]],
    terms: Any,
    generator: list[Any],
) -> tuple[Any, list[Any]]:
    """The spin after all filters, and the generators; a filter takes one draw, whatever happens.

    ``around`` holds the neighbours by each further coupling.
    """
    changed, trials, start = e.xor(old, new), [], 0
    for bits in around:
        z = len(bits)
        fresh, generator = draw(e, generator)
        masks = products(e, count_bits(e, [e.xor(bit, old) for bit in bits]), z)
        chosen = _chooser(e, masks, loader(e, terms, z + 1, start))
        trials.append(Trial(chosen, fresh, e.inverse(changed)))
        start += PLANES * (z + 1)
    for good in passed(e, trials, HOT):
        changed = e.both(changed, good)
    return e.xor(old, changed), generator


def _chooser(e: Emitter, masks: Sequence[Any], load: Load) -> Callable[[int], Any]:
    return lambda k: linear(e, load, k, 0, masks)
