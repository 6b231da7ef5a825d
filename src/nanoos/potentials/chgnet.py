"""CHGNet 0.3.0, a universal potential with magnetic moments.

Ref: Deng et al., Nature Machine Intelligence 5, 1031 (2023), DOI 10.1038/s42256-023-00716-3.
Weights ship in the ``chgnet`` package (BSD-3-Clause-LBNL). Trained on MPtrj (PBE/PBE+U) with
energies after the MaterialsProject2020 compatibility corrections, so its oxides already carry
the oxygen correction and its elements none: formation energies against its own elements are
on the corrected scale. It softens the potential energy surface: bulk moduli and phonons come
out low (Deng et al., npj Comput. Mater. 11, 9 (2025), DOI 10.1038/s41524-024-01500-6).
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from chgnet.graph.crystalgraph import CrystalGraph
from chgnet.model.model import BatchedGraph, CHGNet

from nanoos.core.errors import UnavailableError
from nanoos.core.records import LevelOfTheory
from nanoos.features.neighbors import neighbor_list
from nanoos.potentials.base import FloatArray, PotentialResult, batches, check_coverage
from nanoos.potentials.coverage import MPTRJ_ELEMENTS
from nanoos.potentials.runtime import apply_threads, torch_device
from nanoos.potentials.weights import file_sha256, packaged_weights
from nanoos.structures import Structure


class CHGNetPotential:
    """CHGNet 0.3.0 behind the common interface; one graph batch through the network a call."""

    name = "CHGNet"
    version = "0.3.0"
    provides_magmoms = True
    level_of_theory = LevelOfTheory(functional="PBE/PBE+U", corrections="MP2020", reference="none")

    def __init__(self, *, device: str = "cpu") -> None:
        self.device = torch_device(device)
        apply_threads()
        path = packaged_weights("CHGNet")
        if path is None:
            raise UnavailableError(
                "The weights of CHGNet are not in its package.",
                hint="pip install --force-reinstall chgnet",
            )
        self._weights = path
        with contextlib.redirect_stdout(io.StringIO()):  # the library announces itself
            self._model = CHGNet.load(use_device=self.device, verbose=False).eval()
        self._model.requires_grad_(requires_grad=False)
        self._converter: Any = self._model.graph_converter

    @property
    def elements(self) -> frozenset[str]:
        """The 89 elements of MPtrj."""
        return MPTRJ_ELEMENTS

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the checkpoint file."""
        return file_sha256(self._weights)

    @property
    def software(self) -> dict[str, str]:
        """Versions of chgnet and torch."""
        return {"chgnet": version("chgnet"), "torch": version("torch")}

    def compute(
        self, structures: Sequence[Structure], *, stress: bool = True, batch_size: int = 16
    ) -> list[PotentialResult]:
        """Energy, forces, stress and magnetic moments; see :class:`Potential`.

        One backward pass gives forces and stress of the whole batch. The library's own
        ``predict_graph`` gives the same numbers at about twice the cost, because it keeps the
        graph of the gradients for training.
        """
        check_coverage(self, structures)
        return [
            result
            for batch in batches(structures, batch_size)
            for result in self._compute_batch(batch, stress=stress)
        ]

    def energies(self, structures: Sequence[Structure], *, batch_size: int = 16) -> FloatArray:
        """(n_structures,), total energies in eV."""
        check_coverage(self, structures)
        totals: list[float] = []
        for batch in batches(structures, batch_size):
            with torch.no_grad(), _quiet():
                output = self._model([self._graph(s) for s in batch], task="e")
            per_atom = output["e"].cpu().double().numpy()
            totals.extend(float(e) * s.n_sites for e, s in zip(per_atom, batch, strict=True))
        return np.array(totals, dtype=np.float64)

    def ase_calculator(self) -> Any:
        """A calculator for ASE."""
        from nanoos.potentials.ase_adapter import PotentialCalculator

        return PotentialCalculator(self)

    def _compute_batch(self, batch: list[Structure], *, stress: bool) -> list[PotentialResult]:
        graphs = [self._graph(s) for s in batch]
        model = self._model
        with _quiet():
            batched = BatchedGraph.from_graphs(
                graphs,
                bond_basis_expansion=model.bond_basis_expansion,
                angle_basis_expansion=model.angle_basis_expansion,
                compute_stress=stress,
            )
            output = model._compute(batched, compute_magmom=True)  # noqa: SLF001
        counts = output["atoms_per_graph"]
        leaves = [*batched.atom_positions, *(batched.strains if stress else [])]
        gradients = [
            g.detach().cpu().double().numpy()
            for g in torch.autograd.grad((output["e"] * counts).sum(), leaves)
        ]
        with torch.no_grad():
            per_atom = (output["e"] + model.composition_model(graphs)).cpu().double().numpy()
        results = []
        for i, structure in enumerate(batch):
            tensor = None
            if stress:
                tensor = gradients[len(batch) + i] / structure.volume
                tensor = 0.5 * (tensor + tensor.T)
            results.append(
                PotentialResult(
                    energy_ev=float(per_atom[i]) * structure.n_sites,
                    energy_ev_per_atom=float(per_atom[i]),
                    forces=-gradients[i],
                    stress=tensor,
                    magmoms=output["m"][i].detach().cpu().double().numpy(),
                )
            )
        return results

    def _graph(self, structure: Structure) -> CrystalGraph:
        """The library's own graph, from our neighbour list."""
        pairs = neighbor_list(structure, self._converter.atom_graph_cutoff)
        images = pairs.images
        graph = self._converter.create_graph(
            structure.n_sites, pairs.centers, pairs.neighbors, images, pairs.distances
        )
        atom_graph, directed2undirected = graph.adjacency_list()
        bond_graph, undirected2directed = graph.line_graph_adjacency_list(
            cutoff=self._converter.bond_graph_cutoff
        )
        lattice = torch.tensor(structure.lattice, dtype=torch.float32, requires_grad=True)
        coords = torch.tensor(structure.frac_coords, dtype=torch.float32, requires_grad=True)
        return CrystalGraph(
            atomic_number=_integers(structure.atomic_numbers),
            atom_frac_coord=coords,
            atom_graph=_integers(atom_graph),
            neighbor_image=torch.tensor(images, dtype=torch.float32),
            directed2undirected=_integers(directed2undirected),
            undirected2directed=_integers(undirected2directed),
            bond_graph=_integers(bond_graph),
            lattice=lattice,
            atom_graph_cutoff=self._converter.atom_graph_cutoff,
            bond_graph_cutoff=self._converter.bond_graph_cutoff,
        ).to(self.device)


def _integers(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide chgnet's conversion of a tensor of volumes, which newer torch warns about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Converting a tensor with requires_grad", UserWarning)
        yield
