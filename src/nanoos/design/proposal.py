"""The next batch of a campaign: which points of a discrete space to simulate, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.design.acquisition import (
    ACQUISITIONS,
    Acquisition,
    AcquisitionInput,
    weigh_by_feasibility,
)
from nanoos.design.initial import spread_points
from nanoos.design.objective import Constraint, Objective
from nanoos.design.settings import BOConfig
from nanoos.design.surrogate import Belief, FitReport, fit_surrogate

FloatArray = npt.NDArray[np.float64]
Observations = Mapping[str, Mapping[str, float] | None]
"""Key of a point to its simulated values, or None where the simulation failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One point proposed for simulation.

    Attributes:
        key: Of the point.
        predicted_value: Surrogate mean before the simulation; None while there is no surrogate.
        predicted_uncertainty: Standard deviation of what the simulation is expected to give
            (the noise term included), same unit.
        acquisition_score: As ranked; comparable within one proposal only.
        feasibility: Probability that all constraints hold; 1 without constraints, None while
            there is no surrogate.
        reason: One sentence for a person.
    """

    key: str
    predicted_value: float | None
    predicted_uncertainty: float | None
    acquisition_score: float | None
    feasibility: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The next batch and what it rests on.

    Attributes:
        chosen: In order of preference; shorter than asked where the space is exhausted.
        phase: ``initial`` (spread, no surrogate), ``model`` or ``random``.
        n_candidates: Points neither simulated nor pending nor failed.
        n_predicted: Candidates the surrogate predicted.
        best: Best observed value that satisfies the constraints, None where there is none.
        reports: Quantity to quality of its surrogate.
        predictions: Key of every candidate to (mean, standard deviation) of the target; empty
            in the other phases.
        notes: Sentences a person should read.
    """

    chosen: tuple[Choice, ...]
    phase: Literal["initial", "model", "random"]
    n_candidates: int
    n_predicted: int
    best: float | None
    reports: Mapping[str, FitReport] = field(default_factory=dict)
    predictions: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def propose(
    keys: Sequence[str],
    descriptors: npt.ArrayLike,
    observations: Observations,
    *,
    config: BOConfig,
    seed: int,
    iteration: int,
    pending: Sequence[str] = (),
    n_suggestions: int | None = None,
) -> Proposal:
    """The points to simulate next; the same arguments give the same answer.

    Until ``n_initial_random`` points are simulated or pending, points are spread over the
    descriptors (:func:`~nanoos.design.initial.spread_points`). After that, the surrogate is
    fitted to the target and to each constrained quantity, every candidate is scored, and a
    batch is filled one by one with the kriging believer: the chosen and the pending points are
    taken as measured at their predicted mean, so that the next one lies elsewhere. A failed
    simulation is an observation without a value: the surrogate does not learn from it, and the
    point is never proposed again.

    Args:
        keys: (n,) all points of the space, in its order.
        descriptors: (n, d), see :func:`~nanoos.design.descriptors.describe_points`; the caller
            may append columns, such as cheap predictions.
        observations: Key to values or None; keys outside the space are refused.
        config: How to choose.
        seed: Of the campaign.
        iteration: Of the campaign, from 0; random choices differ between iterations.
        pending: Keys being simulated.
        n_suggestions: How many; ``config.batch_size`` where None.

    Raises:
        InvalidInputError: shapes do not fit, unknown keys, or an observation that lacks the
            target or a constrained quantity.
    """
    x = np.asarray(descriptors, dtype=np.float64)
    state = _State.build(keys, x, observations, pending, config)
    wanted = config.batch_size if n_suggestions is None else n_suggestions
    acquisition = ACQUISITIONS.get(config.acquisition_function)
    rng = np.random.default_rng([seed, iteration])
    missing = config.n_initial_random - len(state.taken)
    if not acquisition.uses_surrogate:
        return _random_batch(state, wanted, rng)
    if missing > 0 or not state.measured:
        return _initial_batch(state, min(wanted, missing) if missing > 0 else wanted, rng)
    return _model_batch(state, acquisition, wanted, rng)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """Where the campaign stands, by index into the space."""

    keys: Sequence[str]
    x: FloatArray
    config: BOConfig
    measured: Mapping[int, Mapping[str, float]]
    failed: frozenset[int]
    pending: tuple[int, ...]
    free: npt.NDArray[np.intp]

    @classmethod
    def build(
        cls,
        keys: Sequence[str],
        x: FloatArray,
        observations: Observations,
        pending: Sequence[str],
        config: BOConfig,
    ) -> "_State":
        if x.ndim != 2 or len(x) != len(keys):  # noqa: PLR2004
            raise InvalidInputError(f"{len(keys)} keys but descriptors of shape {x.shape}.")
        index = {key: i for i, key in enumerate(keys)}
        unknown = [key for key in (*observations, *pending) if key not in index]
        if unknown:
            raise InvalidInputError(
                f"{unknown[0]!r} is not a point of this space.",
                hint="Observations must come from the same space; was its description changed?",
            )
        needed = [config.target_property, *(c.quantity for c in config.constraints)]
        measured: dict[int, Mapping[str, float]] = {}
        for key, values in observations.items():
            if values is None:
                continue
            for name in needed:
                if not np.isfinite(values.get(name, np.nan)):
                    raise InvalidInputError(
                        f"The observation of {key!r} has no finite {name!r}.",
                        hint="Pass None for a simulation that failed.",
                    )
            measured[index[key]] = values
        waiting = tuple(index[key] for key in dict.fromkeys(pending) if key not in observations)
        taken = {index[key] for key in observations} | set(waiting)
        free = np.array([i for i in range(len(keys)) if i not in taken], dtype=np.intp)
        return cls(
            keys=keys,
            x=x,
            config=config,
            measured=dict(sorted(measured.items())),
            failed=frozenset(index[key] for key, v in observations.items() if v is None),
            pending=waiting,
            free=free,
        )

    @property
    def taken(self) -> list[int]:
        """Simulated, failed or pending, in the order of the space."""
        return sorted({*self.measured, *self.failed, *self.pending})

    @property
    def best(self) -> float | None:
        return self.config.objective.best(list(self.measured.values()))

    @property
    def notes(self) -> tuple[str, ...]:
        count = len(self.failed)
        if not count:
            return ()
        return (f"{count} failed simulations taught the surrogate nothing; they are not repeated.",)


