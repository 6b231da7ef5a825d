"""Parameters of the workflows, typed and closed. What is None or ``auto`` is chosen by rule."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from nanoos.engines.dft_parameters import DftParameters
from nanoos.kpoints.studies import TOLERANCE_EV
from nanoos.pseudopotentials import DEFAULT_FAMILY, Accuracy

Smearing = Literal["gaussian", "cold", "fermi-dirac", "methfessel-paxton"]


class EspressoParameters(DftParameters):
    """What all workflows have, beside what all engines of this kind have."""

    family: str = DEFAULT_FAMILY
    """Name of an installed pseudopotential family."""
    accuracy: Accuracy = "normal"
    """Which of the family's suggested cutoffs: ``low``, ``normal``, ``high``."""
    ecutwfc_ry: float | None = Field(default=None, ge=5, le=1000)
    """Cutoff of the wavefunctions, Ry."""
    ecutrho_ry: float | None = Field(default=None, ge=20, le=12000)
    """Cutoff of the density, Ry."""
    local_tail: Literal["coulomb", "as_given"] = "coulomb"
    """Local potential of ONCVPSP's files behind 6 Bohr: the ion's -2Z/r, or what the file holds."""
    kshift: tuple[Literal[0, 1], Literal[0, 1], Literal[0, 1]] = (0, 0, 0)
    """1 moves the mesh by half a step; (0, 0, 0) goes through Gamma."""
    occupations: Literal["auto", "smearing", "fixed"] = "auto"
    """``fixed`` only for what is known to be an insulator with paired electrons."""
    smearing: Smearing | None = None
    """How occupations are smeared."""
    degauss_ry: float | None = Field(default=None, gt=0, le=0.2)
    """Width of the smearing, Ry."""
    nbnd: int | None = Field(default=None, ge=1, le=20_000)
    """Bands; None: a fifth more than are filled, at least four more, for either spin."""
    conv_thr_ry_per_atom: float = Field(default=1e-9, ge=1e-14, le=1e-3)
    """SCF is converged when the estimated error of the energy is below this, Ry per atom."""
    mixing_beta: float | None = Field(default=None, gt=0, le=1)
    """Share of the new density that is mixed in."""
    remedies: Literal["all", "numerical", "none"] = "all"
    """What is tried when an SCF does not converge; ``numerical`` never changes the smearing."""
    nk: int = Field(default=1, ge=1, le=1024)
    """Pools of k-points (``-nk``): divides the processes of NANO_OS_QE_COMMAND."""
    checkpoint_minutes: float = Field(default=60.0, ge=0.02, le=100_000)
    """pw.x is stopped cleanly so often and goes on from what it saved."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.occupations == "fixed" and (self.smearing or self.degauss_ry):
            raise ValueError("fixed occupations have no smearing")
        if (
            self.ecutrho_ry is not None
            and self.ecutwfc_ry is not None
            and self.ecutrho_ry < 4 * self.ecutwfc_ry
        ):
            raise ValueError("ecutrho_ry is at least four times ecutwfc_ry")
        return self

    @property
    def in_plane(self) -> bool:
        """Whether the axes have a meaning: only the cell in the plane of x and y moves."""
        return False


class ScfParameters(EspressoParameters):
    """Energy, forces and stress of the structure as given."""

    workflow: Literal["scf"] = "scf"


class _Relaxing(EspressoParameters):
    fmax: float = Field(default=0.02, gt=0, le=1.0)
    """Largest component of a force that is left, eV/Å."""
    energy_tolerance_ev: float = Field(default=1e-4, gt=0, le=0.1)
    """Largest change of energy in the last step, eV for each atom."""
    max_steps: int = Field(default=60, ge=1, le=2000)
    """Geometries that one start of pw.x may try."""
    max_continuations: int = Field(default=3, ge=0, le=50)
    """How often it is started again from its last geometry."""


class RelaxParameters(_Relaxing):
    """The atoms to their nearest minimum in the given cell."""

    workflow: Literal["relax"] = "relax"


class VcRelaxParameters(_Relaxing):
    """Atoms and cell to their nearest minimum."""

    workflow: Literal["vc_relax"] = "vc_relax"
    pressure_gpa: float = Field(default=0.0, ge=-100, le=1000)
    """External pressure, GPa, positive in compression."""
    pressure_tolerance_gpa: float = Field(default=0.1, gt=0, le=10)
    """How far each component of the stress may be from it."""
    cell_freedom: Literal["all", "volume", "shape", "2Dxy"] = "all"
    """What of the cell moves: everything, its volume, its shape, or only in the plane of x and y."""

    @property
    def in_plane(self) -> bool:
        """See :class:`EspressoParameters`."""
        return self.cell_freedom == "2Dxy"


class NscfParameters(EspressoParameters):
    """The band gap on a dense mesh."""

    workflow: Literal["nscf"] = "nscf"
    dense_kdist: float | None = Field(default=None, gt=0.01, le=3)
    """Spacing of the dense mesh, Å^-1; None: twice the divisions of the SCF."""


class DosParameters(EspressoParameters):
    """The density of states on a dense mesh, and the band gap there."""

    workflow: Literal["dos"] = "dos"
    dense_kdist: float | None = Field(default=None, gt=0.01, le=3)
    """Spacing of the dense mesh, Å^-1; None: twice the divisions of the SCF."""
    dos_width_ev: float = Field(default=0.1, gt=0.001, le=2)
    """Standard deviation of the Gaussian that stands for a state, eV."""
    dos_step_ev: float = Field(default=0.02, gt=0.0005, le=1)
    """Step of the energy axis, eV."""


class BandsParameters(EspressoParameters):
    """Bands along a path of high symmetry, and the band gap on path and mesh."""

    workflow: Literal["bands"] = "bands"
    path: str | None = Field(default=None, pattern=r"^[A-Z0-9]+(,[A-Z0-9]+)*$", max_length=100)
    """Such as ``GXWKGL``, in ASE's names; None: the usual path of the lattice."""
    band_points: int = Field(default=120, ge=4, le=2000)
    """k-points along the whole path."""


