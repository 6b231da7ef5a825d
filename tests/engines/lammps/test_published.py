"""Static properties at 0 K against the published values of those very potentials."""

from dataclasses import dataclass

import numpy as np
import pytest

from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines import get_engine
from nanoos.structures import Structure

FCC = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
DIAMOND = [*FCC, *(np.array(FCC) + 0.25).tolist()]


@dataclass(frozen=True)
class Published:
    """Lattice constant (Å), cohesive energy (eV/atom), C11, C12, C44 (GPa), and the source."""

    potential: str
    element: str
    sites: list
    a: float
    cohesive_ev: float
    c11: float
    c12: float
    c44: float
    source: str
    tolerance: float = 0.01

    @property
    def bulk(self):
        return (self.c11 + 2 * self.c12) / 3


PUBLISHED = [
    Published(
        "Cu_mishin1.eam.alloy", "Cu", FCC, 3.615, 3.54, 169.9, 122.6, 76.2,
        "Mishin et al., Phys. Rev. B 63, 224106 (2001)",
    ),
    Published(
        "Cu_u3.eam", "Cu", FCC, 3.615, 3.54, 167.0, 124.0, 76.0,
        "Foiles, Baskes & Daw, Phys. Rev. B 33, 7983 (1986)",
        tolerance=0.02,
    ),
    Published(
        "Ni_u3.eam", "Ni", FCC, 3.52, 4.45, 233.0, 154.0, 128.0,
        "Foiles, Baskes & Daw, Phys. Rev. B 33, 7983 (1986)",
        tolerance=0.02,
    ),
    Published(
        "AlCu.adp", "Al", FCC, 4.05, 3.36, 114.0, 61.6, 31.6,
        "Mishin et al., Phys. Rev. B 59, 3393 (1999): the Al of Apostol & Mishin 2011",
    ),
    Published(
        "Si.sw", "Si", DIAMOND, 5.431, 4.3366, 151.4, 76.4, 56.4,
        "Cowley, Phys. Rev. Lett. 60, 2379 (1988)",
    ),
    Published(
        "Si.tersoff", "Si", DIAMOND, 5.431, 4.63, 121.7, 85.8, 10.3,
        "Balamane, Halicioglu & Tiller, Phys. Rev. B 46, 2250 (1992), T2",
        tolerance=0.03,
    ),
]  # fmt: skip


def crystal(case, a):
    return Structure(
        lattice=a * np.eye(3), species=(case.element,) * len(case.sites), frac_coords=case.sites
    )


def stress_gpa(engine, case, structure, folder):
    """Stress with the atoms at their minimum in that cell, (3, 3), GPa."""
    result = engine.run(
        structure,
        {"workflow": "MINIMIZE_LAMMPS", "potential": case.potential, "fmax": 1e-6},
        folder,
    )
    return np.array(result.stress) * GPA_PER_EV_A3


def elastic_constants(engine, case, a, folder, strain=0.002):
    found = {}
    for name, (i, j) in {"c11": (0, 0), "c44": (0, 1)}.items():
        tensors = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[i, j] += sign * strain * (1.0 if i == j else 0.5)
            deformation[j, i] = deformation[i, j]
            structure = crystal(case, a).with_lattice(a * deformation)
            tensors.append(stress_gpa(engine, case, structure, folder / f"{name}{sign}"))
        slope = (tensors[0] - tensors[1]) / (2 * strain)
        found[name] = slope[i, j]
        if name == "c11":
            found["c12"] = 0.5 * (slope[1, 1] + slope[2, 2])
    return found


def check(engine, case, folder):
    relaxed = engine.run(
        crystal(case, 1.01 * case.a),
        {"workflow": "MINIMIZE_LAMMPS", "potential": case.potential, "relax_cell": "isotropic"},
        folder / "relax",
    )
    a = relaxed.structure.lengths[0]
    constants = elastic_constants(engine, case, a, folder)
    constants |= {
        "a": a,
        "cohesive_ev": -relaxed.values["energy_ev_per_atom"],
        "bulk": (constants["c11"] + 2 * constants["c12"]) / 3,
    }
    print(case.potential, {k: round(float(v), 4) for k, v in constants.items()})  # noqa: T201
    return constants


@pytest.mark.slow
@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.potential)
def test_static_properties_are_those_published(tmp_path, case):
    found = check(get_engine("LAMMPS")(), case, tmp_path)
    assert found["a"] == pytest.approx(case.a, rel=1e-3)
    assert found["cohesive_ev"] == pytest.approx(case.cohesive_ev, abs=0.01)
    for name in ("c11", "c12", "c44", "bulk"):
        assert found[name] == pytest.approx(getattr(case, name), rel=case.tolerance, abs=1), name


def test_copper_is_that_of_the_paper(tmp_path):
    """One of them quickly: the lattice constant, the energy and C11 + C12 from one strain."""
    case = PUBLISHED[0]
    engine = get_engine("LAMMPS")()
    relaxed = engine.run(
        crystal(case, 1.01 * case.a),
        {"workflow": "MINIMIZE_LAMMPS", "potential": case.potential, "relax_cell": "full"},
        tmp_path / "relax",
    )
    a = relaxed.structure.lengths[0]
    assert a == pytest.approx(3.615, abs=5e-4)
    assert relaxed.values["energy_ev_per_atom"] == pytest.approx(-3.54, abs=0.005)
    stretched = crystal(case, a).with_lattice(a * np.diag([1.001, 1, 1]))
    squeezed = crystal(case, a).with_lattice(a * np.diag([0.999, 1, 1]))
    slope = (
        stress_gpa(engine, case, stretched, tmp_path / "+")
        - stress_gpa(engine, case, squeezed, tmp_path / "-")
    ) / 0.002
    assert slope[0, 0] == pytest.approx(169.9, rel=0.01)
    assert slope[1, 1] == pytest.approx(122.6, rel=0.01)
