"""Parameters of the workflows, typed and closed. What is None or ``auto`` is chosen by rule."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nanoos.engines.dft_parameters import DftParameters

Release = Literal["PBE", "PBE_52", "PBE_54", "PBE_64"]
Smearing = Literal["gaussian", "methfessel-paxton", "fermi-dirac"]
Title = Annotated[str, StringConstraints(pattern=r"^[A-Z][a-z]?(_[A-Za-z0-9]+)*$", max_length=20)]


class VaspParameters(DftParameters):
    """What all workflows have, beside what all engines of this kind have."""

    functional: Literal["PBE", "PBEsol"] = "PBE"
    """Exchange and correlation; PBEsol with the POTCARs of PBE."""
    potcars: Release = "PBE_54"
    """Which release of the POTCARs."""
    potcar_titles: dict[str, Title] | None = None
    """Element to POTCAR, such as ``{"Fe": "Fe_pv"}``, instead of the Materials Project's choice."""
    encut_ev: float | None = Field(default=None, ge=50, le=3000)
    """Cutoff of the wavefunctions, eV."""
    smearing: Smearing | None = None
    """How occupations are smeared."""
    sigma_ev: float | None = Field(default=None, gt=0, le=2)
    """Width of the smearing, eV."""
    nbands: int | None = Field(default=None, ge=1, le=20_000)
    """Bands; None: VASP's own number."""
    ediff_ev_per_atom: float = Field(default=1e-6, ge=1e-12, le=1e-2)
    """An SCF is converged when its energy changes by less, eV per atom."""
    algorithm: Literal["Normal", "Fast", "VeryFast", "All"] = "Normal"
    """How the bands are found (``ALGO``)."""
    ncore: int | None = Field(default=None, ge=1, le=1024)
    """Processes that share a band."""
    kpar: int | None = Field(default=None, ge=1, le=1024)
    """Groups of processes that share the k-points."""


class ScfParameters(VaspParameters):
    """Energy, forces and stress of the structure as given."""

    workflow: Literal["scf"] = "scf"


class RelaxParameters(VaspParameters):
    """The atoms to their nearest minimum in the given cell."""

    workflow: Literal["relax", "vc_relax"] = "relax"
    fmax: float = Field(default=0.02, gt=0, le=1.0)
    """Largest force that is left, eV/Å."""
    max_steps: int = Field(default=60, ge=2, le=2000)
    """Geometries that one start of VASP may try."""
    max_continuations: int = Field(default=3, ge=0, le=50)
    """How often it is started again from its last geometry."""


class VcRelaxParameters(RelaxParameters):
    """Atoms and cell to their nearest minimum without pressure."""

    workflow: Literal["vc_relax"] = "vc_relax"
    pressure_tolerance_gpa: float = Field(default=0.1, gt=0, le=10)
    """How far from zero the pressure of the relaxed cell may be in a basis of its own."""
