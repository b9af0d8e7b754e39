"""N-FINDR: the windows that span the largest simplex are the purest ones."""

import math

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import RequestError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RESTARTS = 20

# A volume is larger if it is so by more than rounding.
LARGER = 1 + 1e-9


def nfindr(points: npt.ArrayLike, *, seed: int = 0, restarts: int = RESTARTS) -> Integers:
    """The points that span the simplex of largest volume.

    Each vertex in turn is replaced by the point that makes the simplex largest, until none is
    replaced; so from several random starts, of which the largest simplex is kept. The volume is
    linear in each vertex, so a vertex's best replacement is found over all points at once.

    Parameters
    ----------
    points
        (points, q − 1): coordinates, as scores along q − 1 principal components, for q vertices.
    seed
        Of the random starts.
    restarts
        How many starts.

    Returns
    -------
    integers
        (q,): the vertices' numbers, ascending.

    Raises
    ------
    RequestError
        If there are fewer than q points, or they span no simplex.

    References
    ----------
    M. E. Winter, Proc. SPIE 3753, 266 (1999), 10.1117/12.366289.

    Examples
    --------
    >>> nfindr([[0, 0], [0.3, 0.3], [1, 0], [0.2, 0.7], [0, 1]]).tolist()
    [0, 2, 4]
    """
    places = np.asarray(points, np.float64)
    if places.ndim != 2 or not 0 < places.shape[1] < len(places):
        raise RequestError(
            "too few points for a simplex",
            came=f"shape {places.shape}",
            allowed="(points, q − 1), at least q points",
        )
    extent = np.abs(places - places.mean(axis=0)).max(axis=0)
    if not (np.isfinite(extent) & (extent > 0)).all():
        raise RequestError(
            "the points span no simplex",
            came=f"extents {extent}",
            allowed="points that differ along every axis",
            hint="fewer endmembers",
        )
    scaled = (places - places.mean(axis=0)) / extent
    rng = np.random.default_rng(seed)
    best, largest = None, 0.0
    for _ in range(max(1, restarts)):
        start = rng.choice(len(scaled), scaled.shape[1] + 1, replace=False)
        vertices = np.sort(_grown(scaled, start))
        volume = simplex_volume(scaled[vertices])
        if best is None or volume > LARGER * largest:
            best, largest = vertices, volume
    if best is None or largest == 0:
        raise RequestError("the points span no simplex", came="volume 0", hint="fewer endmembers")
    return best


def simplex_volume(vertices: npt.ArrayLike) -> float:
    """|det [1; e]| / (q − 1)! of q vertices, (q, q − 1).

    Examples
    --------
    >>> simplex_volume([[0, 0], [1, 0], [0, 1]])
    0.5
    """
    corners = np.asarray(vertices, np.float64)
    q = len(corners)
    determinant = np.linalg.det(np.column_stack([np.ones(q), corners]))
    return float(abs(determinant)) / math.factorial(q - 1)


def _grown(points: Floats, start: Integers) -> Integers:
    """Vertices that no single replacement improves."""
    raised = np.column_stack([np.ones(len(points)), points])
    vertices, changed = start.copy(), True
    while changed:
        changed = False
        for k in range(len(vertices)):
            # Height over the face of the others: their common normal is the last singular vector.
            face = np.delete(raised[vertices], k, axis=0)
            height = np.abs(raised @ np.linalg.svd(face)[2][-1])
            farthest = int(height.argmax())
            if height[farthest] > LARGER * height[vertices[k]]:
                vertices[k], changed = farthest, True
    return vertices
