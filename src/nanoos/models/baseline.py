"""The error of a random forest, for every card to be beside: the least a network must beat.

It is measured, never kept: near distances are among its descriptors, which the forests that
``nanoos train`` makes and that predict (:mod:`nanoos.models.forest`) do without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.features.composition import DescriptorTable, composition_statistics
from nanoos.features.packed import PackedGraphs
from nanoos.models.conformal import FloatArray
from nanoos.models.reliability import bootstrap_mean_interval
from nanoos.models.trees import TreeEnsemble
from nanoos.structures import Structure

_N_TREES: Final = 100
_MIN_LEAF: Final = 2
_MAX_FEATURES: Final = 1 / 3
_MIN_ROWS: Final = 10
_CELL_NAMES: Final = (
    "volume_per_atom_a3",
    "density_g_cm3",
    "log_n_sites",
    "n_elements",
    "b_over_a",
    "c_over_a",
    "min_angle_deg",
    "max_angle_deg",
)
_SHELLS: Final = (0, 3, 5, 11)  # which of the nearest neighbours' distances are described
_FAR_A: Final = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineError:
    """Error of the forest on held-out rows.

    Attributes:
        mae: In the property's unit.
        mae_interval: 95 % bootstrap interval, whole formulas drawn.
        n_train: Rows trained on.
        n_test: Rows measured on.
    """

    mae: float
    mae_interval: tuple[float, float]
    n_train: int
    n_test: int


def structure_descriptors(
    structures: Sequence[Structure], graphs: PackedGraphs | None = None
) -> DescriptorTable:
    """Element statistics, density, shape of the cell and near distances of each structure.

    Args:
        structures: What to describe.
        graphs: Their graphs with at least 12 neighbours, where they are at hand.

    Returns:
        (n_structures, n_columns), finite.

    Raises:
        InvalidInputError: an element beyond Lr.
    """
    elements = composition_statistics([structure.composition for structure in structures])
    packed = PackedGraphs.from_structures(structures) if graphs is None else graphs
    cells = np.array([_cell(structure) for structure in structures])
    near = tuple(
        f"{stat}_distance_{shell + 1}_a" for stat in ("mean", "min", "max") for shell in _SHELLS
    )
    return DescriptorTable(
        names=(*elements.names, *_CELL_NAMES, *near),
        values=np.hstack([elements.values, cells, _near_distances(packed)]),
    )


def _cell(structure: Structure) -> list[float]:
    """Shape of the cell; the lengths are sorted, so the choice of axes does not matter."""
    a, b, c = sorted(structure.lengths)
    return [
        structure.volume / structure.n_sites,
        structure.density,
        float(np.log(structure.n_sites)),
        len(structure.composition),
        b / a,
        c / a,
        min(structure.angles),
        max(structure.angles),
    ]


def _near_distances(graphs: PackedGraphs) -> FloatArray:
    """(n_graphs, 12): mean, least and largest distance of some neighbours over the atoms, Å."""
    distances = np.where(np.isfinite(graphs.distances), graphs.distances, _FAR_A)[:, _SHELLS]
    starts = np.cumsum(graphs.sizes) - graphs.sizes
    mean = np.add.reduceat(distances.astype(np.float64), starts) / graphs.sizes[:, None]
    lowest, highest = (f.reduceat(distances, starts) for f in (np.minimum, np.maximum))
    return np.hstack([mean, lowest, highest])


def fit_forest(
    descriptors: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    n_trees: int = _N_TREES,
    min_leaf: int = _MIN_LEAF,
    seed: int = 0,
) -> TreeEnsemble:
    """A random forest of ``targets`` (n,) on ``descriptors`` (n, n_columns).

    Rows whose target is not a number are left out.

    Args:
        descriptors: Finite.
        targets: In the property's unit.
        n_trees: Trees.
        min_leaf: Fewest rows of a leaf.
        seed: Of the bootstrap and of the columns looked at.

    Raises:
        InvalidInputError: fewer than ten labelled rows.
    """
    from sklearn.ensemble import RandomForestRegressor

    rows = np.asarray(descriptors, dtype=np.float32)
    target = np.asarray(targets, dtype=np.float64)
    known = np.isfinite(target)
    if known.sum() < _MIN_ROWS:
        raise InvalidInputError(f"{known.sum()} labelled rows are too few to grow a forest from.")
    forest = RandomForestRegressor(
        n_estimators=n_trees,
        min_samples_leaf=min_leaf,
        max_features=_MAX_FEATURES,
        random_state=seed,
    ).fit(rows[known], target[known])
    return TreeEnsemble.from_sklearn(forest.estimators_, offset=0.0, scale=1 / n_trees)


def baseline_errors(
    train: DescriptorTable,
    train_targets: Mapping[str, npt.ArrayLike],
    test: DescriptorTable,
    test_targets: Mapping[str, npt.ArrayLike],
    *,
    formulas: Sequence[str] | None = None,
    n_trees: int = _N_TREES,
    seed: int = 0,
) -> dict[str, BaselineError]:
    """Error of a forest for each property that both sides have labels of.

    Args:
        train: :func:`structure_descriptors` of the training rows.
        train_targets: Property to its labels (n_train,), nan where there is none.
        test: Descriptors of the held-out rows.
        test_targets: Property to its labels (n_test,), nan where there is none.
        formulas: (n_test,), reduced formulas, for the bootstrap.
        n_trees: Trees of each forest.
        seed: Of the forests and of the bootstrap.
    """
    found = {}
    for name in [name for name in train_targets if name in test_targets]:
        labels = np.asarray(train_targets[name], dtype=np.float64)
        truth = np.asarray(test_targets[name], dtype=np.float64)
        known = np.isfinite(truth)
        forest = fit_forest(train.values, labels, n_trees=n_trees, seed=seed)
        error = np.abs(forest.predict(test.values[known]) - truth[known])
        groups = None if formulas is None else np.asarray(formulas)[known].tolist()
        found[name] = BaselineError(
            mae=float(error.mean()),
            mae_interval=bootstrap_mean_interval(error, groups, seed=seed),
            n_train=int(np.isfinite(labels).sum()),
            n_test=int(known.sum()),
        )
    return found
