"""What a finished VASP left: vasprun.xml for the numbers, OUTCAR for moments, timings and words.

VASP writes stress in kBar, positive in compression; here it is eV/Å^3, tension positive. The energy
is the free energy (TOTEN), which the forces belong to, without the PV term that vasprun.xml adds
under ``PSTRESS``.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import EngineError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.espresso.gap import BandGap, band_gap
from nanoos.engines.espresso.stdout import IonicStep
from nanoos.engines.espresso.xml_output import Bands
from nanoos.structures import Structure
from nanoos.structures.conversions import from_pymatgen

FloatArray = npt.NDArray[np.float64]

VASPRUN_FILE: Final = "vasprun.xml"
OUTCAR_FILE: Final = "OUTCAR"
_KBAR_PER_EV_A3: Final = 10 * GPA_PER_EV_A3
_REACHED: Final = "reached required accuracy"
_WARNINGS: Final[Mapping[str, str]] = {
    "BRMIX: very serious problems": "The mixing of the density had serious problems (BRMIX).",
    "Sub-Space-Matrix is not hermitian": "A sub-space matrix was not hermitian.",
    "The distance between some ions is very small": "Some atoms are very close to each other.",
    "TOO FEW BANDS": "There are too few bands: raise nbands.",
    "The number of bands has been changed": "VASP changed the number of bands.",
    "reciprocal lattice and k-lattice belong to different": "Lattice and mesh differ in symmetry.",
    "aliasing errors": "The FFT grid allows aliasing errors.",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VaspRun:
    """What one start of VASP gave, sites in the order of the structure it was made from.

    Attributes:
        version: Of VASP.
        incar: Tag to value, as VASP read it.
        titels: What the POTCARs call themselves.
        run_type: Functional, as pymatgen names it.
        structure: Last geometry.
        energy_ev: Free energy of the cell, eV.
        smearing_energy_ev: Its part -TS, eV.
        energy_sigma0_ev: Extrapolated to no smearing, eV.
        forces: (n_sites, 3), eV/Å.
        stress: (3, 3), eV/Å^3, tension positive; None where it was not computed.
        fermi_ev: Fermi energy, on VASP's own scale.
        n_electrons: Of the cell.
        total_magnetization: Bohr magnetons for the cell; None where not polarised.
        magmoms: (n_sites,), Bohr magnetons in the spheres of the POTCARs; None where not printed.
        gap: On the mesh; None where it cannot be told.
        steps: Every geometry that was computed.
        scf_energies_ev: For each geometry the energy of each iteration, eV.
        scf_converged: Whether the last SCF converged.
        relaxed: Whether the relaxation converged; None for a single point.
        cpu_s: Seconds of processor.
        wall_s: Seconds.
        warnings: What VASP complained of, and what is odd.
    """

    version: str
    incar: Mapping[str, Any]
    titels: tuple[str, ...]
    run_type: str
    structure: Structure
    energy_ev: float
    smearing_energy_ev: float
    energy_sigma0_ev: float
    forces: FloatArray
    stress: FloatArray | None
    fermi_ev: float | None
    n_electrons: float
    total_magnetization: float | None
    magmoms: tuple[float, ...] | None
    gap: BandGap | None
    steps: tuple[IonicStep, ...]
    scf_energies_ev: tuple[tuple[float, ...], ...]
    scf_converged: bool
    relaxed: bool | None
    cpu_s: float
    wall_s: float
    warnings: tuple[str, ...]


def read_run(folder: Path, order: Sequence[int] | None = None) -> VaspRun:
    """Read ``vasprun.xml`` and, where it is there, ``OUTCAR``.

    Args:
        folder: Where they are.
        order: Index of each of VASP's atoms in the structure; None: the same order.

    Raises:
        EngineError: code ``no_result``; it is not there or not whole.
    """
    from pymatgen.io.vasp.outputs import Vasprun

    path = folder / VASPRUN_FILE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is judged below
            xml = Vasprun(path, parse_potcar_file=False)
            return _read(xml, folder / OUTCAR_FILE, order)
    except (
        *(OSError, ValueError, KeyError, IndexError),
        *(TypeError, AttributeError, SyntaxError),  # lxml's errors of syntax are SyntaxErrors
    ) as error:
        raise EngineError(
            f"VASP left no complete result: {VASPRUN_FILE}: {str(error) or repr(error)}.",
            hint="See its output in the files of the run.",
            code="no_result",
        ) from error


def _read(xml: Any, outcar: Path, order: Sequence[int] | None) -> VaspRun:
    steps = [_step(xml, one) for one in xml.ionic_steps]
    back = list(range(len(steps[0].frac_coords)))
    if order is not None:
        back = [int(i) for i in np.argsort(order)]
    for step in steps:
        step.frac_coords = step.frac_coords[back]
        step.forces = None if step.forces is None else step.forces[back]
    final, last = steps[-1], xml.ionic_steps[-1]["electronic_steps"][-1]
    if final.forces is None:
        raise ValueError("it has no forces")
    structure = from_pymatgen(xml.ionic_steps[-1]["structure"])
    text = outcar.read_text(encoding="utf-8", errors="replace") if outcar.is_file() else ""
    moments, timings, complaint = _outcar(outcar) if text else (None, {}, None)
    unconverged = _unconverged_steps(xml)
    bands = _bands(xml)
    magnetization = _magnetization(xml, bands)
    electrons = float(xml.parameters["NELECT"])
    noncollinear = bool(xml.parameters.get("LNONCOLLINEAR"))
    moving = int(xml.parameters.get("NSW", 0)) > 1
    return VaspRun(
        version=str(xml.vasp_version).strip(),
        incar=dict(xml.incar),
        titels=tuple(str(titel).strip() for titel in xml.potcar_symbols),
        run_type=str(xml.run_type),
        structure=Structure(
            lattice=final.lattice,
            species=tuple(structure.species[i] for i in back),
            frac_coords=final.frac_coords,
        ),
        energy_ev=final.energy_ev,
        smearing_energy_ev=float(last["e_fr_energy"] - last["e_wo_entrp"]),
        energy_sigma0_ev=final.energy_ev + float(last["e_0_energy"] - last["e_fr_energy"]),
        forces=final.forces,
        stress=final.stress,
        fermi_ev=None if xml.efermi is None else float(xml.efermi),
        n_electrons=electrons,
        total_magnetization=magnetization,
        magmoms=None if moments is None else tuple(moments[i] for i in back),
        gap=None
        if bands is None
        # a spinor band holds one electron
        else band_gap(bands, 2 * electrons if noncollinear else electrons, magnetization),
        steps=tuple(steps),
        scf_energies_ev=tuple(
            tuple(float(e["e_fr_energy"]) for e in one["electronic_steps"])
            for one in xml.ionic_steps
        ),
        scf_converged=len(steps) not in unconverged,
        relaxed=_relaxed(xml, text) if moving else None,
        cpu_s=float(timings.get("Total CPU time used (sec)") or 0.0),
        wall_s=float(timings.get("Elapsed time (sec)") or 0.0),
        warnings=(
            *_complaints(text, unconverged - {len(steps)}),
            *([complaint] if complaint else []),
        ),
    )


def _step(xml: Any, one: Mapping[str, Any]) -> IonicStep:
    crystal = one["structure"]
    pressure = float(xml.parameters.get("PSTRESS", 0.0)) / _KBAR_PER_EV_A3
    forces, stress = one.get("forces"), one.get("stress")
    return IonicStep(
        lattice=np.array(crystal.lattice.matrix),
        frac_coords=np.array(crystal.frac_coords),
        energy_ev=float(one["e_fr_energy"]) - pressure * float(crystal.volume),
        forces=None if forces is None else np.array(forces),
        stress=None if stress is None else -np.array(stress) / _KBAR_PER_EV_A3,
    )


def _bands(xml: Any) -> Bands | None:
    if not xml.eigenvalues:
        return None
    by_spin = [xml.eigenvalues[spin] for spin in sorted(xml.eigenvalues, key=_down_last)]
    both = np.array(by_spin)
    weights = np.array(xml.actual_kpoints_weights)
    return Bands(
        kpoints=np.array(xml.actual_kpoints),
        weights=weights / weights.sum(),
        energies_ev=both[..., 0],
        occupations=both[..., 1],
    )


def _down_last(spin: Any) -> int:
    return -int(spin.value)


def _magnetization(xml: Any, bands: Bands | None) -> float | None:
    """Electrons of one spin more than of the other, counted from the occupations."""
    if bands is None or not xml.is_spin or len(bands.occupations) != 2:  # noqa: PLR2004
        return None
    up, down = (float((bands.weights @ one).sum()) for one in bands.occupations)
    return up - down


def _unconverged_steps(xml: Any) -> set[int]:
    """Numbers of the geometries whose SCF used all its iterations."""
    most = int(xml.parameters["NELM"])
    found = enumerate(xml.ionic_steps, 1)
    return {i for i, one in found if len(one["electronic_steps"]) >= most}


def _relaxed(xml: Any, text: str) -> bool:
    """OUTCAR says so; without it, whether geometries were left to try."""
    return _REACHED in text if text else bool(xml.converged_ionic)


def _outcar(path: Path) -> tuple[list[float] | None, Mapping[str, float | None], str | None]:
    """Moments of the sites, timings, and why they are missing."""
    from pymatgen.io.vasp.outputs import Outcar

    try:
        outcar: Any = Outcar(path)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return None, {}, f"OUTCAR could not be read whole ({error!r}): no moments, no timings."
    moments: list[float] = []
    for site in outcar.magnetization:
        total = site.get("tot")
        if not isinstance(total, float):
            return None, outcar.run_stats, None  # vectors
        moments.append(total)
    return moments or None, outcar.run_stats, None


def _complaints(text: str, unconverged: set[int]) -> list[str]:
    found = [said for words, said in _WARNINGS.items() if words in text]
    if unconverged:
        steps = ", ".join(map(str, sorted(unconverged)))
        found.append(f"The SCF did not converge in the geometries {steps}; it did in the last one.")
    return found
