"""Structures with known properties: reading, checking, splitting, sealing."""

from nanoos.datasets.building import (
    DatasetConfig,
    DatasetReport,
    RegressionDataset,
    TrainValDatasets,
    build_regression_dataset,
    build_train_val_datasets,
)
from nanoos.datasets.dataset import Dataset, TargetStatistics, target_statistics
from nanoos.datasets.export import export_dataset_to_pandas
from nanoos.datasets.normalisation import TargetNormaliser
from nanoos.datasets.outliers import OutlierReport, iqr_outliers
from nanoos.datasets.packed_structures import PackedStructures
from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.reading import load_dataset
from nanoos.datasets.rows import DatasetRow, RefusedRow, RowSource, RowStream
from nanoos.datasets.splits import TrainValSplit, split_train_val

__all__ = [
    "Dataset",
    "DatasetConfig",
    "DatasetReport",
    "DatasetRow",
    "OutlierReport",
    "PackedStructures",
    "ReadOptions",
    "RefusedRow",
    "RegressionDataset",
    "RowSource",
    "RowStream",
    "TargetNormaliser",
    "TargetStatistics",
    "TrainValDatasets",
    "TrainValSplit",
    "build_regression_dataset",
    "build_train_val_datasets",
    "export_dataset_to_pandas",
    "iqr_outliers",
    "load_dataset",
    "split_train_val",
    "target_statistics",
]
