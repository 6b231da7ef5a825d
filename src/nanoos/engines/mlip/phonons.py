"""Harmonic phonons: forces of displaced supercells, phonopy's force constants.

The supercell is the smaller of two (repeats of the cell as given, repeats of the conventional
cell) whose faces are at least ``min_length`` apart. Ref: Togo et al., J. Phys.:
Condens. Matter 35, 353001 (2023), DOI 10.1088/1361-648X/acd831; paths: Setyawan & Curtarolo, DOI
10.1016/j.commatsci.2010.05.010. Universal potentials have no Born charges: the splitting of
longitudinal and transverse optical modes at Gamma is not in the bands.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.engines.mlip.checkpoints import checkpoint
from nanoos.engines.mlip.parameters import PhononParameters
from nanoos.engines.mlip.relaxing import relaxed_first
from nanoos.potentials import Potential, PotentialResult, Relaxation
from nanoos.potentials.base import FloatArray
from nanoos.potentials.checkpoint import Checkpoint
from nanoos.structures import Structure
from nanoos.structures.symmetry import symmetry_dataset

Tick = Callable[[float, str], None]

PHONOPY_FILE: Final = "phonopy_params.yaml"
SYMMETRY_TOLERANCE_A: Final = 1e-3
IMAGINARY_THZ: Final = -0.1
"""Frequencies below this are imaginary modes; above it, the noise of the acoustic ones."""
_NEAR_GAMMA: Final = 1e-6

Matrix = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bands:
    """Frequencies along a path; imaginary ones are negative.

    Attributes:
        path: Special points in order, a comma where it jumps.
        q_points: (n, 3), fractional, of the primitive cell.
        distances: (n,), Å^-1 with the 2π.
        frequencies_thz: (n, n_modes).
        ticks: Label to distance.
    """

    path: str
    q_points: FloatArray
    distances: FloatArray
    frequencies_thz: FloatArray
    ticks: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phonons:
    """Bands, density of states and thermal properties of a crystal.

    Attributes:
        structure: The crystal at its minimum.
        result: The potential's answer there.
        relaxation: The relaxation that came first, None where it was not asked for.
        supercell_matrix: (3, 3), rows are its vectors in those of the structure, which are
            inverted where they are left-handed.
        n_supercell: Atoms in the supercell.
        n_displacements: Force calculations.
        n_primitive: Atoms in the primitive cell that bands belong to.
        drift_ev_a: Largest net force on a displaced supercell per atom: the potential's noise.
        acoustic_gamma_thz: Largest of the three acoustic frequencies at Gamma before the sum
            rule would make them nothing; after it, the numerical error.
        bands: Along the standard path.
        mesh_frequencies_thz: (n_q, n_modes), irreducible points of the mesh.
        mesh_weights: (n_q,).
        dos: ``frequency_thz``, ``total_per_thz`` and each element's share, (n,).
        thermal: ``temperature_k``, ``free_energy_ev``, ``entropy_ev_k``,
            ``heat_capacity_ev_k`` for the primitive cell, (n,).
    """

    structure: Structure
    result: PotentialResult
    relaxation: Relaxation | None
    supercell_matrix: Matrix
    n_supercell: int
    n_displacements: int
    n_primitive: int
    drift_ev_a: float
    acoustic_gamma_thz: float
    bands: Bands
    mesh_frequencies_thz: FloatArray
    mesh_weights: FloatArray
    dos: Mapping[str, FloatArray]
    thermal: Mapping[str, FloatArray]

    @property
    def lowest_thz(self) -> float:
        """Lowest frequency of bands and mesh; negative for an imaginary one."""
        return float(min(self.bands.frequencies_thz.min(), self.mesh_frequencies_thz.min()))

    @property
    def imaginary_share(self) -> float:
        """Share of the modes on the mesh that are imaginary."""
        imaginary = (self.mesh_frequencies_thz < IMAGINARY_THZ).sum(axis=1) @ self.mesh_weights
        return float(imaginary / (self.mesh_weights.sum() * self.mesh_frequencies_thz.shape[1]))

    @property
    def zero_point_ev(self) -> float:
        """Of the primitive cell, real modes only."""
        from nanoos.core.units import PLANCK_EV_THZ

        real = np.maximum(self.mesh_frequencies_thz, 0.0).sum(axis=1) @ self.mesh_weights
        return float(0.5 * PLANCK_EV_THZ * real / self.mesh_weights.sum())


def phonons(
    structure: Structure,
    potential: Potential,
    parameters: PhononParameters,
    tick: Tick,
    folder: Path,
) -> Phonons:
    """Relax, displace, solve; phonopy's own file is left in ``folder``.

    The caller has asked :func:`check_phonons`.

    Raises:
        EngineError: the relaxation failed.
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms
    from phonopy.structure.cells import PrimitiveMatrixAutoDefaultWarning

    relaxation = None
    start = structure
    if parameters.relax_first:
        relaxation = relaxed_first(
            structure,
            potential,
            parameters,
            lambda done, message: tick(0.1 * done, message),
            folder,
        )
        start = relaxation.structure
    result = relaxation.result if relaxation else potential.compute([start])[0]
    matrix = _matrix(start, parameters)
    right = start.right_handed()  # the same atoms at the same places, in the cell phonopy wants
    cell = PhonopyAtoms(
        symbols=list(right.species), cell=right.lattice, scaled_positions=right.frac_coords
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PrimitiveMatrixAutoDefaultWarning)  # auto is meant
        solver = Phonopy(
            cell, supercell_matrix=matrix.T, primitive_matrix="auto", symprec=SYMMETRY_TOLERANCE_A
        )
        solver.generate_displacements(distance=parameters.displacement)
        kept = checkpoint(folder, "displacements", potential, parameters, [start])
        drift = _forces(solver, potential, tick, kept)
        solver.produce_force_constants(show_drift=False)
        solver.symmetrize_force_constants(show_drift=False)
        tick(0.85, "force constants")
        bands = _bands(solver, parameters)
        found = _mesh(solver, parameters)
        gamma = np.sort(np.abs(solver.run_qpoints([[0.0, 0.0, 0.0]]).frequencies[0]))
        tick(0.95, "bands, density of states, thermal properties")
        # of the forces phonopy makes the constants again; as text those of 200 atoms load in minutes
        solver.save(folder / PHONOPY_FILE, settings={"force_sets": True, "force_constants": False})
    return Phonons(
        structure=start,
        result=result,
        relaxation=relaxation,
        supercell_matrix=matrix,
        n_supercell=len(solver.supercell),
        n_displacements=len(solver.forces),
        n_primitive=len(solver.primitive),
        drift_ev_a=drift,
        acoustic_gamma_thz=float(gamma[2]),
        bands=bands,
        **found,
    )


