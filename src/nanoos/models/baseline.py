"""RandomForest: what element statistics and simple geometry give, for every card to be beside.

A forest on composition and structure descriptors is the least that a graph network must beat.
Trained with scikit-learn; saved as plain arrays, so a file is read without unpickling anything.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.features.composition import DescriptorTable, composition_statistics
from nanoos.features.packed import PackedGraphs
from nanoos.models.base import ModelInfo
from nanoos.models.conformal import FloatArray
from nanoos.models.reliability import bootstrap_mean_interval
from nanoos.models.trees import TreeEnsemble
from nanoos.structures import Structure
from nanoos.structures.io import write_atomically

FORMAT: Final = 1
_HEADER_KEY: Final = "nanoos_forest"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestTarget:
    """What one forest predicts.

    Attributes:
        unit: ``eV``.
        level_of_theory: What the labels meant.
    """

    unit: str
    level_of_theory: LevelOfTheory | None = None


class RandomForest:
    """Random forests on descriptors, one for each property.

    Without forests it is listed as not available. Its answers carry no sigma: the spread of the
    trees is not calibrated.

    Args:
        forests: Property to its forest.
        targets: Property to its unit and level of theory.
        weights_sha256: Of the file it came from.
    """

    name: Final = "RandomForest"
    version: Final = "1"

    def __init__(
        self,
        forests: Mapping[str, TreeEnsemble] | None = None,
        targets: Mapping[str, ForestTarget] | None = None,
        *,
        weights_sha256: str | None = None,
    ) -> None:
        self.forests = dict(forests or {})
        self.targets = dict(targets or {})
        self.weights_sha256 = weights_sha256
        if set(self.forests) != set(self.targets):
            raise InvalidInputError("Each forest needs the unit of what it predicts.")

    @classmethod
    def train(
        cls,
        structures: Sequence[Structure],
        labels: Mapping[str, npt.ArrayLike],
        targets: Mapping[str, ForestTarget],
        *,
        descriptors: DescriptorTable | None = None,
        n_trees: int = _N_TREES,
        seed: int = 0,
    ) -> Self:
        """Grow a forest for each property.

        Args:
            structures: Training rows.
            labels: Property to (n_structures,), nan where there is no label.
            targets: Property to its unit and level of theory.
            descriptors: Of the structures, where they are at hand.
            n_trees: Trees of each forest.
            seed: Of the forests.

        Raises:
            InvalidInputError: too few labels, or an element beyond Lr.
        """
        table = structure_descriptors(structures) if descriptors is None else descriptors
        forests = {
            name: fit_forest(table.values, column, n_trees=n_trees, seed=seed)
            for name, column in labels.items()
        }
        return cls(forests, targets)

    def info(self) -> ModelInfo:
        """What it is."""
        trained = bool(self.forests)
        return ModelInfo(
            name=self.name,
            version=self.version,
            available=trained,
            description="Random forests on element statistics and simple geometry: the baseline "
            "that every card reports.",
            supported_properties=tuple(self.forests),
            weights_sha256=self.weights_sha256,
            level_of_theory={
                name: target.level_of_theory
                for name, target in self.targets.items()
                if target.level_of_theory is not None
            },
            license="MIT",
            unavailable_reason=None if trained else "not trained: it needs labelled structures",
            install_command=None if trained else "nanoos train, with model RandomForest",
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """One prediction for each structure, without uncertainty.

        Raises:
            UnavailableError: not trained.
            InvalidInputError: an element beyond Lr.
        """
        del ids
        if not self.forests:
            raise UnavailableError(
                "RandomForest has not been trained.", hint="nanoos train, with model RandomForest"
            )
        if not structures:
            return []
        rows = structure_descriptors(structures).values
        columns = {name: forest.predict(rows) for name, forest in self.forests.items()}
        provenance = Provenance(
            producer=self.name, version=self.version, weights_sha256=self.weights_sha256
        )
        return [
            Prediction(
                properties={
                    name: PropertyValue(
                        value=float(column[index]),
                        unit=self.targets[name].unit,
                        level_of_theory=self.targets[name].level_of_theory,
                    )
                    for name, column in columns.items()
                },
                provenance=provenance,
            )
            for index in range(len(structures))
        ]

    def save(self, path: Path) -> str:
        """Write one safetensors file; its SHA-256.

        Args:
            path: Of the file; replaced as a whole.
        """
        from safetensors.numpy import save

        arrays = {
            f"{name}/{key}": np.ascontiguousarray(array)
            for name, forest in self.forests.items()
            for key, array in forest.to_arrays().items()
        }
        header = {"format": FORMAT, "targets": {n: _as_dict(t) for n, t in self.targets.items()}}
        data = save(arrays, metadata={_HEADER_KEY: json.dumps(header)})
        write_atomically(path, data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that :meth:`save` wrote.

        Raises:
            InvalidInputError: not such a file, or of a newer format.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                header = json.loads((file.metadata() or {})[_HEADER_KEY])
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise _unreadable(path, str(error)) from error
        if header["format"] != FORMAT:
            raise _unreadable(path, f"format {header['format']}")
        forests = {
            name: TreeEnsemble.from_arrays(
                {
                    key.removeprefix(f"{name}/"): array
                    for key, array in arrays.items()
                    if key.startswith(f"{name}/")
                }
            )
            for name in header["targets"]
        }
        targets = {name: _from_dict(target) for name, target in header["targets"].items()}
        return cls(forests, targets, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _unreadable(path: Path, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path.name} is no RandomForest that can be read here: {why}.",
        hint="Train it again with this version.",
    )


def _as_dict(target: ForestTarget) -> dict[str, Any]:
    level = target.level_of_theory
    return {
        "unit": target.unit,
        "level_of_theory": None
        if level is None
        else [level.functional, level.corrections, level.reference],
    }


def _from_dict(data: Mapping[str, Any]) -> ForestTarget:
    level = data["level_of_theory"]
    if level is None:
        return ForestTarget(unit=data["unit"])
    functional, corrections, reference = level
    return ForestTarget(
        unit=data["unit"],
        level_of_theory=LevelOfTheory(
            functional=functional, corrections=corrections, reference=reference
        ),
    )
