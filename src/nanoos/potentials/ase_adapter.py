"""Any potential as an ASE calculator."""

from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from nanoos.core.errors import InvalidInputError
from nanoos.potentials.base import Potential, check_coverage
from nanoos.structures import Structure


class PotentialCalculator(Calculator):
    """Asks a :class:`Potential` whenever the atoms have changed.

    Energies in eV, forces in eV/Å, stress in eV/Å^3 (tension positive, ASE's Voigt order).
    Atoms are taken as periodic in all directions.
    """

    implemented_properties = [  # noqa: RUF012  (ase declares it so)
        "energy",
        "free_energy",
        "forces",
        "stress",
        "magmoms",
    ]

    def __init__(self, potential: Potential) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.potential = potential
        self.n_calls = 0

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        """Fill ``results`` for ``atoms``; ASE calls this.

        Raises:
            InvalidInputError: a cell or a position that is no finite number.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if not (np.isfinite(atoms.cell.array).all() and np.isfinite(atoms.positions).all()):
            raise InvalidInputError("Cell or positions are no finite numbers.", code="not_finite")
        structure = Structure(
            lattice=atoms.cell.array,
            species=tuple(atoms.get_chemical_symbols()),
            frac_coords=atoms.get_scaled_positions(wrap=False),
        )
        check_coverage(self.potential, [structure])
        (result,) = self.potential.compute([structure])
        self.n_calls += 1
        self.results = {
            "energy": result.energy_ev,
            "free_energy": result.energy_ev,
            "forces": result.forces,
        }
        if result.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(result.stress)
        if result.magmoms is not None:
            self.results["magmoms"] = result.magmoms
