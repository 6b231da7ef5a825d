"""How hard a structure is for a checkpoint, learnt from what its networks leave of training rows.

A network fits some training crystals worse than others: those of certain elements, with unusual
values, where its members disagree. Boosted trees learn the logarithm of that residual from the
composition and from what the networks say. The residuals of training rows are far smaller than
those of new rows, so the answer is no error; but it ranks errors, and there are ten times as many
training rows as held-out ones to learn it from. It is one of the columns that sigma looks at.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.features.packed import PackedGraphs
from nanoos.models.trees import TreeEnsemble

FloatArray = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]

DIFFICULTY: Final = "difficulty"
"""Name of the column, and start of the names of the checkpoint's arrays."""

ELEMENTS: Final = "difficulty.elements"
"""Name of the checkpoint's array: (119, n_properties), properties of each element."""

MIN_ROWS: Final = 300
_N_ELEMENTS: Final = 119
_CLUES: Final = (
    "value",
    "ensemble_spread",
    "zero_probability",
    "bandgap",
    "e_above_hull",
    "log_sites",
    "n_elements",
    "nearest_a",
    "log_rarest_count",
)
_TREES: Final = 100
_LEAVES: Final = 20
_DEPTH: Final = 7
_SMALLEST: Final = 0.1  # residuals count as no smaller than this share of the median


def element_properties() -> npt.NDArray[np.float32]:
    """(119, n_properties), what the trees know of the elements; 0 beyond Lr."""
    from nanoos.features.composition import element_table
    from nanoos.structures.elements import ATOMIC_NUMBERS

    rows = element_table()
    table = np.zeros((_N_ELEMENTS, len(next(iter(rows.values())))), dtype=np.float32)
    for symbol, row in rows.items():
        table[ATOMIC_NUMBERS[symbol]] = row
    return table


def fit_difficulty(
    elements: npt.NDArray[np.float32],
    graphs: PackedGraphs,
    columns: Mapping[str, FloatArray],
    residuals: npt.ArrayLike,
    *,
    seed: int = 0,
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of one target's trees, from training rows.

    Args:
        elements: Of :func:`element_properties`.
        graphs: n training structures.
        columns: Name to (n,), what the networks say of them.
        residuals: (n,), label - prediction; NaN where there is no label.
        seed: Of the boosting.

    Returns:
        Nothing where fewer than 300 rows have a label.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    size = np.abs(np.asarray(residuals, dtype=np.float64))
    known = np.isfinite(size)
    if known.sum() < MIN_ROWS:
        return {}
    smallest = max(_SMALLEST * float(np.median(size[known])), 1e-12)
    model = HistGradientBoostingRegressor(
        max_iter=_TREES,
        learning_rate=0.1,
        max_leaf_nodes=_LEAVES,
        max_depth=_DEPTH,
        min_samples_leaf=40,
        max_features=0.4,
        early_stopping=False,
        random_state=seed,
    ).fit(_described(elements, graphs, columns)[known], np.log(size[known] + smallest))
    return dict(TreeEnsemble.from_histogram_boosting(model).to_arrays())


def difficulty(
    target: str, graphs: PackedGraphs, columns: Mapping[str, FloatArray], arrays: Arrays
) -> FloatArray | None:
    """(n,), the expected logarithm of the training residual; None where it was not learnt.

    Args:
        target: Of the checkpoint.
        graphs: n structures.
        columns: As fitted with.
        arrays: Those of the checkpoint.
    """
    prefix = f"{DIFFICULTY}.{target}."
    own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    if not own:
        return None
    return TreeEnsemble.from_arrays(own).predict(_described(arrays[ELEMENTS], graphs, columns))


def _described(
    elements: npt.NDArray[Any], graphs: PackedGraphs, columns: Mapping[str, FloatArray]
) -> npt.NDArray[np.float32]:
    """(n, n_columns): mean, spread, largest and smallest of each property, then the clues."""
    starts = np.cumsum(graphs.sizes) - graphs.sizes
    atoms = elements[graphs.atomic_numbers.astype(np.int64)].astype(np.float64)
    count = graphs.sizes[:, None]
    mean = np.add.reduceat(atoms, starts) / count
    spread = np.sqrt(np.maximum(np.add.reduceat(atoms**2, starts) / count - mean**2, 0))
    ends = [f.reduceat(atoms, starts) for f in (np.maximum, np.minimum)]
    clues = [columns[name][:, None] for name in _CLUES if name in columns]
    return np.hstack([mean, spread, *ends, *clues]).astype(np.float32)
