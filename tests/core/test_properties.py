"""The order of properties, wherever they are shown."""

from nanoos.core.properties import PROPERTIES, in_order, ordered
from nanoos.core.records import Prediction, PropertyValue, Provenance


def test_the_listed_come_first_and_the_others_follow_by_name():
    assert in_order(["zeta", "refractive_index", "alpha", "bandgap"]) == (
        "bandgap",
        "refractive_index",
        "alpha",
        "zeta",
    )
    assert in_order(reversed(PROPERTIES)) == PROPERTIES
    assert list(ordered({"is_metal": 1, "bandgap": 2})) == ["bandgap", "is_metal"]


def test_a_prediction_is_in_order_however_it_was_made():
    said = Prediction(
        properties={n: PropertyValue(value=1.0, unit="1") for n in reversed(PROPERTIES)},
        provenance=Provenance(producer="x", version="1"),
    )
    assert tuple(said.properties) == PROPERTIES


def test_the_models_that_come_with_the_package_are_in_order():
    from nanoos.models import default_models, list_models

    for info in list_models():
        assert info.supported_properties == in_order(info.supported_properties)
        assert list(info.test_error) == list(in_order(info.test_error))
    assert list(default_models()) == list(in_order(default_models()))
    assert next(iter(default_models())) == "bandgap"
