import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory, PropertyValue
from nanoos.models import (
    MeanModel,
    compare_batch,
    compare_ml_vs_simulation,
    evaluate_prediction_quality,
)
from nanoos.testing.crystals import rocksalt

PBE = LevelOfTheory(functional="PBE", corrections="none", reference="elements")
HSE = LevelOfTheory(functional="HSE06", corrections="none", reference="elements")


def gap(value, level=PBE, unit="eV", **more):
    return {"bandgap": PropertyValue(value=value, unit=unit, level_of_theory=level, **more)}


def test_errors_and_interval():
    predicted = gap(1.2, quantiles={0.8: (1.1, 1.3), 0.95: (0.8, 1.6)})
    row = compare_ml_vs_simulation(predicted, gap(1.5), level=0.95).comparisons[0]["bandgap"]
    assert row.error == pytest.approx(-0.3)
    assert row.absolute_error == pytest.approx(0.3)
    assert row.percent_error == pytest.approx(-20)
    assert row.inside_interval is True
    narrow = compare_ml_vs_simulation(predicted, gap(1.5), level=0.8).comparisons[0]["bandgap"]
    assert narrow.inside_interval is False


def test_percent_of_zero_is_nothing():
    row = compare_ml_vs_simulation(gap(0.2), gap(0.0)).comparisons[0]["bandgap"]
    assert row.percent_error is None
    assert row.inside_interval is None


def test_summary_is_mae_and_rmse():
    pairs = [(gap(1.0), gap(1.1)), (gap(2.0), gap(1.6))]
    summary = compare_batch(pairs).summary["bandgap"]
    assert summary.mean_absolute_error == pytest.approx(0.25)
    assert summary.root_mean_squared_error == pytest.approx(np.sqrt((0.01 + 0.16) / 2))
    assert (summary.n, summary.unit) == (2, "eV")


def test_coverage_of_a_calibrated_model_is_nominal():
    values = np.random.default_rng(0).normal(size=2000)
    predicted = MeanModel("bandgap", values, unit="eV").predict([rocksalt()])[0].properties
    fresh = np.random.default_rng(1).normal(size=2000)
    pairs = [(predicted, gap(float(v), level=None)) for v in fresh]
    coverage = compare_batch(pairs).summary["bandgap"].coverage
    for level, observed in coverage.items():
        assert observed == pytest.approx(level, abs=0.04)


@pytest.mark.parametrize("other", [gap(1.0, HSE), gap(1.0, unit="meV")])
def test_unlike_quantities_are_refused(other):
    with pytest.raises(InvalidInputError) as caught:
        compare_ml_vs_simulation(gap(1.0), other)
    assert caught.value.error_code == "unlike_quantities"


def test_nothing_in_common():
    with pytest.raises(InvalidInputError) as caught:
        compare_ml_vs_simulation(gap(1.0), {})
    assert caught.value.error_code == "nothing_to_compare"


@pytest.mark.parametrize(
    ("error", "quality"),
    [(0.05, "excellent"), (0.2, "good"), (0.4, "fair"), (0.5, "poor"), (3.0, "poor")],
)
def test_quality_bands(error, quality):
    report = evaluate_prediction_quality(compare_ml_vs_simulation(gap(error), gap(0.0)))
    assert report.property_quality["bandgap"].quality == quality
    assert report.overall_quality == quality
    assert report.recommendations


def test_worst_property_decides():
    def both(g, s):
        return gap(g) | {"stability_score": PropertyValue(value=s, unit="1")}

    report = evaluate_prediction_quality(compare_ml_vs_simulation(both(1.0, 0.9), both(1.0, 0.5)))
    assert report.property_quality["bandgap"].quality == "excellent"
    assert report.overall_quality == "poor"
    assert "stability_score" in report.recommendations[0]


def test_unlisted_property_is_judged_by_share():
    def modulus(value):
        return {"bulk_modulus": PropertyValue(value=value, unit="GPa")}

    report = evaluate_prediction_quality(compare_ml_vs_simulation(modulus(108), modulus(100)))
    assert report.overall_quality == "good"
