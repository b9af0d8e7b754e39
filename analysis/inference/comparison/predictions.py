"""What a model says of each image: probabilities of the classes at every point of its grid."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.comparison.models import RANDOM, Model, check_counts
from latticescape.analysis.inference.landscapes.landscape import histograms_at
from latticescape.physics.errors import RequestError
from latticescape.physics.lattices.configurations import configurations

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """Probabilities of a model's classes.

    Attributes
    ----------
    names
        The model's parameters; none for the random alloy.
    values
        (points, parameters): where they are known.
    probability
        (images, points, classes).
    kind
        Of the lattice.
    random
        Whether it is the random alloy, whose probabilities follow from the composition alone.
    """

    names: tuple[str, ...]
    values: Floats
    probability: Floats
    kind: str
    random: bool = False

    def s2(self, counts: npt.ArrayLike) -> Floats:
        """S² of histograms to the model at every point.

        Parameters
        ----------
        counts
            (…, images, classes).

        Returns
        -------
        ndarray
            (…, images, points).
        """
        drawn = np.asarray(counts, float)
        roots = np.sqrt(drawn / drawn.sum(axis=-1, keepdims=True))
        overlaps = np.stack(
            [
                roots[..., image, :] @ np.sqrt(there).T
                for image, there in enumerate(self.probability)
            ],
            axis=-2,
        )
        found: Floats = np.arccos(np.minimum(overlaps, 1.0)) ** 2
        return found

    def at(self, point: int) -> "Predictions":
        """At one point alone."""
        return self.among([point])

    def among(self, points: npt.ArrayLike) -> "Predictions":
        """At some of the points."""
        chosen = np.asarray(points)
        return replace(self, values=self.values[chosen], probability=self.probability[:, chosen])

    def draws(
        self, numbers: npt.ArrayLike, draws: int, rng: np.random.Generator, *, point: int = 0
    ) -> Integers:
        """Images as the model makes them at one point, (draws, images, classes).

        Parameters
        ----------
        numbers
            (images,): independent neighbourhoods in each, rounded.
        draws
            How many sets of images.
        chance
            Where the numbers come from.
        point
            Number of the point.
        """
        rounded = np.maximum(np.rint(np.asarray(numbers, float)), 1).astype(np.int64)
        rows = [
            rng.multinomial(number, there[point] / there[point].sum(), size=draws)
            for number, there in zip(rounded, self.probability, strict=True)
        ]
        return np.stack(rows, axis=1)


def predictions(model: Model, observed: xr.Dataset) -> Predictions:
    """What a model says of each image.

    Parameters
    ----------
    model
        A sweep's Dataset, ``"random"``, or a landscape that keeps its ``probability``.
    observed
        Counts per image.

    Returns
    -------
    Predictions
        At the points of the sweep that are computed at all images' compositions.

    Raises
    ------
    RequestError
        If the model is a landscape, which holds distances and no probabilities, if no point is
        computed, or as for ``landscape``.

    Examples
    --------
    >>> from latticescape.analysis.counts.counting import counts_dataset
    >>> observed = counts_dataset({"one": np.arange(8)}, configurations("honeycomb"))
    >>> predictions("random", observed).probability.shape
    (1, 1, 8)
    """
    check_counts(observed)
    kind = str(observed.attrs["lattice"])
    if isinstance(model, str):
        if model != RANDOM:
            raise RequestError("unknown model", came=model, allowed=f'a sweep, or "{RANDOM}"')
        mixed = configurations(kind).random_mixing(observed["composition"].values)
        return Predictions((), np.empty((1, 0)), mixed[:, None, :], kind, random=True)
    if "s2_total" in model and "probability" in model:
        return _gathered(model["probability"], kind)
    if "s2_total" in model:
        raise RequestError(
            "a landscape holds no probabilities to draw from",
            came="a landscape",
            allowed='a sweep\'s Dataset, or "random"',
            hint="compare({'pair': open_sweep('runs/pair.zarr')}, observed)",
        )
    return _gathered(histograms_at(model, observed), kind)


def _gathered(histograms: xr.DataArray, kind: str) -> Predictions:
    names = tuple(str(d) for d in histograms.dims if d not in ("image", "configuration"))
    counts = histograms.transpose("image", *names, "configuration").to_numpy().astype(float)
    counts = counts.reshape(len(counts), -1, counts.shape[-1])
    axes = np.meshgrid(*(histograms[name].to_numpy() for name in names), indexing="ij")
    values = np.stack([axis.ravel() for axis in axes], axis=-1) if names else np.empty((1, 0))
    total = counts.sum(axis=-1)
    done = (total > 0).all(axis=0)
    if not done.any():
        raise RequestError(
            "no point of the sweep is computed",
            came="no counts",
            allowed="at least one point at every composition",
            hint="latticescape run, and then once more",
        )
    return Predictions(names, values[done], counts[:, done] / total[:, done, None], kind)
