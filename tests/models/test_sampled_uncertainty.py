"""The spread of dropout passes and of ensemble members."""

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, NotFoundError, UnavailableError
from nanoos.models import CGCNNModel, predict_with_uncertainty
from nanoos.testing.checkpoints import tiny_checkpoint
from nanoos.testing.crystals import rocksalt


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")
    tiny_checkpoint(path / "three.safetensors", n_members=3)
    tiny_checkpoint(path / "one.safetensors", n_members=1, dropout=0.0, calibrated=False)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return CGCNNModel([folder / "three.safetensors"])


def test_members_give_the_spread_of_an_ensemble(model):
    found = predict_with_uncertainty(model, rocksalt())
    predicted = model.predict([rocksalt()])[0].properties
    one = found["formation_energy"]
    assert (one.method, len(one.samples)) == ("ensemble", 3)
    assert one.uncertainty == pytest.approx(np.std(one.samples, ddof=1))
    assert one.value.value == pytest.approx(np.mean(one.samples))
    assert one.value.interval(0.9) == pytest.approx(predicted["formation_energy"].interval(0.9))
    expected = 1 - one.uncertainty / abs(np.mean(one.samples))
    assert one.model_agreement == pytest.approx(max(0.0, expected))


def test_dropout_gives_as_many_samples_as_asked_for_and_repeats_itself(model):
    found = predict_with_uncertainty(model, rocksalt(), method="mc_dropout", n_samples=7)
    one = found["formation_energy"]
    assert (one.method, len(one.samples), one.model_agreement) == ("mc_dropout", 7, None)
    assert len(set(one.samples)) > 1
    again = predict_with_uncertainty(model, rocksalt(), method="mc_dropout", n_samples=7)
    assert again == found


def test_without_a_method_there_are_no_samples(model):
    found = predict_with_uncertainty(model, rocksalt(), method=None, properties=["bandgap"])
    assert list(found) == ["bandgap"]
    assert (found["bandgap"].uncertainty, found["bandgap"].samples) == (None, ())


@pytest.mark.parametrize(
    ("method", "code"), [("ensemble", "single_member"), ("mc_dropout", "no_dropout")]
)
def test_a_checkpoint_that_cannot_be_asked_says_so(folder, method, code):
    model = CGCNNModel([folder / "one.safetensors"])
    with pytest.raises(InvalidInputError) as caught:
        predict_with_uncertainty(model, rocksalt(), method=method)
    assert caught.value.error_code == code
    assert caught.value.hint


def test_mistakes(model):
    with pytest.raises(InvalidInputError, match="1 samples"):
        predict_with_uncertainty(model, rocksalt(), n_samples=1)
    with pytest.raises(InvalidInputError) as caught:
        predict_with_uncertainty("CHGNet", rocksalt())
    assert caught.value.error_code == "not_a_graph_network"
    with pytest.raises(NotFoundError):
        predict_with_uncertainty("CGCNNN", rocksalt())
    with pytest.raises(UnavailableError):
        predict_with_uncertainty(CGCNNModel([]), rocksalt())
