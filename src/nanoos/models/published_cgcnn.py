"""The eight CGCNN networks of 2018, with the weights their authors published.

Ref: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), DOI 10.1103/PhysRevLett.120.145301;
code and weights github.com/txie-93/cgcnn (MIT). Trained on the Materials Project of 19 April
2017. The files are pickles of a dictionary; torch reads them with nothing but tensors, numbers
and strings allowed, so no code in them can run.

The weights go into our own network. Its linear map of (atom, neighbour, bond) is three maps, so
the published matrix is cut in three; the published embedding of a 92-number element vector
becomes a table with a row for each element; of the two outputs of the classifier only the
difference matters, which makes it one logit.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.models.base import ModelInfo, TestError
from nanoos.potentials.installed_weights import find_weights, how_to_get, require_weights
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS, SYMBOLS

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

NAME: Final = "CGCNN-2018"

NETWORKS: Final = (
    "formation-energy-per-atom",
    "band-gap",
    "efermi",
    "final-energy-per-atom",
    "bulk-moduli",
    "shear-moduli",
    "poisson-ratio",
    "semi-metal-classification",
)
"""The published names. Moduli are log10 of GPa, the classifier's output is the probability of a
metal."""

ELEMENTS: Final = frozenset(SYMBOLS[1:101])
"""Elements that have a vector; the training set has 87 of them."""

_NOTES: Final = (
    "Where the metal classifier says metal, the gap is set to 0: the gap network knows none.",
    "The weights saw the Materials Project of 2017: on crystals from there the error flatters.",
    "No interval and no confidence: none can be measured honestly on data that was seen.",
)

_MAX_NEIGHBORS = 12
_CUTOFF_A = 8.0
_BEYOND_A = 1.0  # where the published graph puts a missing neighbour, beyond the cutoff
_CIF_DIGITS = 8
_CIF_SPECIAL = 1e-4
_SAME_A = 1e-8
_BATCH = 64

_METAL_FROM = 0.5


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    unit: str
    network: str


_PROPERTIES: Final = (
    _Property("bandgap", "eV", "band-gap"),
    _Property("formation_energy", "eV/atom", "formation-energy-per-atom"),
    _Property("fermi_energy", "eV", "efermi"),
    _Property("bulk_modulus", "GPa", "bulk-moduli"),
    _Property("shear_modulus", "GPa", "shear-moduli"),
    _Property("poisson_ratio", "1", "poisson-ratio"),
    _Property("is_metal", "1", "semi-metal-classification"),
)

_FUNCTIONAL = "PBE/PBE+U"
_LEVELS: Final[Mapping[str, LevelOfTheory]] = {
    p.name: LevelOfTheory(
        functional=_FUNCTIONAL,
        corrections="Materials Project 2017" if p.name == "formation_energy" else "none",
        reference="Materials Project elements" if p.name == "formation_energy" else "none",
    )
    for p in _PROPERTIES
}

_PAPER = "the authors' test set (Phys. Rev. Lett. 120, 145301); our crystals are seen in training"


def _published(mae: float, unit: str) -> tuple[TestError, ...]:
    return (TestError(mae=mae, unit=unit, n=None, source=_PAPER, seen_in_training=False),)


_TEST_ERRORS: Final[Mapping[str, tuple[TestError, ...]]] = {
    "formation_energy": _published(0.039, "eV/atom"),
    "bandgap": _published(0.388, "eV"),
    "fermi_energy": _published(0.363, "eV"),
    "bulk_modulus": _published(0.054, "log10(GPa)"),
    "shear_modulus": _published(0.087, "log10(GPa)"),
    "poisson_ratio": _published(0.030, "1"),
}


class PublishedCGCNN:
    """The published networks behind one interface; available once their weights are added."""

    name: ClassVar[str] = NAME
    version: ClassVar[str] = "2018"

    def info(self) -> ModelInfo:
        """What it is, without loading torch."""
        weights = find_weights(NAME)
        return ModelInfo(
            name=NAME,
            version=self.version,
            available=weights is not None,
            description=(
                "The crystal graph networks that Xie and Grossman published in 2018, in our "
                "network; for comparison with the literature."
            ),
            supported_properties=tuple(p.name for p in _PROPERTIES),
            weights_sha256=None if weights is None else weights.sha256,
            test_error=_TEST_ERRORS,
            level_of_theory=_LEVELS,
            notes=_NOTES,
            license="MIT",
            seen_in_training="Materials Project, 19 April 2017: most crystals of any public subset",
            unavailable_reason=None if weights else "its published weights are not on this machine",
            install_command=None if weights else how_to_get(NAME),
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """Seven properties of each structure as given; no interval, for none was measured.

        Raises:
            InvalidInputError: an element has no vector in the published table.
            UnavailableError: the weights are not on this machine.
        """
        del ids
        for structure in structures:
            missing = sorted(set(structure.species) - ELEMENTS)
            if missing:
                raise InvalidInputError(
                    f"{NAME} has no vector for {', '.join(missing)}.",
                    hint="Its table ends with fermium.",
                    code="uncovered_element",
                )
        weights = require_weights(NAME)
        if not structures:
            return []
        outputs = published_outputs(structures, weights.folder)
        provenance = Provenance(producer=NAME, version=self.version, weights_sha256=weights.sha256)
        return [
            Prediction(
                properties={
                    p.name: PropertyValue(
                        value=_value(p, {k: float(v[i]) for k, v in outputs.items()}),
                        unit=p.unit,
                        level_of_theory=_LEVELS[p.name],
                    )
                    for p in _PROPERTIES
                },
                provenance=provenance,
                notes=_NOTES,
            )
            for i in range(len(structures))
        ]


def _value(wanted: _Property, outputs: Mapping[str, float]) -> float:
    """The property in its unit from what the networks say."""
    raw = outputs[wanted.network]
    if wanted.name == "bandgap":
        return 0.0 if outputs["semi-metal-classification"] >= _METAL_FROM else max(0.0, raw)
    return float(10.0**raw) if wanted.unit == "GPa" else raw


def published_outputs(
    structures: Sequence[Structure], folder: Path, *, networks: Sequence[str] = NETWORKS
) -> dict[str, npt.NDArray[np.float64]]:
    """What the published code prints, network by network.

    Args:
        structures: At least one.
        folder: Holds the published files.
        networks: Which, of :data:`NETWORKS`.

    Returns:
        Name of the network to (n_structures,): eV/atom, eV, eV, eV/atom, log10 of GPa twice, 1,
        and the probability of a metal.
    """
    import torch

    from nanoos.models.networks.arithmetic import denormals_as_zero
    from nanoos.potentials.runtime import apply_threads

    apply_threads()
    found: dict[str, list[Any]] = {name: [] for name in networks}
    with denormals_as_zero(), torch.inference_mode():
        for start in range(0, len(structures), _BATCH):
            batch = _graphs(structures[start : start + _BATCH])
            for name in networks:
                found[name].append(_network(folder, name)(batch).numpy())
    return {name: np.concatenate(parts).astype(np.float64) for name, parts in found.items()}


def _graphs(structures: Sequence[Structure]) -> Any:
    """The published graphs of several structures as one batch."""
    from nanoos.features.packed import PackedGraphs
    from nanoos.models.networks.batch import GraphBatch

    parts = [published_neighbors(structure) for structure in structures]
    neighbors, distances = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    numbers = [number for structure in structures for number in structure.atomic_numbers]
    graphs = PackedGraphs(
        k=_MAX_NEIGHBORS,
        sizes=np.array([structure.n_sites for structure in structures], dtype=np.int64),
        atomic_numbers=np.array(numbers, dtype=np.uint8),
        neighbors=neighbors,
        distances=distances,
        vectors=np.zeros((*distances.shape, 3), dtype=np.float32),
        shares=np.ones_like(distances),
    )
    return GraphBatch.from_graphs(graphs)


def published_neighbors(structure: Structure) -> tuple[IntArray, FloatArray]:
    """Site index (n_sites, 12) and distance in Å (n_sites, 12) of the published graph.

    A missing neighbour is the first atom of the crystal, 1 Å beyond the cutoff. Where several
    atoms are equally far and only some fit into the twelve, the published code takes those that
    are nearer by the rounding error of a crystal read from a CIF file by pymatgen. Their kinds
    can differ, so the cell is written in the orientation and to the digits of such a file, and
    nothing but the distance is sorted by.
    """
    from pymatgen.core.lattice import Lattice
    from pymatgen.optimization.neighbors import find_points_in_spheres

    lattice = Lattice(structure.lattice)
    matrix = Lattice.from_parameters(*np.round(lattice.parameters, _CIF_DIGITS)).matrix
    coords = np.round(structure.frac_coords, _CIF_DIGITS)
    for third in (1 / 3, 2 / 3):  # what the reader takes for a special position
        coords[np.abs(coords / third - 1.0) < _CIF_SPECIAL] = third
    coords %= 1.0
    positions = np.ascontiguousarray(coords @ matrix)
    centers, neighbors, _, distances = find_points_in_spheres(
        positions,
        positions,
        r=_CUTOFF_A,
        pbc=np.array([1, 1, 1], dtype=np.int64),
        lattice=np.array(matrix),
        tol=_SAME_A,
    )
    other = (centers != neighbors) | (distances > _SAME_A)
    centers, neighbors, distances = centers[other], neighbors[other], distances[other]
    order = np.lexsort((distances, centers))  # stable: ties keep the order of the search
    counts = np.bincount(centers, minlength=structure.n_sites)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    order, rank = order[rank < _MAX_NEIGHBORS], rank[rank < _MAX_NEIGHBORS]
    shape = (structure.n_sites, _MAX_NEIGHBORS)
    index, length = np.zeros(shape, dtype=np.int32), np.full(shape, _CUTOFF_A + _BEYOND_A)
    index[centers[order], rank] = neighbors[order]
    length[centers[order], rank] = distances[order]
    return index, length.astype(np.float32)


@cache
def _network(folder: Path, name: str) -> Any:
    """One published network: a batch in, (n_graphs,) in the published unit out."""
    import torch

    from nanoos.models.networks.cgcnn import CGCNN, CGCNNParameters

    checkpoint = read_checkpoint(folder / f"{name}.pth.tar")
    state, arguments = checkpoint["state_dict"], checkpoint["args"]
    parameters = CGCNNParameters(
        hidden_dim=arguments["atom_fea_len"],
        num_layers=arguments["n_conv"],
        head_dim=arguments["h_fea_len"],
        dropout=0.0,
        max_neighbors=_MAX_NEIGHBORS,
        cutoff=_CUTOFF_A,
    )
    network = CGCNN(parameters, (name,))
    table = _element_table(folder, state)
    network.elements = torch.nn.Embedding(table.shape[0], table.shape[1], _weight=table)
    network.load_state_dict(_our_state(state, arguments), strict=False)
    network.eval().requires_grad_(requires_grad=False)
    mean, std = float(checkpoint["normalizer"]["mean"]), float(checkpoint["normalizer"]["std"])
    classifier = arguments["task"] == "classification"

    def run(batch: Any) -> Any:
        output = network(batch)[:, 0]
        return torch.sigmoid(output) if classifier else output * std + mean

    return run


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary of a published file; no code in it is run.

    Raises:
        InvalidInputError: it holds anything but tensors and plain values, or is not a checkpoint.
    """
    import pickle  # only for the name of its error: torch's own reader loads the file

    import torch

    plain: list[Any] = [
        (import_module("numpy._core.multiarray").scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        np.dtypes.Float64DType,
    ]
    try:
        with torch.serialization.safe_globals(plain), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InvalidInputError(
            f"{path.name} is not a checkpoint of CGCNN, or holds more than numbers.",
            hint="Take the files of github.com/txie-93/cgcnn, folder pre-trained.",
            code="unreadable_weights",
        ) from error
    if not isinstance(found, dict) or not {"state_dict", "args", "normalizer"} <= set(found):
        raise InvalidInputError(
            f"{path.name} is not a checkpoint of CGCNN.", code="unreadable_weights"
        )
    return found


def _element_table(folder: Path, state: Mapping[str, Any]) -> Any:
    """(101, hidden_dim): row Z is the published embedding of the element's vector."""
    import torch

    vectors = json.loads((folder / "atom_init.json").read_text(encoding="utf-8"))
    table = torch.zeros(len(vectors) + 1, state["embedding.weight"].shape[0])
    for symbol in ELEMENTS:
        number = ATOMIC_NUMBERS[symbol]
        vector = torch.tensor(vectors[str(number)], dtype=torch.float32)
        table[number] = state["embedding.weight"] @ vector + state["embedding.bias"]
    return table


def _our_state(state: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The published tensors under the names of our network."""
    dim = arguments["atom_fea_len"]
    ours: dict[str, Any] = {}
    for i in range(arguments["n_conv"]):
        theirs, here = f"convs.{i}", f"convolutions.{i}"
        matrix = state[f"{theirs}.fc_full.weight"]
        ours[f"{here}.atom.weight"] = matrix[:, :dim]
        ours[f"{here}.atom.bias"] = state[f"{theirs}.fc_full.bias"]
        ours[f"{here}.neighbor.weight"] = matrix[:, dim : 2 * dim]
        ours[f"{here}.bond.weight"] = matrix[:, 2 * dim :]
        for published, norm in (("bn1", "message_norm"), ("bn2", "sum_norm")):
            for part in ("weight", "bias", "running_mean", "running_var"):
                ours[f"{here}.{norm}.{part}"] = state[f"{theirs}.{published}.{part}"]
    last, bias = state["fc_out.weight"], state["fc_out.bias"]
    if arguments["task"] == "classification":
        last, bias = last[1:] - last[:1], bias[1:] - bias[:1]
    ours["heads.0.1.weight"] = state["conv_to_fc.weight"]
    ours["heads.0.1.bias"] = state["conv_to_fc.bias"]
    ours["heads.0.4.weight"] = last
    ours["heads.0.4.bias"] = bias
    return ours
