"""Crystal graphs as bytes: in the layout of a safetensors file, and as npz for people.

The stored form keeps what the rest follows from: positions, lattice, and for each bond its
target and image. Distances, vectors and atom features are computed when it is read.
"""

import io
import json
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.features.extraction import FeatureParameters
from nanoos.features.graph import ATOM_FEATURES, CrystalGraph, graph_of_bonds
from nanoos.features.neighbors import NeighborList

FEATURE_VERSION: Final = "1"
"""Changes whenever the same structure and parameters give other features, or another layout."""

_DTYPES: Final[Mapping[str, npt.DTypeLike]] = {
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "F64": "<f8",
}
_LENGTH: Final = struct.Struct("<Q")
_LONGEST_HEADER: Final = 100_000


def encode_graph(graph: CrystalGraph) -> bytes:
    """The graph in the layout of a safetensors file; :func:`decode_graph` gives it back exactly.

    Tensors: ``atomic_numbers``, ``lattice`` (Å), ``positions`` (Å), ``degrees`` (bonds of each
    atom), ``targets``, ``images``; each in the smallest integer type that holds it.
    """
    parameters = FeatureParameters(
        cutoff_radius=graph.cutoff_radius, max_neighbors=graph.max_neighbors
    )
    tensors = {
        "lattice": ("F64", graph.lattice),
        "positions": ("F64", graph.positions),
        "degrees": _smallest(graph.coordination, "U8", "U16", "U32"),
        "targets": _smallest(graph.targets, "U8", "U16", "U32"),
        "images": _smallest(graph.images, "I8", "I16", "I32"),
        "atomic_numbers": _smallest(graph.atomic_numbers, "U8"),
    }
    header: dict[str, Any] = {
        "__metadata__": {
            "feature_version": FEATURE_VERSION,
            "parameters": json.dumps(parameters.as_dict()),
        }
    }
    buffers, end = [], 0
    widest_first = sorted(tensors, key=lambda name: -np.dtype(_DTYPES[tensors[name][0]]).itemsize)
    for name in widest_first:  # so that every tensor is aligned
        kind, values = tensors[name]
        buffers.append(np.ascontiguousarray(values, dtype=_DTYPES[kind]).tobytes())
        begin, end = end, end + len(buffers[-1])
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH.size)
    return b"".join([_LENGTH.pack(len(text)), text, *buffers])


def decode_graph(data: bytes) -> CrystalGraph:
    """The graph that was encoded.

    Raises:
        InvalidInputError: code ``broken_features``; the bytes are not a graph of this version.
    """
    try:
        tensors, metadata = _tensors(data)
        if metadata["feature_version"] != FEATURE_VERSION:
            raise _broken(f"they are of version {metadata['feature_version']}")
        parameters = FeatureParameters(**json.loads(metadata["parameters"]))
        degrees = tensors["degrees"].astype(np.int64)
        n_atoms = len(degrees)
        bonds = NeighborList(
            centers=np.repeat(np.arange(n_atoms), degrees),
            neighbors=tensors["targets"].astype(np.int64),
            images=tensors["images"].astype(np.int64),
            distances=np.empty(0),
        )
        if len(bonds.centers) != len(bonds.neighbors):
            raise _broken("the number of bonds contradicts itself")
        return graph_of_bonds(
            tensors["atomic_numbers"].astype(np.int64),
            tensors["lattice"],
            tensors["positions"],
            bonds,
            cutoff_radius=parameters.cutoff_radius,
            max_neighbors=parameters.max_neighbors,
        )
    except (KeyError, IndexError, TypeError, ValueError, struct.error) as error:
        raise _broken(f"{type(error).__name__} at {error}") from error


def graph_to_npz(graph: CrystalGraph) -> bytes:
    """Every array of the graph as a compressed npz file, for ``numpy.load``.

    Arrays as in :class:`CrystalGraph`, distances and vectors in float32, besides
    ``atom_features`` with ``atom_feature_names``, ``cutoff_radius``, ``max_neighbors`` (0: all)
    and ``feature_version``.
    """
    file = io.BytesIO()
    np.savez_compressed(
        file,
        atomic_numbers=graph.atomic_numbers.astype(np.uint8),
        atom_features=graph.atom_features,
        atom_feature_names=np.array(ATOM_FEATURES),
        lattice=graph.lattice,
        positions=graph.positions,
        sources=graph.sources.astype(np.int32),
        targets=graph.targets.astype(np.int32),
        images=graph.images.astype(np.int32),
        distances=graph.distances.astype(np.float32),
        vectors=graph.vectors.astype(np.float32),
        cutoff_radius=np.float64(graph.cutoff_radius),
        max_neighbors=np.int64(graph.max_neighbors or 0),
        feature_version=np.array(FEATURE_VERSION),
    )
    return file.getvalue()


def _smallest(values: npt.NDArray[np.int64], *kinds: str) -> tuple[str, npt.NDArray[np.int64]]:
    """The first of ``kinds`` that holds all values; the last one where none is smaller."""
    lowest, highest = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in kinds[:-1]:
        limits = np.iinfo(np.dtype(_DTYPES[kind]))
        if limits.min <= lowest and highest <= limits.max:
            return kind, values
    return kinds[-1], values


def _tensors(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    (length,) = _LENGTH.unpack_from(data)
    if length > min(_LONGEST_HEADER, len(data)):
        raise _broken("the header is too long")
    begin = _LENGTH.size + length
    header = json.loads(data[_LENGTH.size : begin])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        chunk = data[begin + first : begin + last]
        tensors[name] = np.frombuffer(chunk, dtype=dtype).reshape(entry["shape"])
    return tensors, metadata


def _broken(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"These bytes are not features of version {FEATURE_VERSION}: {why}.",
        hint="Extract the features again.",
        code="broken_features",
    )
