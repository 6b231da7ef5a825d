"""ALIGNN: a line graph network with quantile outputs for the k-point length.

The trunk is ``models/networks/alignn.py``; its head sees the vector of the crystal beside the
descriptors of cell and symmetry that RF looks at too, because a graph knows nothing of the cell.
"""

import threading
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import UnavailableError
from nanoos.features.packed import PackedGraphs
from nanoos.kpoints.answers import Answerer, Card, check_elements
from nanoos.kpoints.base import DEFAULT_CONFIDENCE, KpointModelInfo, KpointPrediction
from nanoos.kpoints.calibration import SteppedCalibrator
from nanoos.kpoints.descriptors import kpoint_descriptors
from nanoos.kpoints.forest_model import SHARES, raw_quantiles
from nanoos.kpoints.quantile_network import QuantileHead, below
from nanoos.kpoints.weight_files import read_weights, written_weights
from nanoos.models.domain import DomainModel
from nanoos.structures import Structure

if TYPE_CHECKING:
    from nanoos.models.networks.alignn import ALIGNN

FAMILY: Final = "ALIGNN"
FORMAT: Final = 1
_KIND: Final = "k-point ALIGNN"
_FILE: Final = Path(__file__).parent / "weights" / "kpoints_alignn.safetensors"
_CHUNK: Final = 64


class AlignnKpointModel:
    """The ALIGNN family. Thread-safe: the network is only read.

    Args:
        network: The trunk, without read-outs.
        head: Makes quantiles of its vectors.
        elements: (104, n), table of the elements for the descriptors.
        answerer: Makes predictions of the quantiles.
    """

    def __init__(
        self,
        network: "ALIGNN",
        head: QuantileHead,
        elements: npt.NDArray[np.float32],
        answerer: Answerer,
    ) -> None:
        self.network = network.eval()
        self.head = head
        self.elements = elements
        self.answerer = answerer

    def info(self) -> KpointModelInfo:
        """What it is."""
        return self.answerer.card.info(FAMILY, self.answerer.sha256)

    def predict(
        self, structures: Sequence[Structure], *, confidence: float = DEFAULT_CONFIDENCE
    ) -> list[KpointPrediction]:
        """One prediction for each structure, in order.

        Raises:
            InvalidInputError: a level that is not calibrated (code ``unknown_level``), or an
                element beyond Lr (code ``unknown_element``).
        """
        self.answerer.calibrator.index(confidence)
        check_elements(structures)
        shape = self.network.parameters_used
        found: list[KpointPrediction] = []
        for start in range(0, len(structures), _CHUNK):
            part = structures[start : start + _CHUNK]
            graphs = PackedGraphs.from_structures(part, k=shape.max_neighbors, cutoff=shape.cutoff)
            descriptors = kpoint_descriptors(part, self.elements)
            raw = raw_quantiles(self.head.quantiles(self.vectors(graphs), descriptors, SHARES))
            found += self.answerer.answer(part, graphs, raw, confidence)
        return found

    def vectors(self, graphs: PackedGraphs) -> npt.NDArray[np.float32]:
        """(n_graphs, hidden_dim), the mean over the atoms of each crystal."""
        import torch

        from nanoos.models.graph_outputs import batches
        from nanoos.models.networks.arithmetic import denormals_as_zero
        from nanoos.models.networks.batch import GraphBatch

        found = []
        with denormals_as_zero(), torch.inference_mode():
            for part in batches(graphs):
                batch = GraphBatch.from_graphs(part)
                found.append(batch.mean_over_atoms(self.network.atom_vectors(batch)).numpy())
        return np.concatenate(found)

    def save(self, path: Path) -> str:
        """Write one safetensors file (never half of it); its SHA-256."""
        answerer = self.answerer
        arrays: dict[str, npt.NDArray[Any]] = {"elements": self.elements}
        arrays |= {f"domain.{n}": a for n, a in answerer.domain.to_arrays().items()}
        arrays |= {f"head.{n}": a for n, a in self.head.to_arrays().items()}
        arrays |= {f"trunk.{n}": t.detach().numpy() for n, t in self.network.state_dict().items()}
        header = {
            "format": FORMAT,
            "kind": _KIND,
            "card": asdict(answerer.card),
            "calibration": answerer.calibrator.to_dict(),
            "domain": answerer.domain.to_dict(),
            "head": self.head.to_dict(),
            "parameters": asdict(self.network.parameters_used),
        }
        return written_weights(path, arrays, header)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that :meth:`save` wrote; nothing in the file is executed.

        Raises:
            InvalidInputError: not such a file, or of another format; code ``invalid_weights``.
        """
        import torch

        from nanoos.models.networks.alignn import ALIGNN, ALIGNNParameters
        from nanoos.models.networks.layers import weights_follow

        file = read_weights(path, kind=_KIND, newest=FORMAT)
        with weights_follow():
            network = ALIGNN(ALIGNNParameters(**file.header["parameters"]), ())
        network.load_state_dict(
            {name: torch.from_numpy(array) for name, array in below(file.arrays, "trunk.").items()}
        )
        answerer = Answerer(
            family=FAMILY,
            card=Card.from_dict(file.header["card"]),
            sha256=file.sha256,
            calibrator=SteppedCalibrator.from_dict(file.header["calibration"]),
            domain=DomainModel.from_arrays(below(file.arrays, "domain."), file.header["domain"]),
        )
        head = QuantileHead.from_arrays(below(file.arrays, "head."), file.header["head"])
        return cls(network, head, file.arrays["elements"], answerer)


_LOADING: Final = threading.Lock()


def shipped_alignn() -> AlignnKpointModel:
    """The ALIGNN model of the package, loaded once.

    Raises:
        UnavailableError: this version of the package comes without its weights, or PyTorch is
            not installed.
    """
    if not _FILE.is_file():
        raise UnavailableError(
            "This version of nanoos comes without the weights of the ALIGNN k-point model.",
            hint="Use the model RF.",
            code="model_unavailable",
        )
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> AlignnKpointModel:
    try:
        return AlignnKpointModel.load(_FILE)
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"ALIGNN needs the Python package {error.name!r}.", hint="pip install 'nanoos[ml]'"
        ) from error
