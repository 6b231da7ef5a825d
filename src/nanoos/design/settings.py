"""How a campaign chooses: the closed configuration."""

from functools import cached_property
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nanoos.design.acquisition import ACQUISITIONS, DEFAULT_ACQUISITION
from nanoos.design.objective import Constraint, Objective


class BOConfig(BaseModel):
    """How a campaign chooses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_property: str = Field(min_length=1)
    """Name of the sought value in the observations."""
    goal: Literal["min", "max"] | None = None
    target_range: tuple[float, float] | None = None
    """(low, high); instead of ``goal``."""
    constraints: tuple[Constraint, ...] = ()
    unit: str = ""
    acquisition_function: str = DEFAULT_ACQUISITION
    """A name in :data:`~nanoos.design.acquisition.ACQUISITIONS`."""
    exploration_weight: float = Field(default=2.0, ge=0)
    """Standard deviations added to the mean by ``ucb``."""
    n_initial_random: int = Field(default=10, ge=1)
    """Simulations before the surrogate takes over, spread over the descriptors."""
    n_iterations: int = Field(default=50, ge=1)
    batch_size: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        self._build_objective()
        if self.acquisition_function not in ACQUISITIONS:
            known = ", ".join(ACQUISITIONS.names())
            raise ValueError(
                f"there is no acquisition function {self.acquisition_function!r}; known: {known}"
            )
        return self

    def _build_objective(self) -> Objective:
        return Objective(
            target_property=self.target_property,
            goal=self.goal,
            target_range=self.target_range,
            constraints=self.constraints,
            unit=self.unit,
        )

    @cached_property
    def objective(self) -> Objective:
        """What is sought, without how."""
        return self._build_objective()