def _plain(state: _State, index: int, reason: str) -> Choice:
    return Choice(
        key=state.keys[index],
        predicted_value=None,
        predicted_uncertainty=None,
        acquisition_score=None,
        feasibility=None,
        reason=reason,
    )


def _random_batch(state: _State, wanted: int, rng: np.random.Generator) -> Proposal:
    drawn = rng.permutation(state.free)[:wanted]
    return Proposal(
        chosen=tuple(_plain(state, int(i), "drawn at random") for i in drawn),
        phase="random",
        n_candidates=len(state.free),
        n_predicted=0,
        best=state.best,
        notes=state.notes,
    )


def _initial_batch(state: _State, wanted: int, rng: np.random.Generator) -> Proposal:
    drawn = spread_points(state.x, wanted, free=state.free, taken=state.taken, rng=rng)
    reason = "first batch: spread over the space before there is a surrogate"
    notes = state.notes
    if len(state.taken) >= state.config.n_initial_random:
        notes = (*notes, "No simulation has succeeded yet: the points are spread further.")
    return Proposal(
        chosen=tuple(_plain(state, i, reason) for i in drawn),
        phase="initial",
        n_candidates=len(state.free),
        n_predicted=0,
        best=state.best,
        notes=notes,
    )


def _model_batch(
    state: _State, acquisition: Acquisition, wanted: int, rng: np.random.Generator
) -> Proposal:
    config, objective = state.config, state.config.objective
    rows = list(state.measured)
    quantities = dict.fromkeys([config.target_property, *(c.quantity for c in config.constraints)])
    surrogates = {
        name: fit_surrogate(
            state.x[rows],
            np.array([state.measured[i][name] for i in rows]),
            reference=state.x,
        )
        for name in quantities
    }
    # pending points come after the candidates, so that both can be believed
    positions = np.concatenate([state.free, np.array(state.pending, dtype=np.intp)])
    beliefs = {name: gp.belief(state.x[positions]) for name, gp in surrogates.items()}
    first = beliefs[config.target_property]
    noise = surrogates[config.target_property].noise_variance
    predicted_std = np.sqrt(first.variance + noise)
    n_free = len(state.free)
    best = state.best
    for offset in range(len(state.pending)):
        best = _believed_best(objective, beliefs, n_free + offset, best)
        beliefs = {name: b.believing(n_free + offset) for name, b in beliefs.items()}

    open_mask = np.arange(len(positions)) < n_free
    chosen: list[Choice] = []
    for _ in range(min(wanted, n_free)):
        target = beliefs[config.target_property]
        log_feasible = _log_feasibility(config.constraints, beliefs)
        scores = acquisition.score(
            AcquisitionInput(
                mean=target.mean,
                std=target.std,
                objective=objective,
                best=best,
                exploration_weight=config.exploration_weight,
                rng=rng,
            )
        )
        scores = weigh_by_feasibility(acquisition, scores, log_feasible)
        pick = int(np.argmax(np.where(open_mask, scores, -np.inf)))
        value, std = float(first.mean[pick]), float(predicted_std[pick])
        feasibility = float(np.exp(log_feasible[pick]))
        chosen.append(
            Choice(
                key=state.keys[int(positions[pick])],
                predicted_value=value,
                predicted_uncertainty=std,
                acquisition_score=float(scores[pick]),
                feasibility=feasibility,
                reason=_reason(acquisition, config, (value, std), state.best, feasibility),
            )
        )
        open_mask[pick] = False
        best = _believed_best(objective, beliefs, pick, best)
        beliefs = {name: b.believing(pick) for name, b in beliefs.items()}

    reports = {name: gp.report for name, gp in surrogates.items()}
    notes = [*state.notes]
    if state.best is None:
        notes.append("No simulated point satisfies the constraints yet.")
    notes += [f"{name}: {note}" for name, report in reports.items() for note in report.notes]
    predictions = {
        state.keys[int(i)]: (float(first.mean[j]), float(predicted_std[j]))
        for j, i in enumerate(state.free)
    }
    return Proposal(
        chosen=tuple(chosen),
        phase="model",
        n_candidates=n_free,
        n_predicted=n_free,
        best=state.best,
        reports=reports,
        predictions=predictions,
        notes=tuple(notes),
    )


