"""Counts of local configurations in images, tables and measured stores."""

from analysis.observed.atom_tables import atom_table
from analysis.observed.counting import count_atoms, count_measured, counts_dataset, observed_counts
from analysis.observed.overlap import (
    effective_number,
    expected_counts,
    random_p_value,
    shuffled_counts,
)
from analysis.observed.stored import stored_counts
from analysis.observed.whole_lattices import count_lattices

__all__ = [
    "atom_table",
    "count_atoms",
    "count_lattices",
    "count_measured",
    "counts_dataset",
    "effective_number",
    "expected_counts",
    "observed_counts",
    "random_p_value",
    "shuffled_counts",
    "stored_counts",
]
