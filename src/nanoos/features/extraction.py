"""Features of a crystal, with the parameters they were made with."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nanoos.core.errors import NanoosError
from nanoos.features.graph import CrystalGraph, check_parameters, crystal_graph
from nanoos.features.scalars import StructureScalars, structure_scalars
from nanoos.structures import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureParameters:
    """What features are made with.

    Attributes:
        cutoff_radius: Å, above 0, at most 20.
        max_neighbors: The nearest so many neighbours of each atom; None: all within the cutoff.
    """

    cutoff_radius: float = 5.0
    max_neighbors: int | None = None

    def __post_init__(self) -> None:
        check_parameters(self.cutoff_radius, self.max_neighbors)
        object.__setattr__(self, "cutoff_radius", float(self.cutoff_radius))

    @property
    def hash(self) -> str:
        """SHA-256 of the parameters."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """JSON types, by field."""
        return {"cutoff_radius": self.cutoff_radius, "max_neighbors": self.max_neighbors}


def extract_structure_features(
    structure: Structure, cutoff_radius: float = 5.0, *, max_neighbors: int | None = None
) -> tuple[CrystalGraph, StructureScalars]:
    """The graph of a crystal and its scalars.

    Args:
        structure: Any crystal; an atom without neighbours is a node without bonds.
        cutoff_radius: Å, above 0, at most 20; CGCNN wants 8.
        max_neighbors: Keep the nearest so many of each atom; None: all within the cutoff.

    Raises:
        StructureRefusedError: the structure is physically impossible.
        InvalidInputError: a parameter is out of range.
        TooLargeError: the graph would have more than 20 million bonds.
    """
    graph = crystal_graph(structure, cutoff_radius, max_neighbors=max_neighbors)
    return graph, structure_scalars(graph)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExtractedFeatures:
    """The features of one of many structures, or why there are none."""

    graph: CrystalGraph | None
    scalars: StructureScalars | None
    error: NanoosError | None


def iter_features(
    structures: Iterable[Structure], parameters: FeatureParameters
) -> Iterator[ExtractedFeatures]:
    """Features of any number of structures, one at a time, in order.

    One that is refused never ends the stream; memory stays that of one structure.
    """
    for structure in structures:
        try:
            graph, scalars = extract_structure_features(
                structure, parameters.cutoff_radius, max_neighbors=parameters.max_neighbors
            )
        except NanoosError as error:
            yield ExtractedFeatures(graph=None, scalars=None, error=error)
        else:
            yield ExtractedFeatures(graph=graph, scalars=scalars, error=None)
