"""Whether a structure is of the kind a model was trained on, and why not.

Three judges, none of which needs the answer of the model:

- **rules**: an element the training crystals hardly have, or hardly have as the main component
  (noble-gas solids); atoms without enough neighbours (molecules in a box);
- **geometry**: boosted trees that were taught to tell training crystals from the same crystals
  compressed, stretched or shaken, from how their bonds compare with usual ones (``bonding.py``);
- **embedding**: the distance to the nearest training crystals in the network's own embedding.

The limits are set so that a chosen share of ordinary held-out rows is flagged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.features.neighbors import nearest_neighbors
from nanoos.features.packed import PackedGraphs
from nanoos.models.bonding import BondReference, Surroundings, descriptor_names, scaled
from nanoos.models.conformal import FloatArray, check_format
from nanoos.models.embedding_distance import EmbeddingReference
from nanoos.models.trees import TreeEnsemble
from nanoos.structures import Structure
from nanoos.structures.elements import SYMBOLS

FORMAT: Final = 1
ORDINARY_RATE: Final = 0.03
MIN_ELEMENT_COUNT: Final = 10
MIN_MAIN_COUNT: Final = 5
_MAX_Z: Final = 119
_MAIN_SHARE: Final = 0.5
_RULE_DISTANCE: Final = 2.0
_MAX_INFLATION: Final = 5.0
_COMPRESSED: Final = (0.55, 0.88)  # volumes, relative, that the trees learn from
_STRETCHED: Final = (1.18, 2.0)
_SHAKEN_A: Final = (0.2, 1.0)
_VACUUM_A: Final = (4.0, 12.0)
_CLEAR_STRENGTH: Final = 0.15  # mean logarithm of the bond strength beyond which a word is said
_TREES: Final = 220
_LEAVES: Final = 24
_BISECTIONS: Final = 40
_EMBEDDING_SHARE: Final = 0.3  # of the flags that geometry may raise on ordinary rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainJudgement:
    """Whether one structure is in the domain.

    Attributes:
        distance: 0 for the most ordinary, 1 at the limit, beyond it outside.
        reasons: In words, for each judge that objects; empty inside.
        inflation: Factor on sigma and on the width of the intervals, 1 inside.
    """

    distance: float
    reasons: tuple[str, ...]
    inflation: float

    @property
    def out_of_domain(self) -> bool:
        """Whether any judge objects."""
        return bool(self.reasons)


def inflation(distance: npt.ArrayLike) -> FloatArray:
    """Factor on sigma (n,) from the distance (n,): 1 up to the limit, then as the distance.

    At most 5: beyond that an interval says no more than the flag.
    """
    return np.clip(np.asarray(distance, dtype=np.float64), 1.0, _MAX_INFLATION)


def shaken(
    structures: Iterable[Structure], seed: int, *, reach_a: tuple[float, float] = _SHAKEN_A
) -> list[Structure]:
    """Each structure with every atom moved in a random direction.

    Args:
        structures: Training crystals.
        seed: Of the directions.
        reach_a: Lowest and highest distance moved, Å; one is drawn for each structure.
    """
    rng = np.random.default_rng(seed)
    found = []
    for structure in structures:
        step = rng.normal(size=(structure.n_sites, 3))
        step *= rng.uniform(*reach_a) / np.linalg.norm(step, axis=1)[:, None]
        moved = (structure.cart_coords + step) @ np.linalg.inv(structure.lattice)
        found.append(
            Structure(lattice=structure.lattice, species=structure.species, frac_coords=moved)
        )
    return found


def fragments(structures: Iterable[Structure], seed: int) -> list[Structure]:
    """A few neighbouring atoms of each structure, alone in a cubic box: molecules, clusters.

    Args:
        structures: Training crystals.
        seed: Of the sites, the numbers of atoms (2 to 16) and the vacuum (4 to 12 Å).
    """
    rng = np.random.default_rng(seed)
    found = []
    for structure in structures:
        pairs = nearest_neighbors(structure, int(rng.integers(1, 16)))
        site = int(rng.integers(structure.n_sites))
        own = pairs.centers == site
        places = np.vstack([np.zeros(3), pairs.vectors(structure)[own]])
        side = float(np.ptp(places, axis=0).max() + rng.uniform(*_VACUUM_A))
        species = (site, *pairs.neighbors[own].tolist())
        found.append(
            Structure(
                lattice=side * np.eye(3),
                species=tuple(structure.species[i] for i in species),
                frac_coords=places / side,
            )
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DomainModel:
    """The three judges and their limits.

    Attributes:
        element_counts: (119,), training structures with the element, by atomic number.
        main_counts: (119,), training structures at least half of whose atoms are the element.
        bonds: Usual bonds.
        trees: Logarithm of the odds that a geometry is distorted.
        geometry_range: That logarithm for the median ordinary row, and at the limit.
        embedding: Of the network; None where the judge is not asked.
    """

    element_counts: npt.NDArray[np.int32]
    main_counts: npt.NDArray[np.int32]
    bonds: BondReference
    trees: TreeEnsemble
    geometry_range: tuple[float, float]
    embedding: EmbeddingReference | None = None

    @classmethod
    def fit(
        cls,
        training: PackedGraphs,
        distorted: PackedGraphs,
        ordinary: PackedGraphs,
        *,
        embeddings: npt.ArrayLike | None = None,
        ordinary_embeddings: npt.ArrayLike | None = None,
        rate: float = ORDINARY_RATE,
        seed: int = 0,
        n_distorted: int = 6000,
    ) -> Self:
        """Learn usual bonds and distortions, then set the limits.

        Args:
            training: What the model was trained on.
            distorted: :func:`shaken` copies and :func:`fragments` of some training crystals
                (a few thousand, some hundred).
            ordinary: Held-out rows (not those that intervals are calibrated on), for the limits.
            embeddings: (n_training or fewer, d), of training crystals; None to do without.
            ordinary_embeddings: (n_ordinary, d).
            rate: Share of ``ordinary`` that is flagged, by all judges together.
            seed: Of strains, trees and prototypes.
            n_distorted: Training crystals that are strained.
        """
        bonds = BondReference.fit(training).rounded()
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(training))[:n_distorted]
        trees = _distortion_trees(bonds, training.select(chosen), distorted, seed)
        element_counts, main_counts = _element_counts(training)
        without_limits = cls(
            element_counts=element_counts,
            main_counts=main_counts,
            bonds=bonds,
            trees=trees,
            geometry_range=(0.0, 1.0),
            embedding=None
            if embeddings is None
            else EmbeddingReference.fit(np.asarray(embeddings), seed=seed),
        )
        return without_limits._with_limits(ordinary, ordinary_embeddings, rate)

    def _with_limits(
        self, ordinary: PackedGraphs, embeddings: npt.ArrayLike | None, rate: float
    ) -> Self:
        """Limits such that all judges together flag ``rate`` of the ordinary rows."""
        logits = self.trees.predict(self.bonds.describe(ordinary))
        ruled = np.array([bool(words) for words in self._rules(ordinary)])
        columns = [(logits, 1.0)]
        if self.embedding is not None and embeddings is not None:
            columns.append((self.embedding.distances(embeddings), _EMBEDDING_SHARE))
        low, high = 0.0, rate
        for _ in range(_BISECTIONS):
            share = (low + high) / 2
            flagged = ruled.copy()
            for column, part in columns:
                flagged |= column > np.quantile(column, 1 - part * share)
            low, high = (share, high) if flagged.mean() <= rate else (low, share)
        limits = [float(np.quantile(column, 1 - part * low)) for column, part in columns]
        embedding = self.embedding
        return type(self)(
            element_counts=self.element_counts,
            main_counts=self.main_counts,
            bonds=self.bonds,
            trees=self.trees,
            geometry_range=(float(np.median(logits)), limits[0]),
            embedding=embedding.with_limit(limits[1])
            if embedding is not None and len(limits) > 1
            else None,
        )

    def with_embedding(
        self, embeddings: npt.ArrayLike, ordinary: npt.ArrayLike, *, rate: float = ORDINARY_RATE
    ) -> Self:
        """The same judges of elements and geometry, for another network.

        For one that was fine-tuned on few crystals: what elements it has met and what a crystal
        looks like come from those it started from.

        Args:
            embeddings: (n, d), of the crystals it was fine-tuned on.
            ordinary: (n_ordinary, d), of held-out ones, for the limit.
            rate: As :meth:`fit`.
        """
        reference = EmbeddingReference.fit(embeddings)
        limit = np.quantile(reference.distances(ordinary), 1 - _EMBEDDING_SHARE * rate)
        return replace(self, embedding=reference.with_limit(float(limit)))

    def judge(
        self,
        graphs: PackedGraphs,
        embeddings: npt.ArrayLike | None = None,
        *,
        surroundings: Surroundings | None = None,
    ) -> list[DomainJudgement]:
        """One judgement for each structure.

        Args:
            graphs: With as many neighbours as the training graphs.
            embeddings: (n_graphs, d), from the same network; None leaves that judge out.
            surroundings: Of ``graphs``, where they are known already.

        Raises:
            InvalidInputError: another number of embeddings than of graphs.
        """
        described = self.bonds.describe(graphs, surroundings)
        usual, limit = self.geometry_range
        geometry = np.maximum(0, (self.trees.predict(described) - usual) / (limit - usual))
        far = np.zeros(len(graphs))
        if self.embedding is not None and embeddings is not None:
            far = self.embedding.distances(embeddings) / self.embedding.limit
            if len(far) != len(graphs):
                raise InvalidInputError(f"{len(far)} embeddings for {len(graphs)} structures.")
        strength = described[:, descriptor_names().index("mean_strength")]
        return [
            _judgement(*one)
            for one in zip(
                self._rules(graphs),
                geometry.tolist(),
                far.tolist(),
                strength.tolist(),
                strict=True,
            )
        ]

    def _rules(self, graphs: PackedGraphs) -> list[list[str]]:
        """The objections of each structure that need no fit."""
        starts = np.cumsum(graphs.sizes) - graphs.sizes
        neighbors = np.isfinite(graphs.distances[:, : graphs.k]).sum(axis=1)
        rows, kinds, main = _elements(graphs)
        doubtful = self.element_counts[kinds] < MIN_ELEMENT_COUNT
        doubtful |= main & (self.main_counts[kinds] < MIN_MAIN_COUNT)
        doubted = np.minimum.reduceat(neighbors, starts) < graphs.k
        doubted[rows[doubtful]] = True
        found: list[list[str]] = [[] for _ in starts]
        for row in np.flatnonzero(doubted).tolist():
            start, size = int(starts[row]), int(graphs.sizes[row])
            numbers, counts = np.unique(
                graphs.atomic_numbers[start : start + size], return_counts=True
            )
            words = [
                f"{SYMBOLS[z]} occurs in {_times(self.element_counts[z])} of the training set"
                for z in numbers.tolist()
                if self.element_counts[z] < MIN_ELEMENT_COUNT
            ]
            words += [
                f"{SYMBOLS[z]} is the main component of {_times(self.main_counts[z])} "
                "of the training set"
                for z in numbers[counts >= _MAIN_SHARE * size].tolist()
                if self.element_counts[z] >= MIN_ELEMENT_COUNT
                and self.main_counts[z] < MIN_MAIN_COUNT
            ]
            fewest = int(neighbors[start : start + size].min())
            if fewest < graphs.k:
                words.append(
                    f"an atom has {fewest} of {graphs.k} neighbours within the cutoff: "
                    "molecules, a surface or far too large a cell"
                )
            found[row] = words
        return found

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for a safetensors file; with :meth:`to_dict` they are the whole model."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "element_counts": self.element_counts,
            "main_counts": self.main_counts,
        }
        arrays |= {f"bonds.{name}": array for name, array in self.bonds.to_arrays().items()}
        arrays |= {f"trees.{name}": array for name, array in self.trees.to_arrays().items()}
        if self.embedding is not None:
            own = self.embedding.to_arrays()
            arrays |= {f"embedding.{name}": array for name, array in own.items()}
        return arrays

    def to_dict(self) -> dict[str, Any]:
        """The rest, as JSON types."""
        return {
            "format": FORMAT,
            "kind": "domain",
            "geometry_range": list(self.geometry_range),
            "embedding_limit": None if self.embedding is None else self.embedding.limit,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], data: Mapping[str, Any]) -> Self:
        """The model that :meth:`to_arrays` and :meth:`to_dict` took apart.

        Raises:
            InvalidInputError: of another format or kind.
        """
        check_format(data, "domain", FORMAT)
        limit = data["embedding_limit"]
        usual, highest = data["geometry_range"]
        return cls(
            element_counts=arrays["element_counts"],
            main_counts=arrays["main_counts"],
            bonds=BondReference.from_arrays(_below(arrays, "bonds.")),
            trees=TreeEnsemble.from_arrays(_below(arrays, "trees.")),
            geometry_range=(usual, highest),
            embedding=None
            if limit is None
            else EmbeddingReference.from_arrays(_below(arrays, "embedding."), limit),
        )


def _judgement(
    words: list[str], geometry: float, embedding: float, strength: float
) -> DomainJudgement:
    distance = max(geometry, embedding, _RULE_DISTANCE if words else 0.0)
    if geometry > 1:
        words.append(_geometry_words(strength))
    if embedding > 1:
        words.append(
            f"unlike any training crystal: {embedding:.1f} times the usual distance to the nearest"
        )
    return DomainJudgement(
        distance=distance,
        reasons=tuple(words),
        inflation=float(inflation(distance)) if words else 1.0,
    )


def _geometry_words(strength: float) -> str:
    if strength > _CLEAR_STRENGTH:
        return "atoms closer together than usual for these elements: compressed?"
    if strength < -_CLEAR_STRENGTH:
        return "atoms further apart than usual for these elements: stretched?"
    return "atoms arranged unlike in a relaxed crystal of these elements: not relaxed?"


def _times(count: np.int32 | int) -> str:
    return f"{count} structure{'' if count == 1 else 's'}" if count else "none"


def _below(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _element_counts(
    graphs: PackedGraphs,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Structures with each element, and with it as at least half of the atoms."""
    _, numbers, main = _elements(graphs)
    return (
        np.bincount(numbers, minlength=_MAX_Z).astype(np.int32),
        np.bincount(numbers[main], minlength=_MAX_Z).astype(np.int32),
    )


