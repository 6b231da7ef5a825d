import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.models import get_model
from nanoos.testing import ModelContract
from nanoos.testing.crystals import rocksalt


class TestStub(ModelContract):
    name = "STUB"
    sees_structure = False
    tolerance = 0.0


def test_depends_on_the_id_only():
    stub = get_model("STUB")
    one, two, other = stub.predict([rocksalt(), rocksalt(5.0), rocksalt()], ids=["a", "a", "b"])
    assert one == two
    assert one != other


def test_keeps_to_its_ranges():
    many = get_model("STUB").predict([rocksalt()] * 300, ids=[str(i) for i in range(300)])
    ranges = {"bandgap": (0, 5), "formation_energy": (-8, -2), "stability_score": (0, 1)}
    for name, (low, high) in ranges.items():
        values = [p.properties[name].value for p in many]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high


def test_is_marked_and_claims_nothing():
    prediction = get_model("STUB").predict([rocksalt()])[0]
    assert prediction.not_for_decisions
    assert all(v.confidence is None and v.sigma is None for v in prediction.properties.values())


def test_ids_must_fit():
    with pytest.raises(InvalidInputError):
        get_model("STUB").predict([rocksalt()], ids=["a", "b"])