class EquationOfStateParameters(EspressoParameters):
    """Energy against volume and its Birch-Murnaghan fit; the shape of the cell is kept.

    Remedies change the smearing only where that is asked for: it would move the energy of one
    volume against the others.
    """

    workflow: Literal["equation_of_state"] = "equation_of_state"
    remedies: Literal["all", "numerical", "none"] = "numerical"
    """What is tried when an SCF does not converge; ``numerical`` never changes the smearing."""
    eos_points: int = Field(default=7, ge=5, le=51)
    """Volumes in the fit."""
    eos_strain: float = Field(default=0.06, ge=0.01, le=0.2)
    """Half-width of the range of volumes, relative."""
    eos_recentre: bool = True
    """Move the range once if the minimum is not well inside."""
    relax_atoms: bool = True
    """Relax the atoms at each volume, where symmetry leaves them free."""
    fmax: float = Field(default=0.02, gt=0, le=1.0)
    """Largest component of a force that is left, eV/Å."""
    energy_tolerance_ev: float = Field(default=1e-4, gt=0, le=0.1)
    """Largest change of energy in the last step, eV for each atom."""
    max_steps: int = Field(default=60, ge=1, le=2000)
    """Geometries that one start of pw.x may try."""
    max_continuations: int = Field(default=3, ge=0, le=50)
    """How often it is started again from its last geometry."""

    @field_validator("eos_points")
    @classmethod
    def _odd(cls, points: int) -> int:
        if points % 2 == 0:
            raise ValueError("an odd number, so that the given volume is one of them")
        return points


class KpointConvergenceParameters(EspressoParameters):
    """The energy on ever finer meshes, until it no longer changes.

    The study makes its own meshes. Remedies never change the smearing: that would move the energy
    of one mesh against the others.
    """

    workflow: Literal["kpoint_convergence"] = "kpoint_convergence"
    remedies: Literal["numerical", "none"] = "numerical"
    """What is tried when an SCF does not converge."""
    tolerance_ev: float = Field(default=TOLERANCE_EV, ge=1e-6, le=1)
    """Change of the energy of the cell that counts as none, eV. Models learn from 0.001 only."""
    max_length_a: float = Field(default=150.0, ge=40, le=400)
    """The study fails if it is not converged at this length, Å."""

    @model_validator(mode="after")
    def _own_meshes(self) -> Self:
        if self.kdist is not None or self.kmesh is not None:
            raise ValueError("a convergence study makes its own meshes: leave out kdist and kmesh")
        if any(self.kshift):
            raise ValueError("the meshes of a convergence study go through Gamma: leave out kshift")
        return self