def supercell_matrix(structure: Structure, min_length_a: float) -> Matrix:
    """(3, 3), rows are supercell vectors in lattice vectors: fewest atoms, faces far enough apart.

    Repeats of the cell as given and of the conventional cell are tried: a primitive cell of a
    centred lattice is oblique, and its repeats often need more atoms.
    """
    best: tuple[int, Matrix] | None = None
    for base in _bases(structure):
        lattice = base @ structure.lattice
        widths = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
        repeats = np.maximum(1, np.ceil(min_length_a / widths - 1e-6)).astype(int)
        matrix = np.diag(repeats) @ base
        size = abs(round(float(np.linalg.det(matrix))))
        if best is None or size < best[0]:
            best = (size, np.asarray(matrix, dtype=np.int64))
    if best is None:
        raise AssertionError  # the cell itself is always among the bases
    return best[1]


def n_supercell_atoms(structure: Structure, parameters: PhononParameters) -> int:
    """How many atoms the supercell has."""
    matrix = _matrix(structure, parameters)
    return structure.n_sites * abs(round(float(np.linalg.det(matrix))))


def check_phonons(structure: Structure, parameters: PhononParameters) -> None:
    """Refuse a supercell that is larger than it may be, and a machine without phonopy.

    Raises:
        InvalidInputError: code ``too_many_atoms``.
        UnavailableError: phonopy is not installed.
    """
    if find_spec("phonopy") is None:
        raise UnavailableError(
            "Phonons need phonopy, which is not installed.", hint="pip install 'nanoos[ml]'"
        )
    n_atoms = n_supercell_atoms(structure, parameters)
    if n_atoms > parameters.max_atoms:
        raise InvalidInputError(
            f"The supercell for phonons would have {n_atoms} atoms, more than "
            f"{parameters.max_atoms}.",
            hint="Lower min_length, give repeats, or raise max_atoms.",
            details={"n_atoms": n_atoms},
            code="too_many_atoms",
        )


def _matrix(structure: Structure, parameters: PhononParameters) -> Matrix:
    if parameters.repeats is not None:
        return np.diag(np.array(parameters.repeats, dtype=np.int64))
    return supercell_matrix(structure.right_handed(), parameters.min_length)


def _bases(structure: Structure) -> list[Matrix]:
    """Integer matrices whose rows are cells of the same crystal: as given, conventional."""
    found: list[Matrix] = [np.eye(3, dtype=np.int64)]
    dataset = symmetry_dataset(structure, SYMMETRY_TOLERANCE_A)
    if dataset is not None:
        # input basis = standardised basis times P, all as columns
        inverse = np.linalg.inv(np.asarray(dataset.transformation_matrix)).T
        whole = np.rint(inverse)
        if np.abs(inverse - whole).max() < 1e-4 and abs(np.linalg.det(whole)) >= 1:  # noqa: PLR2004
            found.append(whole.astype(np.int64))
    return found


