"""The numbers of record of a finished pw.x: its XML file, in full precision.

Ref: the QES schema of Quantum ESPRESSO, https://www.quantum-espresso.org/ns/qes; Hartree atomic
units throughout.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import EngineError
from nanoos.core.units import BOHR_A, HARTREE_EV

FloatArray = npt.NDArray[np.float64]

_LARGEST_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bands:
    """Eigenvalues at k-points.

    Attributes:
        kpoints: (n_k, 3), fractional.
        weights: (n_k,), they sum to 1.
        energies_ev: (n_spin, n_k, n_bands), eV.
        occupations: Same shape, 0 to 1.
    """

    kpoints: FloatArray
    weights: FloatArray
    energies_ev: FloatArray
    occupations: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PwXml:
    """What the file says of the last geometry.

    Attributes:
        version: Of pw.x.
        lattice: (3, 3), Å.
        energy_ev: Total (free) energy of the cell, eV; NaN after nscf and bands.
        smearing_energy_ev: Its part -TS, eV.
        forces: (n_sites, 3), eV/Å, where computed.
        stress: (3, 3), eV/Å^3, tension positive, where computed.
        fermi_ev: Fermi energy (the mean of two), or the highest occupied level.
        n_electrons: Of the cell.
        total_magnetization: Bohr magnetons for the cell; None where not polarised.
        absolute_magnetization: The same of the absolute spin density.
        bands: Eigenvalues.
        scf_converged: What pw.x says; None where it says nothing.
        n_scf_steps: Of the last cycle.
        scf_error_ev: Estimated error of the energy, eV.
        cpu_s: Seconds of processor.
        wall_s: Seconds.
        symmetry_operations: That pw.x used.
    """

    version: str
    lattice: FloatArray
    energy_ev: float
    smearing_energy_ev: float
    forces: FloatArray | None
    stress: FloatArray | None
    fermi_ev: float | None
    n_electrons: float
    total_magnetization: float | None
    absolute_magnetization: float | None
    bands: Bands
    scf_converged: bool | None
    n_scf_steps: int | None
    scf_error_ev: float | None
    cpu_s: float
    wall_s: float
    symmetry_operations: int


def read_pw_xml(path: Path) -> PwXml:
    """Read ``data-file-schema.xml``.

    Raises:
        EngineError: code ``no_result``; it is not there or not whole.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("it is larger than 1 GB")  # noqa: TRY301
        root = ET.parse(path).getroot()  # noqa: S314 - written by the program that we ran
        return _read(root)
    except (OSError, ET.ParseError, ValueError, AttributeError, TypeError) as error:
        raise EngineError(
            f"pw.x left no complete result: {path.name}: {error}.",
            hint="See its output in the files of the run.",
            code="no_result",
        ) from error


def _read(root: ET.Element) -> PwXml:
    output = _must(root, "output")
    lattice = _vectors(_must(output, "atomic_structure/cell"))
    magnetization = output.find("magnetization")
    polarised = _text(output, "band_structure/lsda") == "true"
    band_structure = _must(output, "band_structure")
    scf = output.find("convergence_info/scf_conv")
    forces, stress = _matrix(output.find("forces")), _matrix(output.find("stress"))
    creator = _must(root, "general_info/creator")
    total = _number(magnetization, "total")
    timing = root.find("timing_info/total")
    energy = _number(output, "total_energy/etot")
    computed = energy is not None and scf is not None
    return PwXml(
        version=creator.get("VERSION", "unknown"),
        lattice=lattice,
        energy_ev=energy * HARTREE_EV if computed and energy is not None else float("nan"),
        smearing_energy_ev=(_number(output, "total_energy/demet") or 0.0) * HARTREE_EV,
        forces=None if forces is None else forces * HARTREE_EV / BOHR_A,
        stress=None if stress is None else -stress * HARTREE_EV / BOHR_A**3,
        fermi_ev=_fermi(band_structure),
        n_electrons=float(_text(band_structure, "nelec") or "nan"),
        total_magnetization=total if polarised else None,
        absolute_magnetization=_number(magnetization, "absolute") if polarised else None,
        bands=_bands(band_structure, lattice, root, polarised=polarised),
        scf_converged=_truth(scf, "convergence_achieved"),
        n_scf_steps=None if scf is None else int(_number(scf, "n_scf_steps") or 0),
        scf_error_ev=None if scf is None else (_number(scf, "scf_error") or 0.0) * HARTREE_EV,
        cpu_s=_number(timing, "cpu") or 0.0,
        wall_s=_number(timing, "wall") or 0.0,
        symmetry_operations=int(_number(output, "symmetries/nsym") or 1),
    )


def _bands(
    band_structure: ET.Element, lattice: FloatArray, root: ET.Element, *, polarised: bool
) -> Bands:
    alat = float(_must(root, "output/atomic_structure").get("alat", "nan")) * BOHR_A
    points, weights, energies, occupations = [], [], [], []
    for entry in band_structure.iter("ks_energies"):
        point = _must(entry, "k_point")
        points.append(_floats(point))
        weights.append(float(point.get("weight", "0")))
        energies.append(_floats(_must(entry, "eigenvalues")))
        occupations.append(_floats(_must(entry, "occupations")))
    n_spin = 2 if polarised else 1
    shape = (len(points), n_spin, -1)
    total = sum(weights)
    return Bands(
        kpoints=np.array(points) / alat @ lattice.T,  # k·a_i, the 2π of k cancels
        weights=np.array(weights) / total if total else np.array(weights),
        energies_ev=np.array(energies).reshape(shape).swapaxes(0, 1) * HARTREE_EV,
        occupations=np.array(occupations).reshape(shape).swapaxes(0, 1),
    )


def _fermi(band_structure: ET.Element) -> float | None:
    level = _number(band_structure, "fermi_energy")
    if level is None and (two := band_structure.find("two_fermi_energies")) is not None:
        level = float(np.mean(_floats(two)))
    if level is None:
        level = _number(band_structure, "highestOccupiedLevel")
    return None if level is None else level * HARTREE_EV


def _vectors(cell: ET.Element) -> FloatArray:
    return np.array([_floats(_must(cell, f"a{i}")) for i in (1, 2, 3)]) * BOHR_A


def _matrix(element: ET.Element | None) -> FloatArray | None:
    return None if element is None else np.array(_floats(element)).reshape(-1, 3)


def _floats(element: ET.Element) -> list[float]:
    return [float(word) for word in (element.text or "").split()]


def _must(element: ET.Element, path: str) -> ET.Element:
    found = element.find(path)
    if found is None:
        raise ValueError(f"it has no {path}")
    return found


def _text(element: ET.Element | None, path: str) -> str | None:
    found = None if element is None else element.findtext(path)
    return None if found is None else found.strip()


def _number(element: ET.Element | None, path: str) -> float | None:
    text = _text(element, path)
    return None if not text else float(text)


def _truth(element: ET.Element | None, path: str) -> bool | None:
    text = _text(element, path)
    return None if text is None else text == "true"
