"""Distance of an embedding to those of the training crystals, kept small."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.models.conformal import FloatArray

N_COMPONENTS: Final = 16
N_PROTOTYPES: Final = 4000
"""4000 prototypes of 16 float16 numbers: 128 kB."""

_NEAREST: Final = 5
_BLOCK_ROWS: Final = 32  # compared with all prototypes at a time: 1 MB
_MIN_VARIANCE: Final = 1e-6  # of the largest: components below it are noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmbeddingReference:
    """Training embeddings, whitened along their main directions.

    Attributes:
        center: (d,), mean of the training embeddings.
        projection: (d, n_components), to coordinates of unit variance.
        prototypes: (n_prototypes, n_components), a sample of the training crystals.
        limit: Distance at which a structure counts as out of domain; inf until it is set.
    """

    center: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]
    prototypes: npt.NDArray[np.float16]
    limit: float = float("inf")

    @classmethod
    def fit(cls, embeddings: npt.ArrayLike, *, seed: int = 0) -> Self:
        """From (n_training, d) embeddings.

        Raises:
            InvalidInputError: too few rows, or numbers that are not finite.
        """
        rows = np.asarray(embeddings, dtype=np.float64)
        if rows.ndim != 2 or len(rows) <= _NEAREST or not np.all(np.isfinite(rows)):  # noqa: PLR2004
            raise InvalidInputError("Embeddings are a finite table of more than five rows.")
        center = rows.mean(axis=0)
        variances, directions = np.linalg.eigh(
            np.cov(rows - center, rowvar=False).reshape(rows.shape[1], -1)
        )
        order = np.argsort(variances)[::-1][:N_COMPONENTS]
        order = order[variances[order] > _MIN_VARIANCE * variances.max()]
        if not len(order):
            raise InvalidInputError("All training embeddings are the same.")
        projection = directions[:, order] / np.sqrt(variances[order])
        chosen = np.random.default_rng(seed).permutation(len(rows))[:N_PROTOTYPES]
        prototypes = (rows[np.sort(chosen)] - center) @ projection
        return cls(
            center=center.astype(np.float32),
            projection=projection.astype(np.float32),
            prototypes=prototypes.astype(np.float16),
        )

    def distances(self, embeddings: npt.ArrayLike) -> FloatArray:
        """(n,), mean distance to the five nearest prototypes, in training standard deviations."""
        rows = np.atleast_2d(np.asarray(embeddings, dtype=np.float64))
        if rows.shape[1] != len(self.center):
            raise InvalidInputError(
                f"Embeddings of {rows.shape[1]} numbers; the reference has {len(self.center)}.",
                hint="They come from another network than the reference.",
            )
        places = (rows - self.center) @ self.projection
        prototypes = self.prototypes.astype(np.float64)
        squares = (prototypes**2).sum(axis=1)
        found = np.empty(len(places))
        for start in range(0, len(places), _BLOCK_ROWS):
            own = places[start : start + _BLOCK_ROWS]
            apart = squares - 2 * own @ prototypes.T + (own**2).sum(axis=1)[:, None]
            nearest = np.partition(apart, _NEAREST - 1, axis=1)[:, :_NEAREST]
            found[start : start + len(own)] = np.sqrt(np.maximum(nearest, 0)).mean(axis=1)
        return found

    def with_limit(self, limit: float) -> Self:
        """The same reference with a limit."""
        return replace(self, limit=limit)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for a safetensors file."""
        return {
            "center": self.center,
            "projection": self.projection,
            "prototypes": self.prototypes,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], limit: float) -> Self:
        """The reference that :meth:`to_arrays` took apart."""
        return cls(
            center=arrays["center"],
            projection=arrays["projection"],
            prototypes=arrays["prototypes"],
            limit=limit,
        )
