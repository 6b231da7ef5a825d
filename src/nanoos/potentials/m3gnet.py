"""M3GNet and TensorNet, universal potentials of matgl, with their published weights.

Refs: Chen and Ong, Nature Computational Science 2, 718 (2022), DOI 10.1038/s43588-022-00349-3
(M3GNet); Simeon and de Fabritiis, NeurIPS 2023, arXiv:2306.06482 (TensorNet); Kaplan et al.,
arXiv:2503.04070 (MatPES). Weights are not shipped: ``nanoos models pull`` or ``add``. One class
for each training set, because their energies are of different levels of theory and never mix:
MP-2021.2.8 carries the Materials Project's +U and no corrections, MatPES has no +U at all.
"""

import copy
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from nanoos.core.errors import UnavailableError
from nanoos.core.records import LevelOfTheory
from nanoos.potentials.base import FloatArray, PotentialResult, batches, check_coverage
from nanoos.potentials.coverage import MPTRJ_ELEMENTS
from nanoos.potentials.installed_weights import require_weights
from nanoos.structures import Structure

_EV_A3_IN_GPA = 160.21766208
"""What the library multiplies a stress in eV/Å^3 with."""


class MatglPotential:
    """A potential of matgl behind the common interface; a subclass says which weights."""

    name: ClassVar[str]
    version: ClassVar[str]
    weights: ClassVar[str]
    level_of_theory: ClassVar[LevelOfTheory]
    provides_magmoms = False

    def __init__(self, *, device: str = "cpu") -> None:
        self.check_available()
        from nanoos.potentials.matgl_networks import load_potential_network
        from nanoos.potentials.runtime import apply_threads, torch_device

        self.device = torch_device(device)
        apply_threads()
        installed = require_weights(self.weights)
        self.weights_sha256 = installed.sha256
        with_stress = load_potential_network(installed.folder, self.device, name=self.weights)
        with_forces = copy.copy(with_stress)
        with_forces.calc_stresses = False
        energy_only = copy.copy(with_forces)
        energy_only.calc_forces = False
        self._with_stress, self._with_forces, self._energy_only = (
            with_stress,
            with_forces,
            energy_only,
        )

    @classmethod
    def check_available(cls) -> None:
        """Raise UnavailableError where it cannot run here; loads nothing."""
        require_weights(cls.weights)
        if find_spec("matgl") is None:
            raise UnavailableError(
                f"{cls.name} needs the Python package 'matgl'.", hint="pip install 'nanoos[ml]'"
            )

    @property
    def elements(self) -> frozenset[str]:
        """The 89 elements of the Materials Project."""
        return MPTRJ_ELEMENTS

    @property
    def software(self) -> dict[str, str]:
        """Versions of matgl, torch and torch_geometric."""
        return {name: version(name) for name in ("matgl", "torch", "torch_geometric")}

    def compute(
        self, structures: Sequence[Structure], *, stress: bool = True, batch_size: int = 16
    ) -> list[PotentialResult]:
        """Energy, forces and stress; see :class:`Potential`."""
        check_coverage(self, structures)
        network = self._with_stress if stress else self._with_forces
        results: list[PotentialResult] = []
        for batch in batches(structures, batch_size):
            energies, forces, tensors, *_ = self._run(network, batch)
            per_cell = _numbers(energies)
            per_atom = _numbers(forces)
            stresses = _numbers(tensors).reshape(-1, 3, 3) / _EV_A3_IN_GPA if stress else None
            start = 0
            for i, structure in enumerate(batch):
                end = start + structure.n_sites
                tensor = None if stresses is None else 0.5 * (stresses[i] + stresses[i].T)
                results.append(
                    PotentialResult(
                        energy_ev=float(per_cell.reshape(-1)[i]),
                        energy_ev_per_atom=float(per_cell.reshape(-1)[i]) / structure.n_sites,
                        forces=per_atom[start:end],
                        stress=tensor,
                    )
                )
                start = end
        return results

    def energies(self, structures: Sequence[Structure], *, batch_size: int = 16) -> FloatArray:
        """(n_structures,), total energies in eV."""
        check_coverage(self, structures)
        found = [
            _numbers(self._run(self._energy_only, batch)[0]).reshape(-1)
            for batch in batches(structures, batch_size)
        ]
        return np.concatenate(found) if found else np.zeros(0)

    def ase_calculator(self) -> Any:
        """A calculator for ASE."""
        from nanoos.potentials.ase_adapter import PotentialCalculator

        return PotentialCalculator(self)

    def _run(self, network: Any, batch: list[Structure]) -> Any:
        from nanoos.potentials.matgl_networks import SPARSE_METALS, graph_batch

        graph, lattices = graph_batch(batch, network.model, may_be_isolated=SPARSE_METALS)
        return network(graph.to(self.device), lattices.to(self.device))


def _numbers(tensor: Any) -> FloatArray:
    return np.asarray(tensor.detach().cpu().double().numpy())


class M3GNetMP(MatglPotential):
    """M3GNet of matgl, trained on MPF.2021.2.8 (relaxations of 63,000 crystals)."""

    name = "M3GNET"
    version = "MP-2021.2.8"
    weights = "M3GNet-MP-2021.2.8-PES"
    level_of_theory = LevelOfTheory(functional="PBE/PBE+U", corrections="none", reference="none")


class M3GNetMatPESPBE(MatglPotential):
    """M3GNet trained on MatPES v2025.1 with PBE."""

    name = "M3GNET-MatPES-PBE"
    version = "MatPES-PBE-v2025.1"
    weights = "M3GNet-MatPES-PBE-v2025.1-PES"
    level_of_theory = LevelOfTheory(functional="PBE", corrections="none", reference="none")


class M3GNetMatPESr2SCAN(MatglPotential):
    """M3GNet trained on MatPES v2025.1 with r2SCAN."""

    name = "M3GNET-MatPES-r2SCAN"
    version = "MatPES-r2SCAN-v2025.1"
    weights = "M3GNet-MatPES-r2SCAN-v2025.1-PES"
    level_of_theory = LevelOfTheory(functional="r2SCAN", corrections="none", reference="none")


class TensorNetMatPESPBE(MatglPotential):
    """TensorNet trained on MatPES v2025.1 with PBE."""

    name = "TensorNet-MatPES-PBE"
    version = "MatPES-PBE-v2025.1"
    weights = "TensorNet-MatPES-PBE-v2025.1-PES"
    level_of_theory = LevelOfTheory(functional="PBE", corrections="none", reference="none")


class TensorNetMatPESr2SCAN(MatglPotential):
    """TensorNet trained on MatPES v2025.1 with r2SCAN."""

    name = "TensorNet-MatPES-r2SCAN"
    version = "MatPES-r2SCAN-v2025.1"
    weights = "TensorNet-MatPES-r2SCAN-v2025.1-PES"
    level_of_theory = LevelOfTheory(functional="r2SCAN", corrections="none", reference="none")
