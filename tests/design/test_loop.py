import numpy as np
import pytest

from nanoos.core.errors import CancelledError, EngineError, InvalidInputError
from nanoos.design import (
    ALCandidate,
    ALConfig,
    BOConfig,
    Candidate,
    SimulationBudget,
    build_space,
    compute_acquisition_score,
    run_design_iteration,
    run_design_iteration_with_al,
    select_candidates_for_simulation,
    suggest_candidates,
)
from nanoos.design.active import classify_confidence
from nanoos.design.metrics import acceleration, best_so_far, hits_so_far, simulations_to_reach
from nanoos.design.objective import Objective

CONFIG = BOConfig(target_property="y", goal="max", n_initial_random=4, batch_size=2)
KEYS = [f"p{i}" for i in range(30)]
X = np.random.default_rng(0).random((30, 2))
Y = dict(zip(KEYS, X.sum(axis=1), strict=True))


def simulate(key):
    if key == "p3":
        raise EngineError("did not converge")
    return {"y": float(Y[key])}


def candidate(name, value, sigma, **more):
    return ALCandidate(
        structure_id=name, predicted_value=value, predicted_uncertainty=sigma, **more
    )


POOL = [candidate("a", 1.0, 0.5), candidate("b", 3.0, 0.1), candidate("c", 2.0, 0.001),
        candidate("d", 0.0, 0.9)]  # fmt: skip


def names(selection):
    return [c.structure_id for c in selection]


def test_strategies_rank_as_they_say():
    assert names(select_candidates_for_simulation(POOL, 2, "uncertainty")) == ["d", "a"]
    assert names(select_candidates_for_simulation(POOL, 2, "greedy_uncertainty")) == ["b", "a"]
    chosen = select_candidates_for_simulation(POOL, 9, "expected_improvement", best=1.0)
    assert names(chosen) == ["b", "a", "d"]  # c is sure already
    assert chosen[0].acquisition_score == pytest.approx(2.0, abs=1e-6)
    assert "expected improvement" in chosen[0].reason
    low = ALConfig(goal="min")
    assert names(select_candidates_for_simulation(POOL, 1, best=1.0, config=low)) == ["d"]


def test_diverse_batch_has_no_near_copies():
    pool = [
        candidate("a", 0, 1.0, features=(0.0, 0.0)),
        candidate("a2", 0, 0.99, features=(0.01, 0.0)),
        candidate("b", 0, 0.5, features=(1.0, 1.0)),
    ]
    assert names(select_candidates_for_simulation(pool, 2, "diverse_uncertainty")) == ["a", "b"]
    assert names(select_candidates_for_simulation(pool, 2, "uncertainty")) == ["a", "a2"]
    with pytest.raises(InvalidInputError, match="features"):
        select_candidates_for_simulation(POOL, 2, "diverse_uncertainty")


def test_score_by_hand():
    assert compute_acquisition_score(1.0, 0.5, "uncertainty", cost=2.0) == 0.25
    assert compute_acquisition_score(1.0, 0.5, "greedy_uncertainty", exploration_weight=2) == 2.0
    assert compute_acquisition_score(1.0, 0.5, "greedy_uncertainty", goal="min") == -0.5
    gain = compute_acquisition_score(0.0, 1.0, "expected_improvement", best=0.0)
    assert gain == pytest.approx(1 / np.sqrt(2 * np.pi))
    for wrong in ({"strategy": "nope"}, {"strategy": "expected_improvement"}, {"cost": 0.0}):
        with pytest.raises(InvalidInputError):
            compute_acquisition_score(1.0, 0.5, **wrong)


def test_budget():
    budget = SimulationBudget(total=5, used=3, per_iteration=4)
    assert (budget.remaining, budget.available) == (2, 2)
    assert budget.spend(2).available == 0
    with pytest.raises(InvalidInputError):
        budget.spend(3)
    assert names(select_candidates_for_simulation(POOL, SimulationBudget(total=1))) == ["b"]
    assert select_candidates_for_simulation(POOL, 0) == []
    assert select_candidates_for_simulation([], 3) == []


def test_confidence_classes():
    classes = classify_confidence(POOL, threshold=0.1)
    assert classes == {"high": ("b", "c"), "low": ("a", "d")}


def test_iterations_find_the_best_and_record_failures():
    known, failures, seen = {}, {}, []
    for iteration in range(10):
        done = run_design_iteration(
            KEYS, X, known, config=CONFIG, simulate=simulate, iteration=iteration
        )
        seen += done.simulated
        known, failures = done.observations, failures | done.failures
    assert len(set(seen)) == len(seen) == 20
    assert done.best == pytest.approx(max(v for k, v in Y.items() if k != "p3"))
    assert known.get("p3", "absent") is None or "p3" not in known
    assert done.candidates_ml_predicted == 12


