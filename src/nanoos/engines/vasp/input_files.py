"""INCAR, KPOINTS, POSCAR and POTCAR.spec, as a person would write them."""

from collections.abc import Mapping
from typing import Any, Final

from nanoos.engines.vasp.choices import Choices
from nanoos.engines.vasp.parameters import RelaxParameters, VaspParameters
from nanoos.structures import Structure

_ISMEAR: Final[Mapping[str, int]] = {"gaussian": 0, "methfessel-paxton": 1, "fermi-dirac": -1}
_GGA: Final[Mapping[str, str]] = {"PBE": "PE", "PBEsol": "PS"}
_MOVING: Final[Mapping[str, int]] = {"relax": 2, "vc_relax": 3}
_DIGITS: Final = 16


def site_order(structure: Structure) -> list[int]:
    """Index of each atom of the POSCAR in the structure: VASP wants elements together."""
    elements = list(dict.fromkeys(structure.species))
    return sorted(range(structure.n_sites), key=lambda i: elements.index(structure.species[i]))


def incar(
    structure: Structure, parameters: VaspParameters, choices: Choices, *, moving: bool = True
) -> str:
    """The text of INCAR.

    Args:
        structure: What is computed.
        parameters: What was asked for.
        choices: What the rules chose.
        moving: False for a single point whatever the workflow.
    """
    from pymatgen.io.vasp.inputs import Incar

    tags: dict[str, Any] = {
        "SYSTEM": structure.formula,
        "PREC": "Accurate",
        "GGA": _GGA[parameters.functional],
        "ENCUT": choices.encut_ev,
        "ALGO": parameters.algorithm,
        "EDIFF": structure.n_sites * parameters.ediff_ev_per_atom,
        "NELM": parameters.max_scf_steps,
        "ISMEAR": _ISMEAR[choices.smearing],
        "SIGMA": choices.sigma_ev,
        "LASPH": True,
        "LREAL": False,
        "LWAVE": False,
        "LCHARG": False,
        "ISPIN": 2 if choices.polarised else 1,
    }
    if choices.polarised:
        tags |= {"MAGMOM": [choices.moments[i] for i in site_order(structure)], "LORBIT": 11}
    for name, value in (
        ("NBANDS", parameters.nbands),
        ("NCORE", parameters.ncore),
        ("KPAR", parameters.kpar),
    ):
        if value is not None:
            tags[name] = value
    if moving and isinstance(parameters, RelaxParameters):
        tags |= {
            "IBRION": 2,
            "ISIF": _MOVING[parameters.workflow],
            "NSW": parameters.max_steps,
            "EDIFFG": -parameters.fmax,
        }
    else:
        tags |= {"IBRION": -1, "NSW": 0, "ISIF": 2}
    return str(Incar(tags).get_str())


def kpoints(choices: Choices) -> str:
    """The text of KPOINTS: a mesh through Gamma."""
    from pymatgen.io.vasp.inputs import Kpoints

    return f"{Kpoints.gamma_automatic(kpts=choices.mesh)}".rstrip() + "\n"


def poscar(structure: Structure) -> str:
    """The text of POSCAR: the sites in :func:`site_order`."""
    from pymatgen.core.structure import Structure as PymatgenStructure
    from pymatgen.io.vasp.inputs import Poscar

    order = site_order(structure)
    ordered = PymatgenStructure(
        structure.lattice, [structure.species[i] for i in order], structure.frac_coords[order]
    )
    text = Poscar(ordered, comment=structure.formula).get_str(significant_figures=_DIGITS)
    return str(text).rstrip() + "\n"


def potcar_spec(structure: Structure, choices: Choices) -> str:
    """Titles of the POTCARs in the order of the POSCAR, a line each, as pymatgen reads them."""
    elements = dict.fromkeys(structure.species)
    return "".join(f"{choices.titles[element]}\n" for element in elements)
