"""Bayesian optimisation for programs: data in, candidates out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.design.descriptors import describe_points
from nanoos.design.proposal import propose
from nanoos.design.settings import BOConfig
from nanoos.design.spaces.base import SpacePoint

FloatArray = npt.NDArray[np.float64]

_POOL_SIZE = 1024
"""Points drawn from a continuous parameter space; a power of two keeps Sobol points balanced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One suggestion.

    Attributes:
        structure_id: Key of the point.
        parameters: What distinguishes it.
        predicted_score: Predicted target property; None before there is a surrogate.
        predicted_uncertainty: One standard deviation, same unit; None likewise.
        reason: Why it was chosen, one sentence.
    """

    structure_id: str
    parameters: Mapping[str, str | float] = field(default_factory=dict)
    predicted_score: float | None = None
    predicted_uncertainty: float | None = None
    reason: str = ""


def suggest_candidates(
    config: BOConfig,
    existing_data: Sequence[Mapping[str, Any]],
    n_suggestions: int | None = None,
    *,
    candidates: Sequence[SpacePoint] | Sequence[Mapping[str, Any]] = (),
    parameter_space: Mapping[str, tuple[float, float]] | None = None,
    seed: int = 0,
) -> list[Candidate]:
    """Suggest what to simulate next.

    Args:
        config: What is sought and how to choose.
        existing_data: One mapping for each simulation done: ``structure_id``, ``parameters``
            (not needed for a point of ``candidates``) and ``values``, property name to number,
            None where the simulation failed.
        n_suggestions: ``config.batch_size`` where None.
        candidates: Points of a space, described by their composition and structure, or
            mappings with ``structure_id`` and ``parameters``, described by the parameters:
            numbers as they are, words one column each.
        parameter_space: Instead of candidates: name to (low, high) of free continuous
            parameters, sampled by a seeded Sobol sequence.
        seed: The same data and seed give the same suggestions.

    Raises:
        InvalidInputError: neither or both of candidates and parameter_space, or data that do
            not fit them.
    """
    if (not candidates) == (parameter_space is None):
        raise InvalidInputError(
            "Give either candidates or a parameter_space.",
            hint="candidates=list(space), or parameter_space={'x': (0.0, 1.0)}.",
        )
    if parameter_space is not None:
        candidates = _sobol_pool(parameter_space, seed)
    points = [p for p in candidates if not isinstance(p, Mapping)]
    records = [p for p in candidates if isinstance(p, Mapping)]
    if points and records:
        raise InvalidInputError("Candidates are points of a space or mappings, not both.")
    parameters: dict[str, Mapping[str, str | float]]
    if points:
        parameters = {point.key: dict(point.parameters) for point in points}
        descriptors = describe_points(points).values
    else:
        parameters = {str(p["structure_id"]): dict(p["parameters"]) for p in records}
        for row in existing_data:
            if str(row["structure_id"]) not in parameters:
                parameters[str(row["structure_id"])] = dict(row["parameters"])
        descriptors = encode_parameters(list(parameters.values()))
    proposal = propose(
        list(parameters),
        descriptors,
        {str(row["structure_id"]): row["values"] for row in existing_data},
        config=config,
        seed=seed,
        iteration=len(existing_data),
        n_suggestions=n_suggestions,
    )
    return [
        Candidate(
            structure_id=choice.key,
            parameters=parameters[choice.key],
            predicted_score=choice.predicted_value,
            predicted_uncertainty=choice.predicted_uncertainty,
            reason=choice.reason,
        )
        for choice in proposal.chosen
    ]


def encode_parameters(records: Sequence[Mapping[str, str | float]]) -> FloatArray:
    """(n, d) numbers for records of parameters: numbers as they are, words one-hot.

    Raises:
        InvalidInputError: records with different names, or a parameter that is a number in one
            and a word in another.
    """
    names = sorted(records[0])
    columns: list[FloatArray] = []
    for name in names:
        try:
            values = [record[name] for record in records]
        except KeyError as error:
            raise InvalidInputError(f"A candidate lacks the parameter {name!r}.") from error
        words = sum(isinstance(value, str) for value in values)
        if words not in {0, len(values)}:
            raise InvalidInputError(f"The parameter {name!r} is a number here and a word there.")
        if words:
            levels = sorted({str(value) for value in values})
            columns += [np.array([float(v == level) for v in values]) for level in levels]
        else:
            columns.append(np.array(values, dtype=np.float64))
    if any(len(record) != len(names) for record in records):
        raise InvalidInputError("The candidates do not have the same parameters.")
    return np.column_stack(columns)


def _sobol_pool(
    parameter_space: Mapping[str, tuple[float, float]], seed: int
) -> list[Mapping[str, Any]]:
    from scipy.stats import qmc

    names = list(parameter_space)
    low, high = np.array([parameter_space[name] for name in names], dtype=np.float64).T
    if not (low < high).all():
        raise InvalidInputError("Every parameter needs (low, high) with low < high.")
    points = qmc.Sobol(len(names), seed=seed).random(_POOL_SIZE) * (high - low) + low
    return [
        {
            "structure_id": "x" + hashlib.sha256(row.tobytes()).hexdigest()[:12],
            "parameters": dict(zip(names, row.tolist(), strict=True)),
        }
        for row in points
    ]
