"""SevenNet-0 (11 July 2024), a universal equivariant potential.

Ref: Park et al., J. Chem. Theory Comput. 20, 4857 (2024), DOI 10.1021/acs.jctc.4c00190.
Weights ship in the ``sevenn`` package (MIT from 0.13). Trained on MPtrj (PBE/PBE+U) with the
uncorrected energies: its oxides carry no oxygen correction, and a compound that the Materials
Project treats with +U stands on another scale than its elements, so its formation energy is
too high by 1 to 3 eV for each such metal atom.
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

from nanoos.core.errors import UnavailableError
from nanoos.core.records import LevelOfTheory
from nanoos.features.neighbors import neighbor_list
from nanoos.potentials.base import FloatArray, PotentialResult, batches, check_coverage
from nanoos.potentials.coverage import MPTRJ_ELEMENTS
from nanoos.potentials.runtime import apply_threads, torch_device
from nanoos.potentials.weights import file_sha256, packaged_weights
from nanoos.structures import Structure

with warnings.catch_warnings():  # e3nn and sevenn compile with what newer torch deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    import sevenn._keys as key
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.util import load_checkpoint
    from torch_geometric.data import Batch

_SPARSE_METALS = frozenset({"Rb", "Cs"})
"""Their own metals have next to no neighbour within the 5 Å cutoff. The network was trained on
these metals, so what it says of a lone atom of them is the energy of the metal."""

_VOIGT = ((0, 3, 5), (3, 1, 4), (5, 4, 2))
"""Where the library's order xx, yy, zz, xy, yz, zx goes in the tensor."""


class SevenNetPotential:
    """SevenNet-0 behind the common interface; one graph batch through the network a call."""

    name = "SevenNet"
    version = "0-11July2024"
    provides_magmoms = False
    level_of_theory = LevelOfTheory(functional="PBE/PBE+U", corrections="none", reference="none")

    def __init__(self, *, device: str = "cpu") -> None:
        self.device = torch_device(device)
        apply_threads()
        path = packaged_weights("SevenNet")
        if path is None:
            raise UnavailableError(
                "The weights of SevenNet are not in its package.",
                hint="pip install --force-reinstall sevenn",
            )
        self._weights = path
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # deprecations inside e3nn, no accelerator found
            model = load_checkpoint(str(self._weights)).build_model()
        model.set_is_batch_data(True)
        model.eval_type_map = True
        self._model = model.to(self.device).eval()
        self._model.requires_grad_(requires_grad=False)
        self._cutoff = float(model.cutoff)

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
        """Versions of sevenn, e3nn and torch."""
        return {name: version(name) for name in ("sevenn", "e3nn", "torch")}

    def compute(
        self, structures: Sequence[Structure], *, stress: bool = True, batch_size: int = 16
    ) -> list[PotentialResult]:
        """Energy, forces and stress; see :class:`Potential`. The stress costs nothing extra."""
        check_coverage(self, structures)
        results: list[PotentialResult] = []
        for batch in batches(structures, batch_size):
            output = self._model(self._graph(batch))
            energies = output[key.PRED_TOTAL_ENERGY].detach().cpu().double().numpy().reshape(-1)
            forces = output[key.PRED_FORCE].detach().cpu().double().numpy()
            tensors = -output[key.PRED_STRESS].detach().cpu().double().numpy().reshape(-1, 6)
            start = 0
            for energy, voigt, structure in zip(energies, tensors, batch, strict=True):
                end = start + structure.n_sites
                results.append(
                    PotentialResult(
                        energy_ev=float(energy),
                        energy_ev_per_atom=float(energy) / structure.n_sites,
                        forces=forces[start:end],
                        stress=voigt[np.array(_VOIGT)] if stress else None,
                    )
                )
                start = end
        return results

    def energies(self, structures: Sequence[Structure], *, batch_size: int = 16) -> FloatArray:
        """(n_structures,), total energies in eV."""
        check_coverage(self, structures)
        found = []
        with torch.no_grad():
            for batch in batches(structures, batch_size):
                data = self._model._preprocess(self._graph(batch))  # noqa: SLF001
                for module in self._layers_before_gradients():
                    data = module(data)
                total = data[key.PRED_TOTAL_ENERGY].cpu().double().numpy()
                found.append(total.reshape(-1))
        return np.concatenate(found) if found else np.zeros(0)

    def ase_calculator(self) -> Any:
        """A calculator for ASE."""
        from nanoos.potentials.ase_adapter import PotentialCalculator

        return PotentialCalculator(self)

    def _layers_before_gradients(self) -> Iterator[Any]:
        for name, module in self._model._modules.items():  # noqa: SLF001
            if name != "force_output":
                yield module

    def _graph(self, batch: list[Structure]) -> Any:
        graphs = []
        for structure in batch:
            pairs = neighbor_list(structure, self._cutoff, may_be_isolated=_SPARSE_METALS)
            numbers = torch.tensor(structure.atomic_numbers)
            graphs.append(
                AtomGraphData(
                    **{
                        key.NODE_FEATURE: numbers,
                        key.ATOMIC_NUMBERS: numbers,
                        key.POS: torch.tensor(structure.cart_coords, dtype=torch.float32),
                        key.EDGE_IDX: torch.tensor(np.stack([pairs.centers, pairs.neighbors])),
                        key.EDGE_VEC: torch.tensor(pairs.vectors(structure), dtype=torch.float32),
                        key.CELL_VOLUME: torch.tensor(structure.volume, dtype=torch.float32),
                        key.NUM_ATOMS: torch.tensor(structure.n_sites),
                    }
                )
            )
        return Batch.from_data_list(graphs).to(self.device)