def _forces(solver: Any, potential: Potential, tick: Tick, kept: Checkpoint) -> float:
    """Forces of every displaced supercell into the solver; the largest net force per atom."""
    cells = solver.supercells_with_displacements
    forces: list[FloatArray] = list(kept.load().get("forces", []))
    for done, cell in enumerate(cells):
        if done < len(forces):
            continue  # by the attempt before
        tick(0.1 + 0.75 * done / len(cells), f"displacement {done + 1} of {len(cells)}")
        structure = Structure(
            lattice=cell.cell, species=tuple(cell.symbols), frac_coords=cell.scaled_positions
        )
        (result,) = potential.compute([structure], stress=False)
        forces.append(result.forces)
        kept.save(lambda: {"forces": np.array(forces)})
    net = np.array(forces).mean(axis=1, keepdims=True)
    solver.forces = np.array(forces) - net
    return float(np.abs(net).max())


def _bands(solver: Any, parameters: PhononParameters) -> Bands:
    from ase.cell import Cell

    path = Cell(np.array(solver.primitive.cell)).bandpath(npoints=parameters.band_points)
    distances, ticks, labels = path.get_linear_kpoint_axis()
    frequencies = np.asarray(solver.run_qpoints(path.kpts).frequencies)
    return Bands(
        path=path.path,
        q_points=np.asarray(path.kpts),
        distances=np.asarray(distances) * 2 * np.pi,
        frequencies_thz=frequencies,
        ticks=tuple(zip(labels, (np.asarray(ticks) * 2 * np.pi).tolist(), strict=True)),
    )


def _mesh(solver: Any, parameters: PhononParameters) -> dict[str, Any]:
    """Frequencies on a mesh, the density of states and the thermal properties."""
    solver.run_mesh(
        parameters.mesh_length, with_eigenvectors=True, is_mesh_symmetry=False, is_gamma_center=True
    )
    found = solver.get_mesh_dict()
    solver.run_total_dos()
    solver.run_projected_dos()
    total, projected = solver.get_total_dos_dict(), solver.get_projected_dos_dict()
    dos = {
        "frequency_thz": np.asarray(total["frequency_points"]),
        "total_per_thz": np.asarray(total["total_dos"]),
    }
    by_atom = np.asarray(projected["projected_dos"])
    symbols = solver.primitive.symbols
    shares = {
        element: np.interp(
            dos["frequency_thz"],
            np.asarray(projected["frequency_points"]),
            by_atom[[i for i, symbol in enumerate(symbols) if symbol == element]].sum(axis=0),
        )
        for element in dict.fromkeys(symbols)
    }
    dos |= {f"{element}_per_thz": share for element, share in shares.items()}
    frequencies = np.asarray(found["frequencies"])
    return {
        "mesh_frequencies_thz": frequencies,
        "mesh_weights": np.asarray(found["weights"], dtype=np.float64),
        "dos": dos,
        "thermal": thermal_properties(
            frequencies, np.asarray(found["weights"]), _temperatures(parameters)
        ),
    }


def _temperatures(parameters: PhononParameters) -> FloatArray:
    count = int(np.floor(parameters.max_temperature / parameters.temperature_step + 1e-9)) + 1
    return np.asarray(parameters.temperature_step * np.arange(count), dtype=np.float64)


def thermal_properties(
    frequencies_thz: FloatArray, weights: Sequence[float] | FloatArray, temperatures_k: FloatArray
) -> dict[str, FloatArray]:
    """Harmonic free energy, entropy and heat capacity of the cell that the modes belong to.

    Imaginary and acoustic modes at Gamma (below 0.01 THz) are left out.

    Args:
        frequencies_thz: (n_q, n_modes).
        weights: (n_q,).
        temperatures_k: (n,), K, ascending; the first may be 0.

    Returns:
        ``temperature_k``, ``free_energy_ev``, ``entropy_ev_k``, ``heat_capacity_ev_k``.
    """
    from nanoos.core.units import BOLTZMANN_EV_K, PLANCK_EV_THZ

    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    keep = frequencies_thz > 0.01  # noqa: PLR2004
    quanta = PLANCK_EV_THZ * frequencies_thz[keep]
    weight = np.broadcast_to(share[:, None], frequencies_thz.shape)[keep]
    zero_point = float(weight @ quanta) / 2
    free, entropy, capacity = [], [], []
    for temperature in temperatures_k:
        if temperature <= 0:
            free.append(zero_point)
            entropy.append(0.0)
            capacity.append(0.0)
            continue
        thermal = BOLTZMANN_EV_K * float(temperature)
        x = quanta / thermal
        decay = np.exp(-x)
        occupation = decay / -np.expm1(-x)
        logarithm = np.log1p(-decay)
        free.append(zero_point + thermal * float(weight @ logarithm))
        entropy.append(BOLTZMANN_EV_K * float(weight @ (x * occupation - logarithm)))
        capacity.append(BOLTZMANN_EV_K * float(weight @ (x**2 * occupation * (1 + occupation))))
    return {
        "temperature_k": np.asarray(temperatures_k, dtype=np.float64),
        "free_energy_ev": np.array(free),
        "entropy_ev_k": np.array(entropy),
        "heat_capacity_ev_k": np.array(capacity),
    }
