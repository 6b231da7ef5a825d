"""RF: a quantile forest on what elements, cell, symmetry and frozen networks say of a crystal.

Predicting loads neither PyTorch nor scikit-learn: trees and networks are plain arrays in one
safetensors file.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.features.packed import PackedGraphs
from nanoos.kpoints.answers import Answerer, Card, check_elements
from nanoos.kpoints.base import DEFAULT_CONFIDENCE, KpointModelInfo, KpointPrediction
from nanoos.kpoints.calibration import LEVELS, RawQuantiles, SteppedCalibrator
from nanoos.kpoints.crystal_vectors import CrystalNetwork
from nanoos.kpoints.descriptors import kpoint_descriptors
from nanoos.kpoints.quantile_forest import QuantileForest
from nanoos.kpoints.quantile_network import QuantileNetwork, below
from nanoos.kpoints.weight_files import read_weights, written_weights
from nanoos.models.conformal import FloatArray
from nanoos.models.domain import DomainModel
from nanoos.potentials.installed_weights import weights_folder
from nanoos.structures import Structure

FAMILY: Final = "RF"
FORMAT: Final = 1
_KIND: Final = "k-point forest"
FILE: Final = "kpoints_rf.safetensors"
_SHIPPED: Final = Path(__file__).parent / "weights" / FILE
_CHUNK: Final = 256
SHARES: Final = tuple(
    sorted({0.5, *((1 - level) / 2 for level in LEVELS), *((1 + level) / 2 for level in LEVELS)})
)
"""Of the quantiles that the calibration starts from."""

_DIGITS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForestParts:
    """What gives raw quantiles.

    Attributes:
        elements: (104, n), table of the elements for the descriptors.
        forest: On descriptors and what the networks of ``trunks`` answer.
        trunks: Frozen networks of electronic properties; their answers are averaged.
        networks: Networks that learnt the length itself; their quantiles are averaged with those
            of the forest. May be empty.
        weight: Share of the networks in that mean, 0 to 1.
    """

    elements: npt.NDArray[np.float32]
    forest: QuantileForest
    trunks: tuple[CrystalNetwork, ...]
    networks: tuple[QuantileNetwork, ...] = ()
    weight: float = 0.0

    @property
    def k(self) -> int:
        """Neighbours of each atom in the graphs."""
        return self.trunks[0].k

    @property
    def cutoff(self) -> float:
        """Of the graphs, Å."""
        return self.trunks[0].cutoff

    def graphs(self, structures: Sequence[Structure]) -> PackedGraphs:
        """The graphs that the networks take."""
        return PackedGraphs.from_structures(structures, k=self.k, cutoff=self.cutoff)

    def columns(self, descriptors: FloatArray, graphs: PackedGraphs) -> FloatArray:
        """(n, n_columns): what the forest looks at."""
        return np.hstack([descriptors, trunk_answers(self.trunks, graphs)])

    def raw(self, structures: Sequence[Structure], graphs: PackedGraphs) -> RawQuantiles:
        """Quantiles of the length before calibration, Å."""
        descriptors = kpoint_descriptors(structures, self.elements)
        found = self.forest.quantiles(self.columns(descriptors, graphs), SHARES)
        if self.networks:
            learnt = [net.quantiles(graphs, descriptors, SHARES) for net in self.networks]
            found = (1 - self.weight) * found + self.weight * np.mean(learnt, axis=0)
        return raw_quantiles(found)


def trunk_answers(trunks: Sequence[CrystalNetwork], graphs: PackedGraphs) -> FloatArray:
    """(n_graphs, n_outputs), the mean of the networks' answers, normalised as in training.

    Rounded: an answer alone and one in a batch differ in the last digits, and a tree may part them.
    """
    n_outputs = len(trunks[0].outputs)
    answers = [net.describe(graphs)[:, :n_outputs] for net in trunks]
    return np.asarray(np.mean(answers, axis=0, dtype=np.float64).round(_DIGITS))


def raw_quantiles(found: FloatArray) -> RawQuantiles:
    """Quantiles (n, len(SHARES)) by level."""
    place = {round(share, 6): index for index, share in enumerate(SHARES)}
    return RawQuantiles(
        lower={level: found[:, place[round((1 - level) / 2, 6)]] for level in LEVELS},
        median=found[:, place[0.5]],
        upper={level: found[:, place[round((1 + level) / 2, 6)]] for level in LEVELS},
    )


class ForestKpointModel:
    """The RF family. Thread-safe: nothing changes after it was made.

    Args:
        parts: Give raw quantiles.
        answerer: Makes predictions of them.
    """

    def __init__(self, parts: ForestParts, answerer: Answerer) -> None:
        self.parts = parts
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
        found: list[KpointPrediction] = []
        for start in range(0, len(structures), _CHUNK):
            part = structures[start : start + _CHUNK]
            graphs = self.parts.graphs(part)
            raw = self.parts.raw(part, graphs)
            found += self.answerer.answer(part, graphs, raw, confidence)
        return found

    def save(self, path: Path) -> str:
        """Write one safetensors file (never half of it); its SHA-256."""
        parts, answerer = self.parts, self.answerer
        arrays: dict[str, npt.NDArray[Any]] = {"elements": parts.elements}
        arrays |= {f"forest.{n}": a for n, a in parts.forest.to_arrays().items()}
        arrays |= {f"domain.{n}": a for n, a in answerer.domain.to_arrays().items()}
        for index, trunk in enumerate(parts.trunks):
            arrays |= {f"trunk{index}.{n}": a for n, a in trunk.to_arrays().items()}
        for index, network in enumerate(parts.networks):
            arrays |= {f"network{index}.{n}": a for n, a in network.to_arrays().items()}
        header = {
            "format": FORMAT,
            "kind": _KIND,
            "card": asdict(answerer.card),
            "calibration": answerer.calibrator.to_dict(),
            "domain": answerer.domain.to_dict(),
            "trunks": [trunk.to_dict() for trunk in parts.trunks],
            "networks": [network.to_dict() for network in parts.networks],
            "weight": parts.weight,
        }
        return written_weights(path, arrays, header)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that :meth:`save` wrote; nothing in the file is executed.

        Raises:
            InvalidInputError: not such a file, or of another format; code ``invalid_weights``.
        """
        file = read_weights(path, kind=_KIND, newest=FORMAT)
        header, arrays = file.header, file.arrays
        parts = ForestParts(
            elements=arrays["elements"],
            forest=QuantileForest.from_arrays(below(arrays, "forest.")),
            trunks=tuple(
                CrystalNetwork.from_arrays(below(arrays, f"trunk{index}."), data)
                for index, data in enumerate(header["trunks"])
            ),
            networks=tuple(
                QuantileNetwork.from_arrays(below(arrays, f"network{index}."), data)
                for index, data in enumerate(header["networks"])
            ),
            weight=header["weight"],
        )
        answerer = Answerer(
            family=FAMILY,
            card=Card.from_dict(header["card"]),
            sha256=file.sha256,
            calibrator=SteppedCalibrator.from_dict(header["calibration"]),
            domain=DomainModel.from_arrays(below(arrays, "domain."), header["domain"]),
        )
        return cls(parts, answerer)


@cache
def present_forest() -> ForestKpointModel:
    """The RF model, loaded once: one's own from the folder of weights, else that of the package.

    Raises:
        InvalidInputError: one's own cannot be read.
    """
    own = weights_folder() / FILE
    return ForestKpointModel.load(own if own.exists() else _SHIPPED)