def _log_feasibility(
    constraints: Sequence[Constraint], beliefs: Mapping[str, Belief]
) -> FloatArray:
    """(n,) log probability that all constraints hold, taken as independent."""
    total = np.zeros(len(next(iter(beliefs.values())).mean))
    for constraint in constraints:
        belief = beliefs[constraint.quantity]
        total = total + constraint.log_probability(belief.mean, belief.std)
    return total


def _believed_best(
    objective: Objective, beliefs: Mapping[str, Belief], index: int, best: float | None
) -> float | None:
    """The best value if point ``index`` turned out as predicted."""
    values = {name: float(belief.mean[index]) for name, belief in beliefs.items()}
    if not objective.feasible(values):
        return best
    believed = values[objective.target_property]
    if best is None or objective.merit(believed) > objective.merit(best):
        return believed
    return best


def _reason(
    acquisition: Acquisition,
    config: BOConfig,
    predicted: tuple[float, float],
    best: float | None,
    feasibility: float,
) -> str:
    value, std = predicted
    unit = f" {config.unit}" if config.unit else ""
    text = f"{acquisition.title}: {value:.4g} ± {std:.2g}{unit}"
    if config.target_range is not None:
        low, high = config.target_range
        text += f" for the range {low:g} to {high:g}"
    elif best is not None:
        text += f" against best {best:.4g}"
    if config.constraints:
        wanted = " and ".join(str(c) for c in config.constraints)
        text += f"; {100 * feasibility:.0f} % likely to satisfy {wanted}"
    return text
