"""Design of experiments on materials: spaces, surrogates, acquisition, the loop. Pure policy."""

from nanoos.design.acquisition import ACQUISITIONS
from nanoos.design.active import (
    ALCandidate,
    ALConfig,
    SimulationBudget,
    compute_acquisition_score,
    select_candidates_for_simulation,
)
from nanoos.design.bayes import Candidate, suggest_candidates
from nanoos.design.descriptors import describe_points
from nanoos.design.loop import (
    DesignIteration,
    run_design_iteration,
    run_design_iteration_with_al,
)
from nanoos.design.objective import Constraint, Objective
from nanoos.design.proposal import Choice, Proposal, propose
from nanoos.design.settings import BOConfig
from nanoos.design.spaces import SPACES, build_space

__all__ = [
    "ACQUISITIONS",
    "SPACES",
    "ALCandidate",
    "ALConfig",
    "BOConfig",
    "Candidate",
    "Choice",
    "Constraint",
    "DesignIteration",
    "Objective",
    "Proposal",
    "SimulationBudget",
    "build_space",
    "compute_acquisition_score",
    "describe_points",
    "propose",
    "run_design_iteration",
    "run_design_iteration_with_al",
    "select_candidates_for_simulation",
    "suggest_candidates",
]
