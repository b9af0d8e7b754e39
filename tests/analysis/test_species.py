"""Species by brightness: the right ones, honest probabilities; one species only is told."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from latticescape.analysis.images.species import assign_species
from latticescape.physics import RequestError

Floats = npt.NDArray[np.float64]
PLACES = np.indices((30, 30)).reshape(2, -1).T.astype(float)


def lit(
    species: npt.NDArray[np.int64],
    levels: tuple[float, ...] = (0.4, 1.0),
    *,
    noise: float = 0.1,
    light: Callable[[Floats], Floats] | None = None,
    seed: int = 1,
) -> xr.Dataset:
    """Atoms of the levels' brightness, with so much relative noise, under a light."""
    bright = np.array(levels)[species]
    bright = bright * (1 + noise * np.random.default_rng(seed).standard_normal(len(species)))
    bright = bright if light is None else bright * light(PLACES)
    return xr.Dataset(
        {"row": ("atom", PLACES[:, 0]), "col": ("atom", PLACES[:, 1])}
        | {"intensity": ("atom", bright), "on_lattice": ("atom", species >= 0)},
        attrs={"lattice_constant": 1.0},
    )


def at_random(fraction: float, seed: int = 2) -> npt.NDArray[np.int64]:
    return (np.random.default_rng(seed).random(len(PLACES)) < fraction).astype(np.int64)


def slope(places: Floats) -> Floats:
    """Brighter by a factor of 2.7 on one side, and waves of 30 % across."""
    result: Floats = np.exp((places[:, 0] - 15) / 30 + 0.3 * np.sin(places[:, 1] / 6))
    return result


@pytest.mark.parametrize("method", ["mixture", "otsu", 1.0])
@pytest.mark.parametrize("light", [None, slope])
def test_species_are_found_under_any_light(method: str, light: object) -> None:
    species = at_random(0.5)
    result = assign_species(lit(species, light=light), ("Mo", "Re"), method)  # type: ignore[arg-type]
    assert np.mean(result.species.values == species) >= 0.995
    assert np.allclose(result.probability.sum("species_name"), 1)


@pytest.mark.parametrize("light", [None, slope])
def test_a_few_bright_atoms_are_found(light: object) -> None:
    species = at_random(0.01)
    result = assign_species(lit(species, light=light))  # type: ignore[arg-type]
    assert species.sum() > 3
    assert np.array_equal(result.species, species)


@pytest.mark.parametrize("light", [None, slope])
def test_a_cluster_is_not_taken_for_illumination(light: object) -> None:
    disc = (np.hypot(*(PLACES - 15).T) < 9).astype(np.int64)
    result = assign_species(lit(disc, light=light))  # type: ignore[arg-type]
    assert np.mean(result.species.values == disc) >= 0.995


def test_two_halves_are_not_taken_for_illumination() -> None:
    halves = (PLACES[:, 0] < 15).astype(np.int64)
    assert np.mean(assign_species(lit(halves)).species.values == halves) >= 0.995


def test_three_species() -> None:
    species = np.random.default_rng(3).integers(0, 3, len(PLACES))
    result = assign_species(lit(species, (0.3, 0.6, 1.0), noise=0.08), ("A", "B", "C"))
    assert np.mean(result.species.values == species) >= 0.99
    assert result.species_name.values.tolist() == ["A", "B", "C"]


@pytest.mark.statistical
def test_probabilities_of_species_that_overlap_are_honest() -> None:
    """The mean doubt is the share of errors, within four standard errors."""
    doubt, wrong = [], []
    for seed in range(6):
        species = at_random(0.4, seed)
        result = assign_species(lit(species, (0.7, 1.0), noise=0.11, seed=seed))
        sure = result.probability.max("species_name")
        doubt.append(float(1 - sure.mean()))
        wrong.append(np.mean(result.species.values != species))
    error = np.sqrt(np.mean(wrong) / (6 * len(PLACES)))
    assert np.mean(wrong) > 0.01
    assert abs(np.mean(doubt) - np.mean(wrong)) < 4 * error + 0.01


@pytest.mark.parametrize("light", [None, slope])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
def test_a_single_species_is_refused(light: object, noise: float) -> None:
    atoms = lit(at_random(0.0), noise=noise, light=light)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"does not show 2 species.*standard deviations from"):
        assign_species(atoms)


def test_atoms_off_the_lattice_have_no_species() -> None:
    atoms = lit(at_random(0.5))
    atoms["on_lattice"][:10] = False
    result = assign_species(atoms)
    assert (result.species[:10] == -1).all()
    assert np.isnan(result.probability[:10]).all()


def test_wrong_requests_are_refused() -> None:
    atoms = lit(at_random(0.5))
    with pytest.raises(RequestError, match="different names"):
        assign_species(atoms, ("Mo", "Mo"))
    with pytest.raises(RequestError, match="unknown method"):
        assign_species(atoms, method="best")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="leaves only one species"):
        assign_species(atoms, method=50.0)
    with pytest.raises(RequestError, match="too few atoms"):
        assign_species(atoms.isel(atom=slice(4)))
