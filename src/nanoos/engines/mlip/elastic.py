"""The elastic tensor from stresses of strained crystals.

Each of the six strains is applied with both signs, the atoms are relaxed in the strained cell
(all cells in one batch), and the slope of stress against strain is one column of the tensor.
Quadratic terms cancel between the signs. The tensor is averaged over the point group and given
in the standard orientation of the lattice (spglib's), so that C11 means what tables mean by it.

Ref: Nye, Physical Properties of Crystals (1957); Hill, Proc. Phys. Soc. A 65, 349 (1952), DOI
10.1088/0370-1298/65/5/307; stability: Mouhat & Coudert, PRB 90, 224104 (2014), DOI
10.1103/PhysRevB.90.224104; anisotropy: Ranganathan & Ostoja-Starzewski, PRL 101, 055504 (2008),
DOI 10.1103/PhysRevLett.101.055504.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.mlip.checkpoints import checkpoint
from nanoos.engines.mlip.parameters import ElasticParameters
from nanoos.engines.mlip.relaxing import relaxed_atoms, relaxed_first
from nanoos.potentials import Potential, PotentialResult, Relaxation
from nanoos.potentials.base import FloatArray
from nanoos.potentials.checkpoint import Checkpoint
from nanoos.potentials.relaxation import SYMMETRY_TOLERANCE_A
from nanoos.structures import Structure
from nanoos.structures.symmetry import symmetry_dataset

Tick = Callable[[float, str], None]

VOIGT: Final = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""xx, yy, zz, yz, xz, xy; shear strains are engineering strains."""
_CLAMPED_BATCH: Final = 4
_FULL: Final = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moduli:
    """Averages over the directions of a polycrystal, GPa.

    Attributes:
        bulk_voigt_gpa: Upper bound.
        shear_voigt_gpa: Upper bound.
        bulk_reuss_gpa: Lower bound; None where the crystal is not stable.
        shear_reuss_gpa: Lower bound; None where the crystal is not stable.
    """

    bulk_voigt_gpa: float
    shear_voigt_gpa: float
    bulk_reuss_gpa: float | None
    shear_reuss_gpa: float | None

    def values(self) -> dict[str, float]:
        """Every modulus that there is, the unit in the name; ratios are dimensionless."""
        found = {
            "bulk_modulus_voigt_gpa": self.bulk_voigt_gpa,
            "shear_modulus_voigt_gpa": self.shear_voigt_gpa,
        }
        if self.bulk_reuss_gpa is None or self.shear_reuss_gpa is None:
            return found
        bulk = 0.5 * (self.bulk_voigt_gpa + self.bulk_reuss_gpa)
        shear = 0.5 * (self.shear_voigt_gpa + self.shear_reuss_gpa)
        return found | {
            "bulk_modulus_reuss_gpa": self.bulk_reuss_gpa,
            "shear_modulus_reuss_gpa": self.shear_reuss_gpa,
            "bulk_modulus_gpa": bulk,
            "shear_modulus_gpa": shear,
            "young_modulus_gpa": 9 * bulk * shear / (3 * bulk + shear),
            "poisson_ratio": (3 * bulk - 2 * shear) / (2 * (3 * bulk + shear)),
            "universal_anisotropy": 5 * self.shear_voigt_gpa / self.shear_reuss_gpa
            + self.bulk_voigt_gpa / self.bulk_reuss_gpa
            - 6,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ElasticTensor:
    """The tensor and what it was drawn from.

    Attributes:
        structure: The unstrained crystal.
        result: The potential's answer there.
        relaxation: The relaxation that came first, None where it was not asked for.
        tensor_gpa: (6, 6), symmetric, Voigt order xx yy zz yz xz xy, standard orientation.
        rotation: (3, 3), from the structure's axes to the standard ones (column vectors).
        asymmetry_gpa: Largest change that averaging over the point group and the exchange of
            stress and strain made: the numerical error.
        strains: The amplitudes applied to each component.
    """

    structure: Structure
    result: PotentialResult
    relaxation: Relaxation | None
    tensor_gpa: FloatArray
    rotation: FloatArray
    asymmetry_gpa: float
    strains: tuple[float, ...]

    @property
    def in_given_axes_gpa(self) -> FloatArray:
        """(6, 6), in the Cartesian axes of the structure."""
        return rotated(self.tensor_gpa, self.rotation.T)

    @property
    def eigenvalues_gpa(self) -> FloatArray:
        """(6,), ascending; the crystal is elastically stable where all are positive."""
        return np.asarray(np.linalg.eigvalsh(self.tensor_gpa))

    @property
    def stable(self) -> bool:
        """The Born criterion for any lattice: no strain lowers the energy."""
        return bool(self.eigenvalues_gpa[0] > 0)

    @property
    def moduli(self) -> Moduli:
        """Voigt and Reuss averages."""
        return moduli(self.tensor_gpa)


def elastic_tensor(
    structure: Structure,
    potential: Potential,
    parameters: ElasticParameters,
    tick: Tick,
    folder: Path,
) -> ElasticTensor:
    """Relax, strain, relax the atoms, fit; what is done is kept in ``folder`` meanwhile.

    Raises:
        EngineError: a relaxation failed; its code tells how.
    """
    relaxation = None
    start, result = structure, None
    if parameters.relax_first:
        relaxation = relaxed_first(
            structure,
            potential,
            parameters,
            lambda done, message: tick(0.3 * done, message),
            folder,
        )
        start, result = relaxation.structure, relaxation.result
    else:
        (result,) = potential.compute([structure])
    half = parameters.strain_points // 2
    steps = parameters.max_strain * np.arange(1, half + 1) / half
    amplitudes = np.concatenate([-steps[::-1], steps])
    cells = [
        start.with_lattice(start.lattice @ (np.eye(3) + strain_tensor(component, float(amount))))
        for component in range(6)
        for amount in amplitudes
    ]
    stresses = _stresses(cells, potential, parameters, tick, folder)
    table = stresses.reshape(6, len(amplitudes), 6)
    raw = np.array(
        [np.polyfit(amplitudes, table[component], 1)[0] for component in range(6)]
    ).T  # stress i against strain j
    rotations, to_standard = _point_group(start)
    symmetric = 0.5 * (raw + raw.T)
    averaged = np.mean([rotated(symmetric, r) for r in rotations], axis=0)
    return ElasticTensor(
        structure=start,
        result=result,
        relaxation=relaxation,
        tensor_gpa=rotated(averaged, to_standard) * GPA_PER_EV_A3,
        rotation=to_standard,
        asymmetry_gpa=float(np.abs(averaged - raw).max()) * GPA_PER_EV_A3,
        strains=tuple(amplitudes.tolist()),
    )


def strain_tensor(component: int, amount: float) -> FloatArray:
    """(3, 3), the symmetric strain of one Voigt component; a shear is halved on its two places."""
    i, j = VOIGT[component]
    strain = np.zeros((3, 3))
    strain[i, j] += amount / 2
    strain[j, i] += amount / 2
    return strain


def rotated(tensor: FloatArray, rotation: FloatArray) -> FloatArray:
    """A (6, 6) stiffness after the rotation of column vectors by a (3, 3)."""
    full = tensor[_FULL[:, :, None, None], _FULL[None, None, :, :]]
    turned = np.einsum(
        "ia,jb,kc,ld,abcd->ijkl", rotation, rotation, rotation, rotation, full, optimize=True
    )
    return np.array([[turned[i, j, k, m] for k, m in VOIGT] for i, j in VOIGT])


def moduli(tensor_gpa: FloatArray) -> Moduli:
    """Voigt's and Reuss's averages of a (6, 6) stiffness in GPa."""
    c = tensor_gpa
    stable = bool(np.linalg.eigvalsh(c)[0] > 0)
    bulk_reuss = shear_reuss = None
    if stable:
        s = np.linalg.inv(c)
        off = s[0, 1] + s[0, 2] + s[1, 2]
        bulk_reuss = float(1 / (np.trace(s[:3, :3]) + 2 * off))
        shear_reuss = float(15 / (4 * np.trace(s[:3, :3]) - 4 * off + 3 * np.trace(s[3:, 3:])))
    off = c[0, 1] + c[0, 2] + c[1, 2]
    return Moduli(
        bulk_voigt_gpa=float((np.trace(c[:3, :3]) + 2 * off) / 9),
        shear_voigt_gpa=float((np.trace(c[:3, :3]) - off + 3 * np.trace(c[3:, 3:])) / 15),
        bulk_reuss_gpa=bulk_reuss,
        shear_reuss_gpa=shear_reuss,
    )


def _stresses(
    cells: list[Structure],
    potential: Potential,
    parameters: ElasticParameters,
    tick: Tick,
    folder: Path,
) -> FloatArray:
    """(n_cells, 6), Cauchy stress, eV/Å^3, tension positive."""
    tick(0.3, f"{len(cells)} strained cells")
    if not parameters.relax_atoms:
        kept = checkpoint(folder, "strains", potential, parameters, cells)
        tensors = _clamped(cells, potential, kept, tick)
    else:
        # small strains are within the tolerance of the symmetry search: nothing is imposed here
        found = relaxed_atoms(
            cells,
            potential,
            parameters,
            lambda done, message: tick(0.3 + 0.65 * done, message),
            folder,
            stage="strains",
            keep_symmetry=False,
        )
        tensors = [one.result.stress for one in found]
    return np.array([[tensor[i, j] for i, j in VOIGT] for tensor in tensors if tensor is not None])


def _clamped(
    cells: list[Structure], potential: Potential, kept: Checkpoint, tick: Tick
) -> list[FloatArray | None]:
    """Stresses of the cells as they are, a batch after the other."""
    done: list[FloatArray | None] = list(kept.load().get("stresses", []))

    def stresses() -> dict[str, FloatArray]:
        return {"stresses": np.array(done)}

    while len(done) < len(cells):
        batch = cells[len(done) : len(done) + _CLAMPED_BATCH]
        done += [result.stress for result in potential.compute(batch)]
        tick(0.3 + 0.65 * len(done) / len(cells), f"{len(done)} of {len(cells)} strained cells")
        kept.save(stresses)
    return done


def _point_group(structure: Structure) -> tuple[FloatArray, FloatArray]:
    """Rotations in the structure's Cartesian axes, and the rotation to the standard ones."""
    found = symmetry_dataset(structure, SYMMETRY_TOLERANCE_A)
    if found is None:
        return np.eye(3)[None], np.eye(3)
    distinct = np.unique(np.asarray(found.rotations), axis=0)
    frame = structure.lattice.T
    rotations = frame @ distinct @ np.linalg.inv(frame)
    return np.asarray(rotations), np.asarray(found.std_rotation_matrix, dtype=np.float64)
