"""MEGNet of matgl: formation energies, and band gaps at four levels of theory.

Refs: Chen et al., Chem. Mater. 31, 3564 (2019), DOI 10.1021/acs.chemmater.9b01294; Chen et al.,
Nature Computational Science 1, 46 (2021), DOI 10.1038/s43588-020-00002-x (multi-fidelity gaps).
The weights are those that the authors retrained for matgl (BSD-3-Clause); they are not shipped:
``nanoos models pull`` or ``add``. Everything that computes is loaded on first use.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.models.base import ModelInfo, TestError
from nanoos.potentials.base import batches
from nanoos.potentials.coverage import MPTRJ_ELEMENTS
from nanoos.potentials.installed_weights import InstalledWeights, find_weights, how_to_get
from nanoos.potentials.runtime import default_device
from nanoos.structures import Structure

Fidelity = Literal["PBE", "GLLB", "HSE", "SCAN"]

FORMATION_ENERGY_WEIGHTS: Final = "MEGNet-MP-2018.6.1-Eform"
GAP_WEIGHTS: Final = "MEGNet-MP-2019.4.1-BandGap-mfi"

_STATE: Final[Mapping[Fidelity, int]] = {"PBE": 0, "GLLB": 1, "HSE": 2, "SCAN": 3}
"""The number by which the gap network knows a level of theory."""

_FUNCTIONAL: Final[Mapping[Fidelity, str]] = {
    "PBE": "PBE/PBE+U",
    "GLLB": "GLLB-SC",
    "HSE": "HSE06",
    "SCAN": "SCAN",
}

_UNITS: Final = {"bandgap": "eV", "formation_energy": "eV/atom"}
_BATCH: Final = 64

_FORMATION_LEVEL = LevelOfTheory(
    functional="PBE/PBE+U",
    corrections="Materials Project 2018",
    reference="Materials Project elements",
)

_ERRORS: Final[Mapping[str, tuple[TestError, ...]]] = {
    "formation_energy": (
        TestError(
            mae=0.0276,
            unit="eV/atom",
            n=3463,
            source="the authors' test split of MP-2018.6.1 (model card of matgl)",
            seen_in_training=False,
        ),
        TestError(
            mae=0.010,
            unit="eV/atom",
            n=62315,
            source="the authors' training split of MP-2018.6.1 (model card of matgl)",
            seen_in_training=True,
        ),
        TestError(
            mae=0.011,
            unit="eV/atom",
            n=60,
            source="crystals of MP-2018.6.1, measured here with these weights",
            seen_in_training=True,
        ),
    ),
}
_GAP_ERRORS: Final = (
    TestError(
        mae=0.314,
        unit="eV",
        n=879,
        source="the authors' validation split, all levels of theory together (model card of matgl)",
        seen_in_training=False,
    ),
    TestError(
        mae=0.075,
        unit="eV",
        n=48912,
        source="the authors' training split, all levels of theory together (model card of matgl)",
        seen_in_training=True,
    ),
)

_PBE_GAP_ERROR: Final = TestError(
    mae=0.38,
    unit="eV",
    n=60,
    source="PBE gaps of the Materials Project, half of them 0, measured here with these weights",
    seen_in_training=True,
)

_NOTES: Final = (
    "The weights saw the Materials Project: on crystals from there the error is flattering.",
    "No interval and no confidence: none can be measured honestly on data that was seen.",
    (
        "Of some semiconductors (ZnO) the gap comes out as 0: the published weights are like that "
        "(matgl issue 657)."
    ),
)


class MEGNetModel:
    """MEGNet behind the common interface; what it predicts depends on the weights that are here.

    Args:
        fidelity: Level of theory of the gap. With PBE the formation energy is given too.
    """

    version: ClassVar[str] = "matgl-2018.6.1/2019.4.1"

    def __init__(self, fidelity: Fidelity = "PBE") -> None:
        self.fidelity = fidelity
        self.name = "MEGNet" if fidelity == "PBE" else f"MEGNet-{fidelity}"
        self._wanted = {"bandgap": GAP_WEIGHTS}
        if fidelity == "PBE":
            self._wanted["formation_energy"] = FORMATION_ENERGY_WEIGHTS
        self._levels = {
            "bandgap": LevelOfTheory(
                functional=_FUNCTIONAL[fidelity], corrections="none", reference="none"
            ),
            "formation_energy": _FORMATION_LEVEL,
        }

    def info(self) -> ModelInfo:
        """What it is, without loading torch."""
        here = self._installed()
        runnable = bool(here) and find_spec("matgl") is not None
        properties = sorted(here if runnable else self._wanted)
        return ModelInfo(
            name=self.name,
            version=self.version,
            available=runnable,
            description=(
                f"Graph network of matgl; band gaps of {_FUNCTIONAL[self.fidelity]}"
                + (" and formation energies." if self.fidelity == "PBE" else ".")
            ),
            supported_properties=tuple(properties),
            weights_sha256=_joint(here) if runnable else None,
            test_error={name: self._errors(name) for name in properties},
            level_of_theory={name: self._levels[name] for name in properties},
            notes=_NOTES,
            license="BSD-3-Clause",
            seen_in_training="Materials Project of June 2018 and April 2019",
            unavailable_reason=None if runnable else self._lacks(here),
            install_command=None if runnable else self._remedy(here),
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """Gap and formation energy of each structure as given, as far as the weights are here.

        Raises:
            InvalidInputError: an element is not covered, or an atom has no neighbour within the
                cutoff of the network (4 Å for formation energies, 5 Å for gaps).
            UnavailableError: weights or matgl are missing.
        """
        del ids
        _check_elements(self.name, structures)
        here = self._installed()
        if not here or find_spec("matgl") is None:
            raise UnavailableError(f"{self.name}: {self._lacks(here)}.", hint=self._remedy(here))
        values = {name: self._values(name, here[name], structures) for name in sorted(here)}
        provenance = Provenance(
            producer=self.name,
            version=self.version,
            weights_sha256=_joint(here),
            parameters={"fidelity": self.fidelity},
        )
        return [
            Prediction(
                properties={
                    name: PropertyValue(
                        value=column[i], unit=_UNITS[name], level_of_theory=self._levels[name]
                    )
                    for name, column in values.items()
                },
                provenance=provenance,
                notes=_NOTES,
            )
            for i in range(len(structures))
        ]

    def _installed(self) -> dict[str, InstalledWeights]:
        found = {name: find_weights(weights) for name, weights in self._wanted.items()}
        return {name: weights for name, weights in found.items() if weights is not None}

    def _lacks(self, here: Mapping[str, InstalledWeights]) -> str:
        if here:
            return "the Python package 'matgl' is not installed"
        return "its published weights are not on this machine"

    def _remedy(self, here: Mapping[str, InstalledWeights]) -> str:
        if here:
            return "pip install 'nanoos[ml]'"
        return how_to_get(next(reversed(self._wanted.values())))

    def _errors(self, name: str) -> tuple[TestError, ...]:
        if name != "bandgap":
            return _ERRORS[name]
        return (*_GAP_ERRORS, _PBE_GAP_ERROR) if self.fidelity == "PBE" else _GAP_ERRORS

    def _values(
        self, name: str, weights: InstalledWeights, structures: Sequence[Structure]
    ) -> list[float]:
        import torch

        from nanoos.potentials.matgl_networks import graph_batch

        device = default_device()
        network = _network(weights.folder, weights.name, device)
        found: list[float] = []
        for batch in batches(structures, _BATCH):
            graph, _ = graph_batch(batch, network.model)
            state = self._state(name, len(batch)).to(device)
            with torch.inference_mode():
                found.extend(float(v) for v in network(graph.to(device), state))
        return [max(0.0, value) for value in found] if name == "bandgap" else found

    def _state(self, name: str, n: int) -> Any:
        import torch

        if name == "bandgap":
            return torch.full((n,), _STATE[self.fidelity])
        return torch.zeros(n, 2)


def megnet_gllb() -> MEGNetModel:
    """MEGNet with gaps of GLLB-SC."""
    return MEGNetModel("GLLB")


def megnet_hse() -> MEGNetModel:
    """MEGNet with gaps of HSE06."""
    return MEGNetModel("HSE")


def megnet_scan() -> MEGNetModel:
    """MEGNet with gaps of SCAN."""
    return MEGNetModel("SCAN")


@cache
def _network(folder: Path, name: str, device: str) -> Any:
    from nanoos.potentials.matgl_networks import load_property_network
    from nanoos.potentials.runtime import apply_threads, torch_device

    apply_threads()
    return load_property_network(folder, torch_device(device), name=name)


def _joint(here: Mapping[str, InstalledWeights]) -> str:
    lines = "".join(f"{name} {here[name].sha256}\n" for name in sorted(here))
    return hashlib.sha256(lines.encode()).hexdigest()


def _check_elements(name: str, structures: Sequence[Structure]) -> None:
    missing = sorted({e for s in structures for e in s.species} - MPTRJ_ELEMENTS)
    if missing:
        raise InvalidInputError(
            f"{name} does not cover {', '.join(missing)}.",
            details={"elements": missing},
            code="uncovered_element",
        )
