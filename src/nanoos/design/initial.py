"""The first points of a campaign, before there is anything to learn from."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def spread_points(
    x: FloatArray,
    n_points: int,
    *,
    free: npt.NDArray[np.intp],
    taken: Sequence[int],
    rng: np.random.Generator,
) -> list[int]:
    """Indices of points far from each other and from those already taken.

    k-means++ seeding (Arthur & Vassilvitskii 2007): each next point is drawn with probability
    proportional to its squared distance from the nearest one chosen, over standardised
    descriptors. Random, so that several seeds explore differently, yet spread.

    Args:
        x: (n, d) descriptors of the space.
        n_points: How many; fewer come back where ``free`` has fewer.
        free: Indices that may be chosen.
        taken: Indices already simulated or pending.
        rng: Source of the draws.
    """
    spread = x.std(axis=0)
    varying = spread > 1e-9 * np.maximum(np.abs(x).max(axis=0), 1.0)
    z = (x[:, varying] - x[:, varying].mean(axis=0)) / spread[varying]
    distance = np.full(len(free), np.inf)
    for index in taken:
        distance = np.minimum(distance, ((z[free] - z[index]) ** 2).sum(axis=1))
    chosen: list[int] = []
    available = np.ones(len(free), dtype=np.bool_)
    for _ in range(min(n_points, len(free))):
        weights = np.where(available, distance, 0.0)
        if not np.isfinite(weights).all() or weights.sum() <= 0:
            weights = available.astype(np.float64)  # the first one, or only copies are left
        pick = int(rng.choice(len(free), p=weights / weights.sum()))
        chosen.append(int(free[pick]))
        available[pick] = False
        distance = np.minimum(distance, ((z[free] - z[free[pick]]) ** 2).sum(axis=1))
    return chosen
