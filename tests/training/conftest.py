"""A small data set, made once."""

import pytest
from labelled import labelled_crystals

from nanoos.datasets import Dataset


@pytest.fixture(scope="session")
def crystals() -> Dataset:
    """Crystals with volumes and a yes or no."""
    return labelled_crystals()
