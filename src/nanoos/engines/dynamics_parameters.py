"""Parameters that molecular dynamics has in every engine."""

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from nanoos.engines.base import DampingFs, EngineParameters

MAX_STEPS: Final = 1_000_000_000
MAX_SAMPLES: Final = 1_000_000
"""More would not fit into memory."""
AUTO_FRAMES: Final = 200
AUTO_SAMPLES: Final = 1000
Analysis = Literal["rdf", "msd", "vdos"]
_OF_FRAMES: Final[frozenset[Analysis]] = frozenset({"rdf", "msd"})
"""Analyses that look at the frames of ``dump_interval``."""
VELOCITIES_EVERY_FS: Final = 5.0
"""Shows vibrations up to 100 THz."""
Kelvin = Annotated[float, Field(ge=0.1, le=50_000)]
"""A temperature that velocities can be drawn from."""
Interval = Annotated[int, Field(ge=1, le=MAX_STEPS)]
"""Steps between two things that are written."""


class CommonDynamicsParameters(EngineParameters):
    """Length of the run, temperature, what is written and what is left out.

    Samples and frames are written at step 0 and at the multiples of their interval.
    """

    samples_last_step: ClassVar[bool] = False
    """Whether the last step is sampled, too."""

    temperature: Kelvin = 300.0
    """K."""
    timestep: float = Field(default=1.0, ge=0.001, le=20)
    """fs. 1 to 2 for metals and oxides, 0.5 with hydrogen, 0.25 for ReaxFF."""
    num_steps: int = Field(default=10_000, ge=1, le=MAX_STEPS)
    """Steps of the run, its equilibration included."""
    equilibration_steps: int | None = Field(default=None, ge=0)
    """Steps at the beginning that no average and no analysis sees; by default a fifth."""
    thermo_interval: Interval | None = None
    """Steps between two samples; by default so that there are a thousand."""
    dump_interval: Interval | None = None
    """Steps between two frames of the trajectory; by default so that there are 200."""
    thermostat_damping: DampingFs | None = None
    """fs; by default a hundred time steps."""
    analysis: tuple[Analysis, ...] = ("rdf", "msd")
    """What is drawn from the trajectory: rdf (with coordination), msd (with diffusion), vdos."""
    vdos_duration: float = Field(default=5.0, gt=0, le=100)
    """Last part of the run that is used for vdos, ps; the resolution is two over it."""
    rdf_cutoff: float = Field(default=8.0, gt=0, le=30)
    """Largest distance of the radial distribution, Å; may exceed half the cell."""

    @field_validator("analysis")
    @classmethod
    def _each_once(cls, analysis: tuple[Analysis, ...]) -> tuple[Analysis, ...]:
        return tuple(dict.fromkeys(analysis))

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        """Every default that depends on another parameter, so that equal work is equal."""
        chosen = {
            "equilibration_steps": self.num_steps // 5,
            "thermo_interval": max(1, self.num_steps // AUTO_SAMPLES),
            "dump_interval": max(1, self.num_steps // AUTO_FRAMES),
            "thermostat_damping": 100.0 * self.timestep,
        }
        for name, value in chosen.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.equilibration >= self.num_steps:
            raise ValueError("equilibration_steps leave nothing of num_steps to average")
        if not self.samples_last_step:
            self._refuse_empty("thermo_interval", self.thermo_every, "sample")
        if _OF_FRAMES.intersection(self.analysis):
            self._refuse_empty("dump_interval", self.dump_every, "frame")
        for name in ("thermo_interval", "dump_interval"):
            if getattr(self, name) > self.num_steps:
                raise ValueError(f"{name} is longer than the run, which has num_steps")
        if self.num_steps // self.thermo_every > MAX_SAMPLES:
            raise ValueError(
                f"thermo_interval gives more than {MAX_SAMPLES:,} samples of num_steps: raise it"
            )
        return self

    def _refuse_empty(self, name: str, every: int, what: str) -> None:
        """Refuse an interval without a multiple in the part that is looked at."""
        if self.num_steps // every * every < self.equilibration:
            raise ValueError(
                f"{name} ({every}) leaves no {what} between equilibration_steps "
                f"({self.equilibration}) and num_steps ({self.num_steps})"
            )

    @property
    def equilibration(self) -> int:
        """Steps left out of averages."""
        return self.equilibration_steps or 0

    @property
    def damping_fs(self) -> float:
        """Time constant of the thermostat, fs."""
        return self.thermostat_damping or 100.0 * self.timestep

    @property
    def thermo_every(self) -> int:
        """Steps between two samples."""
        return self.thermo_interval or 1

    @property
    def dump_every(self) -> int:
        """Steps between two frames."""
        return self.dump_interval or 1

    @property
    def velocities_every(self) -> int:
        """Steps between two frames of velocities, which are at its multiples."""
        return max(1, int(VELOCITIES_EVERY_FS / self.timestep))

    @property
    def velocities_begin(self) -> int:
        """The step of the first frame of velocities; of a run without vdos there is none."""
        window = round(1000 * self.vdos_duration / self.timestep)
        begin = max(self.equilibration, self.num_steps - window)
        return -(-begin // self.velocities_every) * self.velocities_every

    @property
    def velocity_frames(self) -> int:
        """How many frames of velocities there are."""
        if "vdos" not in self.analysis:
            return 0
        return (self.num_steps - self.velocities_begin) // self.velocities_every + 1
