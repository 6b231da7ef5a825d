"""Splitting a data set so that what is measured on the held-out part means something."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.dataset import SPLIT_NAMES, Dataset
from nanoos.datasets.packed_structures import IntArray

SplitMethod = Literal["composition", "random", "given"]
DEFAULT_FRACTIONS: Final = (0.8, 0.1, 0.1)
_SUM_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainValSplit:
    """Which rows are trained on, which choose, and which are looked at once.

    Attributes:
        train: Row indices, ascending.
        val: Row indices, ascending.
        test: Row indices, ascending.
        method: ``composition``: no reduced formula in two parts; ``random``: by row; ``given``:
            as the source says.
        seed: Of the first two.
    """

    train: IntArray
    val: IntArray
    test: IntArray
    method: SplitMethod
    seed: int

    def parts(self) -> dict[str, IntArray]:
        """``train``, ``val`` and ``test`` by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def sha256(self) -> str:
        """Hash over the indices of the three parts, the same in every process."""
        digest = hashlib.sha256()
        for name, indices in self.parts().items():
            digest.update(f"{name}:{len(indices)}:".encode())
            digest.update(indices.astype("<i8").tobytes())
        return digest.hexdigest()


def split_train_val(
    dataset: Dataset,
    *,
    method: SplitMethod = "composition",
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    seed: int = 0,
) -> TrainValSplit:
    """Divide the rows into train, val and test.

    Args:
        dataset: What to divide.
        method: ``composition`` keeps all rows of a reduced formula together, in random order of
            the formulas, so that the parts come as near to the fractions as whole formulas
            allow; ``random`` takes single rows; ``given`` takes the source's own split and
            leaves out rows that it gives to none.
        fractions: Of train, val and test; not below 0, together 1. Not used by ``given``.
        seed: Of the random order; the same rows and seed give the same split in every process.

    Raises:
        InvalidInputError: fractions that do not fit, or no split is given.
    """
    if method == "given":
        return _given(dataset, seed)
    shares = _checked(fractions)
    if method == "random":
        order = np.random.default_rng(seed).permutation(len(dataset))
        first, second = np.rint(np.cumsum(shares)[:2] * len(dataset)).astype(int)
        parts = [order[:first], order[first:second], order[second:]]
    elif method == "composition":
        parts = _by_group(dataset.reduced_formulas, shares, seed)
    else:
        raise InvalidInputError(
            f"There is no split {method!r}.", hint="Use composition, random or given."
        )
    train, val, test = (np.sort(part).astype(np.int64) for part in parts)
    return TrainValSplit(train=train, val=val, test=test, method=method, seed=seed)


def _checked(fractions: Sequence[float]) -> list[float]:
    shares = [float(share) for share in fractions]
    fits = len(shares) == len(SPLIT_NAMES) and all(share >= 0 for share in shares)
    if not fits or abs(sum(shares) - 1) > _SUM_TOLERANCE:
        raise InvalidInputError(
            f"The fractions {tuple(fractions)} do not divide a data set.",
            hint="Give three numbers (train, val, test), none below 0, together 1.",
        )
    return shares


def _by_group(groups: Sequence[str], shares: Sequence[float], seed: int) -> list[IntArray]:
    """Whole groups to parts, large ones first, each drawn with the odds of what parts still miss.

    A group goes only where it fits while there is such a part, and single rows come last, so
    that the fractions are met to the row unless large groups forbid it. Drawing keeps the sizes
    of groups alike in all parts: formulas with many polymorphs are not all trained on.
    """
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    names = sorted(members)  # not the order of the rows: the same formulas go the same way
    random = np.random.default_rng(seed)
    order = [names[i] for i in random.permutation(len(names))]
    order.sort(key=lambda name: -len(members[name]))  # stable: equal sizes stay shuffled
    missing = [share * len(groups) for share in shares]
    parts: list[list[int]] = [[], [], []]
    for name, draw in zip(order, random.random(len(order)).tolist(), strict=True):
        size = len(members[name])
        odds = [left if left >= size else 0.0 for left in missing]
        if any(odds):
            part = int(np.searchsorted(np.cumsum(odds), draw * sum(odds), side="right"))
        else:
            part = int(np.argmax(missing))
        parts[part] += members[name]
        missing[part] -= size
    return [np.array(part, dtype=np.int64) for part in parts]


def _given(dataset: Dataset, seed: int) -> TrainValSplit:
    if dataset.given_split is None:
        raise InvalidInputError(
            f"The data set {dataset.name!r} comes without a split.",
            hint="Use the method composition.",
        )
    train, val, test = (dataset.given_indices(part) for part in SPLIT_NAMES)
    return TrainValSplit(train=train, val=val, test=test, method="given", seed=seed)
