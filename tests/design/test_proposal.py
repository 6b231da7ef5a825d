import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.design import BOConfig, Constraint, propose
from nanoos.design.initial import spread_points
from nanoos.design.metrics import best_so_far, simulations_to_reach


def landscape(seed, n=200):
    """A smooth discrete problem with two dead columns; returns keys, x, y."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 5))
    y = np.exp(-8 * ((x[:, 0] - 0.7) ** 2 + (x[:, 1] - 0.3) ** 2)) + 0.1 * np.sin(5 * x[:, 2])
    return [f"p{i}" for i in range(n)], x, y


def config(**options):
    defaults = {
        "target_property": "y",
        "goal": "max",
        "n_initial_random": 6,
        "batch_size": 4,
        "acquisition_function": "log_ei",
    }
    return BOConfig(**(defaults | options))


def observe(keys, y, indices):
    return {keys[i]: {"y": float(y[i])} for i in indices}


def run(settings, seed, *, n_simulations=30):
    keys, x, y = landscape(seed)
    lookup = dict(zip(keys, y, strict=True))
    known = {}
    iteration = 0
    while len(known) < n_simulations:
        proposal = propose(keys, x, known, config=settings, seed=seed, iteration=iteration)
        known |= {c.key: {"y": float(lookup[c.key])} for c in proposal.chosen}
        iteration += 1
    return list(known.values())[:n_simulations]


@pytest.mark.parametrize("name", ["ucb", "poi"])
def test_beats_random_over_seeds(name):
    guided = [max(v["y"] for v in run(config(acquisition_function=name), s)) for s in range(4)]
    random = [max(v["y"] for v in run(config(acquisition_function="random"), s)) for s in range(4)]
    best = [landscape(s)[2].max() for s in range(4)]
    assert np.mean(guided) > np.mean(random)
    assert np.mean(np.array(best) - guided) < 0.4 * np.mean(np.array(best) - random)


def test_log_ei_needs_fewer_simulations_than_random():
    objective = config().objective
    counts = {"log_ei": [], "random": []}
    for name, needed in counts.items():
        for seed in range(4):
            y = landscape(seed)[2]
            series = best_so_far(run(config(acquisition_function=name), seed), objective)
            goal = float(np.sort(y)[-4])
            needed.append(simulations_to_reach(series, goal, objective) or 60)
    assert np.mean(counts["log_ei"]) < 0.6 * np.mean(counts["random"])


def test_target_range_collects_hits():
    keys, x, y = landscape(3)
    low, high = np.sort(y)[[150, 165]]
    lookup = dict(zip(keys, y, strict=True))
    hits = {}
    for name in ("log_ei", "poi", "random"):
        known = {}
        settings = config(goal=None, target_range=(low, high), acquisition_function=name)
        for iteration in range(9):
            proposal = propose(keys, x, known, config=settings, seed=0, iteration=iteration)
            known |= {c.key: {"y": float(lookup[c.key])} for c in proposal.chosen}
        hits[name] = sum(low <= v["y"] <= high for v in known.values())
    assert hits["log_ei"] >= 2 * max(hits["random"], 1)
    assert hits["poi"] >= 2 * max(hits["random"], 1)


def test_constraint_steers_away():
    keys, x, y = landscape(1)
    energy = x[:, 0] - 0.5  # the unconstrained optimum (x0 = 0.7) is not allowed
    settings = config(constraints=[Constraint(quantity="e", op="<=", bound=0.0)])
    known = {}
    for iteration in range(8):
        proposal = propose(keys, x, known, config=settings, seed=0, iteration=iteration)
        for choice in proposal.chosen:
            i = keys.index(choice.key)
            known[choice.key] = {"y": float(y[i]), "e": float(energy[i])}
    late = list(known.values())[-12:]
    assert np.mean([v["e"] <= 0 for v in late]) > 0.7
    assert set(proposal.reports) == {"y", "e"}
    assert proposal.best == pytest.approx(
        max(v["y"] for v in known.values() if v["e"] <= 0), abs=0.2
    )
    assert "likely to satisfy e <= 0" in proposal.chosen[0].reason
    assert 0 <= proposal.chosen[0].feasibility <= 1


def test_no_feasible_point_yet_is_said():
    keys, x, y = landscape(1)
    settings = config(constraints=[Constraint(quantity="e", op="<=", bound=-5.0)])
    known = {k: v | {"e": float(i)} for i, (k, v) in enumerate(observe(keys, y, range(8)).items())}
    proposal = propose(keys, x, known, config=settings, seed=0, iteration=3)
    assert proposal.best is None
    assert any("satisfies the constraints" in note for note in proposal.notes)
    assert len(proposal.chosen) == 4


def test_first_batches_are_spread_and_counted():
    keys, x, y = landscape(0)
    first = propose(keys, x, {}, config=config(), seed=1, iteration=0)
    assert (first.phase, len(first.chosen), first.n_predicted) == ("initial", 4, 0)
    assert first.chosen[0].predicted_value is None
    waiting = [c.key for c in first.chosen]
    second = propose(keys, x, {}, config=config(), seed=1, iteration=1, pending=waiting)
    assert len(second.chosen) == 2  # six in all
    assert not set(waiting) & {c.key for c in second.chosen}
    done = observe(keys, y, [keys.index(c.key) for c in (*first.chosen, *second.chosen)])
    third = propose(keys, x, done, config=config(), seed=1, iteration=2)
    assert (third.phase, third.n_predicted) == ("model", 194)
    assert len(third.predictions) == 194
    assert third.reports["y"].n_observations == 6


def test_reason_and_prediction():
    keys, x, y = landscape(0)
    proposal = propose(
        keys, x, observe(keys, y, range(20)), config=config(unit="GPa"), seed=0, iteration=5
    )
    choice = proposal.chosen[0]
    mean, std = proposal.predictions[choice.key]
    assert (choice.predicted_value, choice.predicted_uncertainty) == (mean, std)
    assert choice.reason.startswith("highest expected improvement: ")
    assert "GPa against best" in choice.reason
    assert proposal.best == pytest.approx(y[:20].max())


def test_same_arguments_same_answer_and_nothing_twice():
    keys, x, y = landscape(0)
    known = observe(keys, y, range(15)) | {"p15": None}
    options = {"config": config(), "seed": 4, "iteration": 2, "pending": ["p16", "p17"]}
    one, two = (propose(keys, x, known, **options) for _ in range(2))
    assert one == two
    chosen = {c.key for c in one.chosen}
    assert len(chosen) == 4
    assert not chosen & ({*known} | {"p16", "p17"})
    shuffled = dict(sorted(known.items(), reverse=True))
    assert [c.key for c in propose(keys, x, shuffled, **options).chosen] == [
        c.key for c in one.chosen
    ]
    assert any("failed" in note for note in one.notes)


def test_pending_points_push_the_next_ones_away():
    keys, x, y = landscape(0)
    known = observe(keys, y, range(15))
    first = propose(keys, x, known, config=config(batch_size=1), seed=0, iteration=0).chosen[0]
    batch = propose(keys, x, known, config=config(batch_size=2), seed=0, iteration=0).chosen
    later = propose(
        keys, x, known, config=config(batch_size=1), seed=0, iteration=0, pending=[first.key]
    ).chosen[0]
    assert batch[0].key == first.key
    assert batch[1].key == later.key


def test_only_failures_keep_spreading():
    keys, x, _ = landscape(0)
    proposal = propose(keys, x, dict.fromkeys(keys[:10]), config=config(), seed=0, iteration=4)
    assert proposal.phase == "initial"
    assert len(proposal.chosen) == 4
    assert any("No simulation has succeeded" in note for note in proposal.notes)


def test_exhausted_space():
    keys, x, y = landscape(0, n=10)
    proposal = propose(keys, x, observe(keys, y, range(9)), config=config(), seed=0, iteration=0)
    assert [c.key for c in proposal.chosen] == ["p9"]
    for name in ("log_ei", "random"):
        done = propose(
            keys, x, observe(keys, y, range(10)), seed=0, iteration=0,
            config=config(acquisition_function=name),
        )  # fmt: skip
        assert done.chosen == ()
        assert done.n_candidates == 0


def test_bad_arguments_are_refused():
    keys, x, _ = landscape(0)
    with pytest.raises(InvalidInputError, match="not a point"):
        propose(keys, x, {"q": {"y": 1.0}}, config=config(), seed=0, iteration=0)
    with pytest.raises(InvalidInputError, match="no finite 'y'"):
        propose(keys, x, {"p0": {"y": float("nan")}}, config=config(), seed=0, iteration=0)
    with pytest.raises(InvalidInputError, match="shape"):
        propose(keys[:5], x, {}, config=config(), seed=0, iteration=0)
    with pytest.raises(ValueError, match="log_ei"):
        config(acquisition_function="log_e")
    with pytest.raises(ValueError, match="Extra inputs"):
        config(batchsize=3)


def test_spread_points():
    x = np.vstack([np.zeros((50, 2)), np.ones((1, 2)), [[1.0, 0.0]], [[0.0, 1.0]]])
    free = np.arange(len(x))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        chosen = spread_points(x, 4, free=free, taken=[], rng=rng)
        assert len(np.unique(x[chosen], axis=0)) == 4
    rng = np.random.default_rng(0)
    rest = spread_points(x, 3, free=free[1:], taken=[0], rng=rng)
    assert sorted(rest) == [50, 51, 52]
    assert len(spread_points(x, 99, free=free, taken=[], rng=rng)) == len(x)
    assert len(spread_points(np.ones((3, 1)), 2, free=np.arange(3), taken=[], rng=rng)) == 2