def test_failed_simulation_is_an_observation():
    done = run_design_iteration(
        ["p3"],
        X[3:4],
        {},
        config=CONFIG,
        simulate=simulate,
        budget=SimulationBudget(total=3, used=1),
    )
    assert done.observations == {"p3": None}
    assert done.failures == {"p3": "did not converge"}
    assert (done.best, done.candidates_simulated, done.simulation_budget_used) == (None, 1, 2)

    def cancelled(_):
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        run_design_iteration(KEYS, X, {}, config=CONFIG, simulate=cancelled)


def test_iteration_with_active_learning():
    def predict(keys):
        return [(float(Y[k]), 0.005 if k == "p7" else 0.1) for k in keys]

    done = run_design_iteration_with_al(
        KEYS, X, {"p0": {"y": float(Y["p0"])}, "p3": None},
        config=CONFIG, al_config=ALConfig(budget=3), predict=predict, simulate=simulate,
        budget=SimulationBudget(total=10, used=8),
    )  # fmt: skip
    best = sorted((k for k in KEYS if k not in {"p0", "p3", "p7"}), key=lambda k: -Y[k])[:2]
    assert list(done.simulated) == best
    assert done.candidates_ml_predicted == 28
    assert done.simulation_budget_used == 10
    assert done.active_learning_stats["high_confidence"] == 1
    assert done.active_learning_stats["low_confidence"] == 27


def test_suggest_candidates_from_a_space():
    space = build_space(
        {
            "type": "prototypes",
            "charge_neutral": False,
            "prototypes": {"rocksalt": {"A": ["Ti", "Zr", "Hf", "V", "Nb"], "X": ["C", "N"]}},
        }
    )
    points = list(space)
    first = suggest_candidates(CONFIG, [], 3, candidates=points)
    assert all(isinstance(c, Candidate) and c.predicted_score is None for c in first)
    assert first[0].parameters["prototype"] == "rocksalt"
    data = [{"structure_id": p.key, "values": {"y": float(i)}} for i, p in enumerate(points[:5])]
    suggested = suggest_candidates(CONFIG, data, candidates=points, seed=1)
    assert suggested == suggest_candidates(CONFIG, data, candidates=points, seed=1)
    assert len(suggested) == 2
    assert suggested[0].predicted_uncertainty > 0
    assert not {c.structure_id for c in suggested} & {row["structure_id"] for row in data}


def test_suggest_candidates_from_parameters():
    data = [
        {"structure_id": f"d{i}", "parameters": {"x": x}, "values": {"y": -((x - 0.3) ** 2)}}
        for i, x in enumerate([0.0, 0.2, 0.5, 0.7, 1.0])
    ]
    best = suggest_candidates(CONFIG, data, 1, parameter_space={"x": (0.0, 1.0)})[0]
    assert abs(best.parameters["x"] - 0.3) < 0.15
    records = [
        {"structure_id": f"r{i}", "parameters": {"kind": kind, "x": float(i)}}
        for i, kind in enumerate("aabbc")
    ]
    assert len(suggest_candidates(CONFIG, [], 4, candidates=records)) == 4
    with pytest.raises(InvalidInputError, match="either candidates"):
        suggest_candidates(CONFIG, [])


def test_metrics_by_hand():
    objective = Objective(target_property="y", goal="max")
    results = [{"y": 1.0}, None, {"y": 3.0}, {"y": 2.0}]
    series = best_so_far(results, objective)
    assert series == [1.0, 1.0, 3.0, 3.0]
    assert simulations_to_reach(series, 2.5, objective) == 3
    assert simulations_to_reach(series, 9.0, objective) is None
    inside = Objective(target_property="y", target_range=(1.5, 3.0))
    assert hits_so_far(results, inside) == [0, 0, 1, 2]
    assert best_so_far(results, inside) == [1.0, 1.0, 3.0, 3.0]
    gain = acceleration(series, [[0.0] * 8 + [3.0], [0.0] * 5 + [4.0], [1.0] * 9], objective)
    assert (gain.campaign_simulations, gain.random_simulations) == (3, 9)
    assert gain.factor == 3.0
    assert gain.random_runs_reaching == pytest.approx(2 / 3)
    assert gain.enhancement == 3.0
    assert not gain.is_lower_bound
    never = acceleration(series, [[0.0] * 9, [0.0] * 9], objective)
    assert never.is_lower_bound
    assert never.random_simulations is None
    assert acceleration([None], [[1.0]], objective) is None
