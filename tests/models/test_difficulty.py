"""What is hard for a network is learnt from what it leaves of its training rows."""

import numpy as np
import pytest

from nanoos.features.packed import PackedGraphs
from nanoos.models.difficulty import (
    DIFFICULTY,
    ELEMENTS,
    difficulty,
    element_properties,
    fit_difficulty,
)
from nanoos.models.normal_scores import ScoreRegression
from nanoos.models.reliability import spearman
from nanoos.testing.crystals import rocksalt

_CATIONS = ("Na", "Mg", "Ti", "Fe", "Ba", "Ce")
_ANIONS = ("O", "F", "S", "Cl")


def crystals(seed: int) -> tuple[PackedGraphs, np.ndarray, np.ndarray]:
    """Graphs, the residuals of a network that finds oxides and fluorides hard, and their size."""
    rng = np.random.default_rng(seed)
    pairs = [(rng.choice(_CATIONS), rng.choice(_ANIONS)) for _ in range(600)]
    graphs = PackedGraphs.from_structures(
        [rocksalt(5.0 + rng.random(), str(c), str(a)) for c, a in pairs]
    )
    size = np.array([{"O": 1.0, "F": 0.5}.get(str(a), 0.05) for _, a in pairs])
    return graphs, size * rng.normal(size=600), size


@pytest.fixture(scope="module")
def learnt() -> dict[str, np.ndarray]:
    graphs, residuals, _ = crystals(0)
    residuals[:10] = np.nan
    elements = element_properties()
    trees = fit_difficulty(elements, graphs, {"value": np.zeros(600)}, residuals)
    return {ELEMENTS: elements} | {f"{DIFFICULTY}.gap.{k}": v for k, v in trees.items()}


def test_difficulty_ranks_the_errors_of_other_rows(learnt):
    graphs, _, size = crystals(1)
    hard = difficulty("gap", graphs, {"value": np.zeros(600)}, learnt)
    assert hard is not None
    assert spearman(hard, size) > 0.9


def test_difficulty_of_a_structure_does_not_depend_on_the_others(learnt):
    graphs, _, _ = crystals(1)
    together = difficulty("gap", graphs, {"value": np.zeros(600)}, learnt)
    alone = difficulty("gap", graphs.select(np.array([7])), {"value": np.zeros(1)}, learnt)
    assert alone[0] == together[7]


def test_a_target_whose_difficulty_was_not_learnt_has_none(learnt):
    graphs, residuals, _ = crystals(1)
    assert difficulty("other", graphs, {"value": np.zeros(600)}, learnt) is None
    residuals[200:] = np.nan
    assert fit_difficulty(learnt[ELEMENTS], graphs, {}, residuals) == {}


def test_a_regression_on_normal_scores_ignores_units_and_outliers():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(800, 3))
    target = table[:, 0] + 0.5 * table[:, 1] ** 2 + 0.1 * rng.normal(size=800)
    fitted = ScoreRegression.fit(table, target)
    assert np.corrcoef(fitted.predict(table), target)[0, 1] > 0.97
    bent = ScoreRegression.fit(np.exp(3 * table), target)
    assert np.corrcoef(bent.predict(np.exp(3 * table)), target)[0, 1] > 0.95
    assert fitted.predict([[50.0, 0, 0]]) == pytest.approx(fitted.predict([[9.0, 0, 0]]))
    again = ScoreRegression.from_arrays(fitted.to_arrays())
    assert np.array_equal(again.predict(table), fitted.predict(table))


def test_a_regression_on_noise_is_nearly_constant():
    rng = np.random.default_rng(1)
    fitted = ScoreRegression.fit(rng.normal(size=(60, 12)), rng.normal(size=60))
    assert np.std(fitted.predict(rng.normal(size=(500, 12)))) < 0.4
