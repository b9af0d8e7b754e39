"""``SlabTask``: one point of a segregation slab, as its kernels take it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SlabTask:
    """A point: its seed, energies and atoms.

    Attributes
    ----------
    seed
        (4,) uint64.
    couplings
        w_CL, w_LL, w_LO in kJ/mol, (3,).
    heat
        RT in kJ/mol.
    calcium, oxygen
        Numbers of atoms.
    bulk_pairs
        Which pairs are bulk, see :meth:`latticescape.Slab.bulk_bonds`.
    """

    seed: npt.NDArray[np.uint64]
    couplings: npt.NDArray[np.float64]
    heat: float
    calcium: int
    oxygen: int
    bulk_pairs: int