def _elements(
    graphs: PackedGraphs,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Of each element in each structure: structure, atomic number, whether half of it or more."""
    index = np.repeat(np.arange(len(graphs)), graphs.sizes)
    keys, atoms = np.unique(
        index * _MAX_Z + graphs.atomic_numbers.astype(np.int64), return_counts=True
    )
    rows = keys // _MAX_Z
    return rows, keys % _MAX_Z, atoms >= _MAIN_SHARE * graphs.sizes[rows]


def _distortion_trees(
    bonds: BondReference, relaxed: PackedGraphs, distorted: PackedGraphs, seed: int
) -> TreeEnsemble:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(seed)
    count = len(relaxed)
    volumes = np.where(
        rng.random(count) < 0.5,  # noqa: PLR2004 - half of them compressed
        rng.uniform(*_COMPRESSED, count),
        rng.uniform(*_STRETCHED, count),
    )
    parts: Sequence[FloatArray] = (
        bonds.describe(relaxed),
        bonds.describe(scaled(relaxed, np.cbrt(volumes))),
        bonds.describe(distorted),
    )
    labels = np.concatenate([np.zeros(count), np.ones(len(parts[1]) + len(parts[2]))])
    model = HistGradientBoostingClassifier(
        max_iter=_TREES,
        learning_rate=0.1,
        max_leaf_nodes=_LEAVES,
        early_stopping=False,
        random_state=seed,
    ).fit(np.concatenate(parts).astype(np.float32), labels)
    return TreeEnsemble.from_histogram_boosting(model)
