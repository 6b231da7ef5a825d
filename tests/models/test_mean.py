import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.models import MeanModel, get_model
from nanoos.testing import ModelContract
from nanoos.testing.crystals import rocksalt


class TestMean(ModelContract):
    name = "MEAN"
    sees_structure = False

    @classmethod
    def make(cls):
        return MeanModel("formation_energy", np.linspace(-3, 1, 101))


def test_mean_spread_and_quantiles_are_those_of_the_training_values():
    values = np.random.default_rng(0).normal(-1.0, 0.5, size=4000)
    number = (
        MeanModel("formation_energy", values)
        .predict([rocksalt()])[0]
        .properties["formation_energy"]
    )
    assert number.value == pytest.approx(-1.0, abs=0.03)
    assert number.sigma == pytest.approx(0.5, abs=0.02)
    low, high = number.interval(0.9)
    assert np.mean((values > low) & (values < high)) == pytest.approx(0.9, abs=0.002)


def test_unfitted_says_so():
    assert not get_model("MEAN").info().available
    with pytest.raises(UnavailableError):
        get_model("MEAN").predict([rocksalt()])


def test_one_value_is_not_enough():
    with pytest.raises(InvalidInputError):
        MeanModel("bandgap", [1.0])
