"""Parameters that every engine of density functional theory has, chosen by the same rules."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from nanoos.engines.base import EngineParameters

Division = Annotated[int, Field(ge=1, le=200)]
Moment = Annotated[float, Field(ge=-10, le=10)]


class DftParameters(EngineParameters):
    """Mesh, metal or insulator, and spin. What is None or ``auto`` is chosen by rule."""

    kdist: float | None = Field(default=None, gt=0.01, le=3)
    """Spacing of k-points, Å^-1, with the 2π."""
    kmesh: tuple[Division, Division, Division] | None = None
    """The mesh itself, instead of a spacing."""
    mesh_from: Literal["model", "rule"] = "model"
    """Without kdist and kmesh: the k-point model, or a fixed spacing for metals and insulators."""
    kpoint_confidence: float | None = None
    """Level of the k-point model's interval whose careful end makes the mesh; None: the mesh of the
    most likely spacing."""
    expected_gap_ev: float | None = Field(default=None, ge=0, le=30)
    """A predicted band gap: decides between metal and insulator instead of the composition."""
    spin: Literal["auto", "none", "polarised"] = "auto"
    """``auto``: polarised where an element of the crystal is known for its moments."""
    magnetic_moments: dict[str, Moment] | None = None
    """Element to starting moment, Bohr magnetons; moments of the structure's sites come first."""
    max_scf_steps: int = Field(default=100, ge=1, le=1000)
    """Iterations before an SCF counts as not converged."""
    allow_large: bool = False
    """Run even what is estimated to need more memory or time than is sensible here."""

    @field_validator("kpoint_confidence")
    @classmethod
    def _calibrated(cls, level: float | None) -> float | None:
        if level is not None and level not in {0.85, 0.9, 0.95}:
            raise ValueError("0.85, 0.9 or 0.95")
        return level

    @model_validator(mode="after")
    def _one_mesh_one_spin(self) -> Self:
        if self.kdist is not None and self.kmesh is not None:
            raise ValueError("give kdist or kmesh, not both")
        if self.spin == "none" and self.magnetic_moments:
            raise ValueError("magnetic_moments need spin")
        return self
