"""Formation energies from potentials, relative to the elements of the same potential."""

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.resources import files
from typing import ClassVar

from nanoos.core.errors import UnavailableError
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.models.base import ModelInfo, TestError
from nanoos.potentials import (
    check_elements,
    formation_energy_ev_per_atom,
    get_potential,
    load_references,
)
from nanoos.potentials.weights import file_sha256, packaged_weights
from nanoos.structures import Structure

PROPERTY = "formation_energy"
UNIT = "eV/atom"

_NOTES = (
    "The formation energy is that of the structure as given, not of its relaxed form.",
    "A negative formation energy is not stability: other compounds may lie lower.",
    (
        "Uncalibrated: the weights saw the Materials Project, so no honest interval can be measured "
        "on it."
    ),
)

PLUS_U_METALS = frozenset({"V", "Cr", "Mn", "Fe", "Co", "Ni", "Mo", "W"})
"""Computed with +U by the Materials Project where oxygen or fluorine is present."""


class PotentialFormationEnergy:
    """Formation energy from one potential; a subclass says which and under what licence."""

    potential_name: ClassVar[str]
    version: ClassVar[str]
    level_of_theory: ClassVar[LevelOfTheory]
    description: ClassVar[str]
    license: ClassVar[str]
    package: ClassVar[str]
    NOTES: ClassVar[tuple[str, ...]] = _NOTES
    published: ClassVar[tuple[TestError, ...]] = ()

    def info(self) -> ModelInfo:
        """What the model is, without loading torch."""
        available = packaged_weights(self.potential_name) is not None
        return ModelInfo(
            name=self.potential_name,
            version=self.version,
            available=available,
            description=self.description,
            supported_properties=(PROPERTY,),
            weights_sha256=self.weights_sha256 if available else None,
            test_error={PROPERTY: self.published},
            level_of_theory={PROPERTY: self.level_of_theory},
            notes=_NOTES,
            license=self.license,
            seen_in_training="MPtrj: relaxations of 146,000 Materials Project crystals",
            unavailable_reason=None if available else f"{self.package} is not installed",
            install_command=None if available else "pip install 'nanoos[ml]'",
        )

    @cached_property
    def weights_sha256(self) -> str:
        """Hash over the potential's weights and its table of elements: both shape the number."""
        path = packaged_weights(self.potential_name)
        if path is None:
            raise UnavailableError(
                f"{self.potential_name} needs the Python package {self.package!r}.",
                hint="pip install 'nanoos[ml]'",
            )
        joined = f"{file_sha256(path)} {_table_sha256(self.potential_name)}"
        return hashlib.sha256(joined.encode()).hexdigest()

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """Energy of each structure as given, minus its elements, eV/atom."""
        del ids
        for structure in structures:
            check_elements(self.potential_name, structure.species)
        potential = get_potential(self.potential_name)
        references = load_references(self.potential_name)
        energies = potential.energies(structures)
        provenance = Provenance(
            producer=self.potential_name,
            version=self.version,
            weights_sha256=self.weights_sha256,
            software=potential.software,
        )
        predictions = []
        for structure, energy in zip(structures, energies, strict=True):
            value = formation_energy_ev_per_atom(
                float(energy) / structure.n_sites,
                structure.composition,
                references,
                potential=potential,
            )
            number = PropertyValue(value=value, unit=UNIT, level_of_theory=self.level_of_theory)
            predictions.append(
                Prediction(
                    properties={PROPERTY: number},
                    provenance=provenance,
                    notes=_NOTES + self._warnings(structure),
                )
            )
        return predictions

    def _warnings(self, structure: Structure) -> tuple[str, ...]:
        """Where the training data mixed levels of theory."""
        elements = set(structure.species)
        metals = sorted(elements & PLUS_U_METALS)
        uncorrected = self.level_of_theory.corrections == "none"
        if not (uncorrected and metals and elements & {"O", "F"}):
            return ()
        return (
            (
                f"{', '.join(metals)} with O or F was learned with +U and no correction, the elements "
                "without: this formation energy is too high by 1 to 3 eV per such atom."
            ),
        )


class CHGNetFormationEnergy(PotentialFormationEnergy):
    """CHGNet 0.3.0."""

    potential_name = "CHGNet"
    version = "0.3.0"
    level_of_theory = LevelOfTheory(
        functional="PBE/PBE+U", corrections="MP2020", reference="CHGNet 0.3.0 elements"
    )
    description = (
        "Formation energy from the universal potential CHGNet, against its own relaxed elements."
    )
    license = "BSD-3-Clause-LBNL"
    package = "chgnet"
    published = (
        TestError(
            mae=0.029,
            unit="eV/atom",
            n=None,
            source="total energy on the authors' MPtrj test split (model card of chgnet 0.3.0)",
            seen_in_training=False,
        ),
    )


class SevenNetFormationEnergy(PotentialFormationEnergy):
    """SevenNet-0 of 11 July 2024."""

    potential_name = "SevenNet"
    version = "0-11July2024"
    level_of_theory = LevelOfTheory(
        functional="PBE/PBE+U", corrections="none", reference="SevenNet-0 11July2024 elements"
    )
    description = (
        "Formation energy from the universal potential SevenNet-0, against its own relaxed "
        "elements. Its energies carry no MP2020 correction."
    )
    license = "MIT"
    package = "sevenn"


@cache
def _table_sha256(potential: str) -> str:
    resource = files("nanoos.potentials") / "data" / f"references_{potential.casefold()}.json"
    return hashlib.sha256(resource.read_bytes()).hexdigest()
