"""Seeds of points: the same on every machine, of the parameters alone."""

from latticescape.sweeps.spec.sweep import point_seed, point_seeds


def test_seeds_are_those_that_stores_were_computed_with() -> None:
    """A change of these words would change the bits of every store that goes on."""
    words = [
        0xEB11_639E_CA08_974F,
        0x0846_4356_13CD_3C87,
        0x5598_56AD_AA9F_0793,
        0x136F_9135_4F6C_E107,
    ]
    assert point_seed(1, {"T": 2.0, "H": 0.5}).tolist() == words


def test_neither_the_order_of_parameters_nor_the_sign_of_zero_matters() -> None:
    seeds = [{"T": 2.0, "H": 0.0}, {"H": 0.0, "T": 2.0}, {"T": 2.0, "H": -0.0}]
    assert len({tuple(words) for words in point_seeds(1, seeds).tolist()}) == 1


def test_names_values_and_the_sweeps_seed_matter() -> None:
    seeds = [
        point_seed(1, {"T": 2.0}),
        point_seed(2, {"T": 2.0}),
        point_seed(1, {"H": 2.0}),
        point_seed(1, {"T": -2.0}),
    ]
    assert len({tuple(words.tolist()) for words in seeds}) == 4
