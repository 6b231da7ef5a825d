"""What the feature service hands out, and how features are read from and written to rows."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from nanoos.db import StructureFeatureTable
from nanoos.features import FEATURE_VERSION, CrystalGraph, FeatureParameters, StructureScalars

CHUNK_STRUCTURES: Final = 256
CHUNK_SITES: Final = 20_000
"""Structures that are computed and stored together end at either: memory stays flat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRecord:
    """Stored features of a structure.

    Attributes:
        id: Of the row.
        structure_id: Of which structure.
        feature_version: Of the code that made them.
        params_hash: SHA-256 of the parameters.
        parameters: ``cutoff_radius`` (Å), ``max_neighbors`` (null: all).
        n_atoms: Nodes of the graph.
        n_bonds: Directed bonds: each pair of neighbours counts from either end.
        scalars: Fields of :class:`nanoos.features.StructureScalars`.
        graph_sha256: Sealed file that holds the graph's arrays.
        graph_offset: Where they begin in it, bytes.
        graph_bytes: Their size.
        created_at: UTC.
        cached: Whether they were there before they were asked for.
    """

    id: uuid.UUID
    structure_id: uuid.UUID
    feature_version: str
    params_hash: str
    parameters: Mapping[str, Any]
    n_atoms: int
    n_bonds: int
    scalars: Mapping[str, Any]
    graph_sha256: str
    graph_offset: int
    graph_bytes: int
    created_at: datetime
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureError:
    """Why one structure of many has no features."""

    structure_id: uuid.UUID
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBatch:
    """The answer to a batch.

    Attributes:
        features: In the order asked for, without those that failed.
        total: How many were asked for.
        cached: How many were there before.
        new: How many were computed now.
        errors: One for each that failed.
    """

    features: Sequence[FeatureRecord]
    total: int
    cached: int
    new: int
    errors: Sequence[FeatureError]


def feature_record(row: StructureFeatureTable, *, cached: bool) -> FeatureRecord:
    """The record of a row."""
    return FeatureRecord(
        id=row.id,
        structure_id=row.structure_id,
        feature_version=row.feature_version,
        params_hash=row.params_hash,
        parameters=row.extraction_params,
        n_atoms=row.n_atoms,
        n_bonds=row.n_bonds,
        scalars=row.scalar_features,
        graph_sha256=row.graph_repr,
        graph_offset=row.graph_offset,
        graph_bytes=row.graph_bytes,
        created_at=row.created_at,
        cached=cached,
    )


def feature_values(
    structure_id: uuid.UUID,
    graph: CrystalGraph,
    scalars: StructureScalars,
    parameters: FeatureParameters,
) -> dict[str, Any]:
    """Column values of a new row, but for where its arrays are."""
    return {
        "structure_id": structure_id,
        "feature_version": FEATURE_VERSION,
        "params_hash": parameters.hash,
        "n_atoms": graph.n_atoms,
        "n_bonds": graph.n_bonds,
        "scalar_features": scalars.as_dict(),
        "extraction_params": parameters.as_dict(),
    }


def in_chunks(sizes: Iterable[tuple[uuid.UUID, int]]) -> Iterator[list[uuid.UUID]]:
    """Ids of structures, some at a time, such that no chunk holds too many sites.

    Args:
        sizes: Id and number of sites of each structure; consumed as it goes.
    """
    chunk: list[uuid.UUID] = []
    sites = 0
    for structure_id, n_sites in sizes:
        if chunk and (len(chunk) >= CHUNK_STRUCTURES or sites + n_sites > CHUNK_SITES):
            yield chunk
            chunk, sites = [], 0
        chunk.append(structure_id)
        sites += n_sites
    if chunk:
        yield chunk
