"""One crystal on its way to a minimum: coordinates, symmetry and a quasi-Newton step.

Coordinates are the atoms in the undeformed cell and U, the symmetric logarithm of the
deformation gradient F = exp(U), as in ASE's Frechet cell filter (DOI
10.1088/1361-648X/aa680e); for a symmetric U the gradient of the exponential is closed
(Daleckii & Krein 1965), so a step costs microseconds and not the milliseconds of a general
matrix function. BFGS starts from a diagonal Hessian in which U is scaled to be as stiff as the
atoms. Nobody evaluates a potential here: the caller brings energy, forces and stress.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.potentials.base import FloatArray
from nanoos.potentials.relaxation import SYMMETRY_TOLERANCE_A
from nanoos.structures import Structure

STIFFNESS_EV_A2: Final = 50.0
"""First guess of the curvature along an atom."""
MODULUS_EV_A3: Final = 2.5
"""First guess of the curvature along the cell, per volume: three times a bulk modulus of 130 GPa."""
MAX_STEP_A: Final = 0.2
_NO_STEP: Final = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SymmetryProjection:
    """Averages over a space group, in the frame of the undeformed cell.

    Attributes:
        rotations: (n_operations, 3, 3), Cartesian.
        sources: (n_operations, n_sites), which atom an operation puts on each site.
    """

    rotations: FloatArray
    sources: npt.NDArray[np.int64]

    def vectors(self, values: FloatArray) -> FloatArray:
        """(n_sites, 3), the part that the group leaves as it is."""
        moved = np.einsum("gab,gnb->gna", self.rotations, values[self.sources])
        return np.asarray(moved.mean(axis=0))

    def tensor(self, value: FloatArray) -> FloatArray:
        """(3, 3), the same of a tensor."""
        turned = self.rotations @ value @ self.rotations.transpose(0, 2, 1)
        return np.asarray(turned.mean(axis=0))


def symmetrised(structure: Structure) -> tuple[Structure, SymmetryProjection]:
    """The crystal moved onto its space group (found at 0.01 Å), and the averages over it."""
    from ase.spacegroup.symmetrize import prep_symmetry, refine_symmetry

    atoms = structure.to_ase()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib on its own deprecations
        refine_symmetry(atoms, SYMMETRY_TOLERANCE_A)
        rotations, _, targets = prep_symmetry(atoms, SYMMETRY_TOLERANCE_A)
    lattice = np.array(atoms.cell.array)
    # column vectors turn by L^T R L^-T
    cartesian = lattice.T @ np.asarray(rotations, dtype=np.float64) @ np.linalg.inv(lattice.T)
    refined = Structure(
        lattice=lattice,
        species=structure.species,
        frac_coords=atoms.get_scaled_positions(wrap=False),
        charges=structure.charges,
        spins=structure.spins,
        label=structure.label,
    )
    sources = np.argsort(np.asarray(targets, dtype=np.int64), axis=1)
    return refined, SymmetryProjection(rotations=cartesian, sources=sources)


class Descent:
    """Where a crystal is, and where it goes next.

    Args:
        structure: Where it starts.
        projection: The space group to keep, None for none.
        relax_cell: Whether the cell moves.
        pressure_ev_a3: External pressure, eV/Å^3, positive in compression.
    """

    def __init__(
        self,
        structure: Structure,
        projection: SymmetryProjection | None,
        *,
        relax_cell: bool,
        pressure_ev_a3: float,
    ) -> None:
        self._start = structure
        self._projection = projection
        self._relax_cell = relax_cell
        self._pressure = pressure_ev_a3
        self._positions = structure.cart_coords
        self._strain = np.zeros((3, 3))
        self._cell_scale = float(np.sqrt(structure.volume * MODULUS_EV_A3 / STIFFNESS_EV_A2))
        n = 3 * structure.n_sites + (9 if relax_cell else 0)
        self._hessian = STIFFNESS_EV_A2 * np.eye(n)
        self._gradient: FloatArray | None = None
        self._last: tuple[FloatArray, FloatArray] | None = None

    def state(self) -> dict[str, FloatArray]:
        """Enough to go on from here, between :meth:`step` and the next :meth:`see`."""
        found = {"positions": self._positions, "strain": self._strain, "hessian": self._hessian}
        if self._last is not None:
            found |= {"last_point": self._last[0], "last_gradient": self._last[1]}
        return found

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """The inverse of :meth:`state`, for the same start."""
        self._positions, self._strain = state["positions"], state["strain"]
        self._hessian = np.array(state["hessian"])
        if "last_point" in state:
            self._last = (state["last_point"], state["last_gradient"])

    def geometry(self) -> Structure:
        """The crystal as it is now."""
        lattice = self._start.lattice @ _exponential(self._strain)
        coords = self._positions @ np.linalg.inv(self._start.lattice)
        start = self._start
        return Structure(
            lattice=lattice,
            species=start.species,
            frac_coords=coords,
            charges=start.charges,
            spins=start.spins,
            label=start.label,
        )

    def see(self, forces: FloatArray, stress: FloatArray | None) -> float:
        """Take forces (eV/Å) and stress (eV/Å^3, tension positive) of :meth:`geometry`.

        Returns:
            The largest norm that is driven to zero, eV/Å: of an atom, or of a row of the
            virial divided by the number of atoms.
        """
        deformation = _exponential(self._strain)
        on_atoms = -forces @ deformation
        if self._projection is not None:
            on_atoms = self._projection.vectors(on_atoms)
        parts = [on_atoms.ravel()]
        largest = float(np.linalg.norm(on_atoms, axis=1).max())
        if self._relax_cell and stress is not None:
            volume = self._start.volume * float(np.linalg.det(deformation))
            virial = volume * (stress + self._pressure * np.eye(3))
            on_cell = _through_exponential(self._strain, virial @ np.linalg.inv(deformation))
            if self._projection is not None:
                on_cell = self._projection.tensor(on_cell)
            per_atom = np.linalg.norm(on_cell, axis=1) / self._start.n_sites
            largest = max(largest, float(per_atom.max()))
            parts.append(on_cell.ravel() / self._cell_scale)
        self._gradient = np.concatenate(parts)
        return largest

    def step(self) -> None:
        """Go on along the quasi-Newton direction, no coordinate triple farther than 0.2 Å."""
        if self._gradient is None:
            raise ValueError("a step needs the forces of the geometry")
        here = self._coordinates()
        if self._last is not None:
            self._learn(here - self._last[0], self._gradient - self._last[1])
        self._last = (here, self._gradient)
        values, vectors = np.linalg.eigh(self._hessian)
        move = -vectors @ ((self._gradient @ vectors) / np.abs(values))
        longest = float(np.linalg.norm(move.reshape(-1, 3), axis=1).max())
        if longest > MAX_STEP_A:
            move *= MAX_STEP_A / longest
        self._move(move)

    def _coordinates(self) -> FloatArray:
        if not self._relax_cell:
            return self._positions.ravel()
        return np.concatenate([self._positions.ravel(), self._cell_scale * self._strain.ravel()])

    def _move(self, move: FloatArray) -> None:
        n = 3 * self._start.n_sites
        shift = move[:n].reshape(-1, 3)
        if self._projection is not None:
            shift = self._projection.vectors(shift)
        self._positions = self._positions + shift
        if self._relax_cell:
            strain = move[n:].reshape(3, 3) / self._cell_scale
            strain = 0.5 * (strain + strain.T)
            if self._projection is not None:
                strain = self._projection.tensor(strain)
            self._strain = self._strain + strain

    def _learn(self, moved: FloatArray, change: FloatArray) -> None:
        """The BFGS update; skipped where nothing moved or the curvature along it is none."""
        along = float(moved @ change)
        if float(np.abs(moved).max()) < _NO_STEP or along == 0.0:
            return
        pull = self._hessian @ moved
        self._hessian += np.outer(change, change) / along
        self._hessian -= np.outer(pull, pull) / float(moved @ pull)


def _exponential(strain: FloatArray) -> FloatArray:
    """Of a symmetric (3, 3)."""
    values, vectors = np.linalg.eigh(strain)
    return np.asarray((vectors * np.exp(values)) @ vectors.T)


def _through_exponential(strain: FloatArray, gradient: Any) -> FloatArray:
    """The gradient by U from that by F = exp(U), both symmetric (3, 3)."""
    values, vectors = np.linalg.eigh(strain)
    middle = 0.5 * (values[:, None] + values[None, :])
    half = 0.5 * (values[:, None] - values[None, :])
    # (e^a - e^b) / (a - b) = e^((a+b)/2) sinh(h)/h with h = (a-b)/2
    small = np.abs(half) < 1e-6  # noqa: PLR2004
    ratio = np.where(small, 1.0 + half**2 / 6, np.sinh(half) / np.where(small, 1.0, half))
    symmetric = 0.5 * (gradient + gradient.T)
    turned = vectors.T @ symmetric @ vectors
    return np.asarray(vectors @ (np.exp(middle) * ratio * turned) @ vectors.T)
