"""Rows chosen for a training: nothing dropped in silence, nothing held-out looked at."""

import numpy as np
import pytest
from small import small_dataset

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.datasets import DatasetConfig, build_regression_dataset, build_train_val_datasets

SPLIT = ["train"] * 30 + ["val"] * 5 + ["test"] * 5


def test_rows_without_the_target_are_counted_and_left_out():
    dataset = small_dataset(40, targets={"a": [np.nan] * 10 + [1.0] * 30, "b": [0.0] * 40})
    built = build_regression_dataset(dataset, DatasetConfig(targets=("a",)))
    assert len(built.dataset) == 30
    assert list(built.dataset.targets) == ["a"]
    assert list(built.dataset.level_of_theory) == ["a"]
    assert built.report.rows_without_target == 10
    assert built.dataset.ids[0] == "row-10"


def test_outliers_are_reported_and_dropped_only_when_asked():
    values = [*np.linspace(1, 2, 38).tolist(), 1000.0, -1000.0]
    dataset = small_dataset(40, targets={"a": values})
    plain = build_regression_dataset(dataset)
    assert (len(plain.dataset), plain.report.outliers) == (40, {})
    built = build_regression_dataset(dataset, DatasetConfig(outlier_filter=True))
    assert built.dataset.ids == tuple(f"row-{n}" for n in range(38))
    assert built.report.outliers["a"].indices.tolist() == [38, 39]
    assert built.report.rows_dropped == 2


def test_an_outlier_in_one_target_stays_a_row_for_the_other():
    values = [*np.linspace(1, 2, 39).tolist(), 1000.0]
    dataset = small_dataset(40, targets={"a": values, "b": [0.5] * 40})
    built = build_regression_dataset(dataset, DatasetConfig(outlier_filter=True))
    assert len(built.dataset) == 40
    assert np.isnan(built.dataset.targets["a"][39])
    assert built.dataset.targets["b"][39] == 0.5
    assert built.report.rows_dropped == 0


def test_the_filter_looks_at_training_rows_only_and_drops_training_rows_only():
    values = np.linspace(1, 2, 40)
    values[3] = 50.0  # train
    values[32] = 60.0  # val
    values[36:] = 70.0  # test
    dataset = small_dataset(40, targets={"a": values}, split=SPLIT)
    config = DatasetConfig(outlier_filter=True, split="given")
    built = build_train_val_datasets(dataset, config)
    assert "row-3" not in built.train.ids
    assert len(built.train) == 29
    assert built.val.targets["a"].tolist() == values[30:35].tolist()
    assert built.test.targets["a"].tolist() == values[35:].tolist()
    fences = built.report.outliers["a"]
    held_out = values.copy()
    held_out[30:] = -5.0
    again = build_train_val_datasets(
        small_dataset(40, targets={"a": held_out}, split=SPLIT), config
    )
    assert again.report.outliers["a"].upper == fences.upper


def test_parts_are_rows_of_the_whole():
    built = build_train_val_datasets(small_dataset([f"A{n}" for n in range(40)]))
    for name, indices in built.split.parts().items():
        assert getattr(built, name).ids == tuple(built.dataset.ids[n] for n in indices)
    assert [len(part) for part in (built.train, built.val, built.test)] == [32, 4, 4]


def test_too_few_rows_are_refused_with_numbers():
    dataset = small_dataset(40, targets={"a": [1.0] * 40, "b": [1.0] * 3 + [np.nan] * 37})
    with pytest.raises(InvalidInputError, match="3 rows of 'small' have b") as caught:
        build_train_val_datasets(dataset)
    assert caught.value.error_code == "too_few_rows"
    with pytest.raises(NotFoundError):
        build_regression_dataset(dataset, DatasetConfig(targets=("c",)))
    one_formula = small_dataset(["MgO"] * 40)
    with pytest.raises(InvalidInputError, match="No row of the val part"):
        build_train_val_datasets(one_formula)


def test_a_config_is_closed_and_complete():
    with pytest.raises(ValueError, match="together"):
        DatasetConfig(fractions=(0.5, 0.1, 0.1))
    with pytest.raises(ValueError, match="extra"):
        DatasetConfig(splitt="random")
