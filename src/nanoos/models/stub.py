"""STUB: numbers from a hash, to test everything around a model."""

import hashlib
from collections.abc import Sequence
from typing import Final

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.models.base import ModelInfo
from nanoos.structures import Structure

_RANGES: Final = {
    "bandgap": (0.0, 5.0, "eV"),
    "formation_energy": (-8.0, -2.0, "eV/atom"),
    "stability_score": (0.0, 1.0, "1"),
}
_NOTE: Final = "STUB derives its numbers from a hash of the id: they mean nothing."
_LEVEL: Final = LevelOfTheory(functional="none", corrections="none", reference="none")


class StubModel:
    """Repeatable numbers without meaning, marked so in every answer; never a default."""

    name: Final = "STUB"
    version: Final = "1"

    def info(self) -> ModelInfo:
        """What it is."""
        return ModelInfo(
            name=self.name,
            version=self.version,
            available=True,
            description="Numbers from a SHA-256 of the structure id, for tests only.",
            supported_properties=tuple(_RANGES),
            level_of_theory=dict.fromkeys(_RANGES, _LEVEL),
            notes=(_NOTE,),
            license="MIT",
            not_for_decisions=True,
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """From the SHA-256 of each id; without ids, of the structure's content hash.

        Raises:
            InvalidInputError: another number of ids than of structures.
        """
        names = [s.content_hash for s in structures] if ids is None else [str(i) for i in ids]
        if len(names) != len(structures):
            raise InvalidInputError(f"{len(names)} ids for {len(structures)} structures.")
        return [self._one(name) for name in names]

    def _one(self, name: str) -> Prediction:
        digest = hashlib.sha256(name.encode()).digest()
        properties = {}
        for i, (key, (low, high, unit)) in enumerate(_RANGES.items()):
            share = int.from_bytes(digest[8 * i : 8 * i + 8], "big") / (2**64 - 1)
            properties[key] = PropertyValue(
                value=low + share * (high - low), unit=unit, level_of_theory=_LEVEL
            )
        return Prediction(
            properties=properties,
            provenance=Provenance(producer=self.name, version=self.version),
            notes=(_NOTE,),
            not_for_decisions=True,
        )
