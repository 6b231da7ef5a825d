"""MACE, an equivariant message-passing potential, run in an environment of its own.

Ref: Batatia et al., NeurIPS 2022, arXiv:2206.07697. No weights are shipped. A model file that
MACE's training wrote, or that others published, is added once with ``nanoos models add FILE --as
MACE``: it is a pickle, so reading it runs whatever code it holds, and that happens in the tool's
process only, then, when the user asks for it. What is kept is rewritten as numbers without code
(see :mod:`nanoos.tools.programs.mace_energies`).
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import LevelOfTheory
from nanoos.features.neighbors import neighbor_list
from nanoos.potentials.base import FloatArray, PotentialResult, batches, check_coverage
from nanoos.potentials.installed_weights import InstalledWeights, find_weights
from nanoos.potentials.weights import file_sha256
from nanoos.structures import Structure
from nanoos.structures.elements import SYMBOLS
from nanoos.tools import Answer, tool_environments, tool_process

WEIGHTS: Final = "MACE"
"""Name of the set of weights in the folder of weights."""
WEIGHTS_FILE: Final = "weights.safetensors"
CARD_FILE: Final = "mace.json"
_UNSTATED: Final = "not stated"
_MAX_HEADER_BYTES: Final = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class MACECard:
    """What whoever added the weights says of them.

    Attributes:
        version: Of the weights, shown with every result.
        functional: Of the labels they were trained on.
        corrections: Of those labels' energies.
        head: Which read-out answers; None: the only one, or the one called ``Default``.
    """

    version: str
    functional: str = _UNSTATED
    corrections: str = _UNSTATED
    head: str | None = None


def convert_model_file(
    source: Path,
    folder: Path,
    card: MACECard,
    *,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, str]:
    """Rewrite a MACE model file as weights without code; **runs the code in** ``source``.

    Args:
        source: A ``.model`` file that its user trusts.
        folder: Where :data:`WEIGHTS_FILE` and :data:`CARD_FILE` are written; it exists.
        card: Kept beside the weights.
        progress: Told (fraction, what is done).

    Returns:
        The files written, name to SHA-256.

    Raises:
        UnavailableError: the tool MACE is not installed.
        ToolError: the file is no model that can be used, with the reason.
        InvalidInputError: there is no such file, or the card names a read-out it does not have.
    """
    if not source.is_file():
        raise InvalidInputError(f"There is no file {source}.", code="unreadable_file")
    target = folder / WEIGHTS_FILE
    tool_process("MACE").request(
        "convert",
        {"source": str(source.absolute()), "target": str(target.absolute())},
        progress=progress,
    )
    try:
        _head(_settings(target), card.head)
    except InvalidInputError:
        target.unlink()
        raise
    described = folder / CARD_FILE
    described.write_text(json.dumps(asdict(card), indent=1) + "\n", encoding="utf-8")
    return {path.name: file_sha256(path) for path in (target, described)}


def check_weights(folder: Path) -> None:
    """Let the converted weights in ``folder`` compute a crystal.

    Raises:
        ToolError: they do not.
        InvalidInputError: no number comes out.
    """
    file = folder / WEIGHTS_FILE
    settings = _settings(file)
    element = SYMBOLS[int(settings["atomic_numbers"][0])]
    cell = np.eye(3) * 0.6 * float(settings["r_max"])
    crystal = Structure(lattice=cell, species=(element,), frac_coords=np.zeros((1, 3)))
    fields = {
        "weights": str(file),
        "sha256": file_sha256(file),
        "device": "cpu",
        "head": _head(settings, _card(folder).head),
        "forces": True,
        "stress": True,
    }
    arrays = _arrays([crystal], float(settings["r_max"]))
    found = tool_process("MACE").request("compute", fields, arrays).arrays
    if not all(np.isfinite(numbers).all() for numbers in found.values()):
        raise InvalidInputError(f"The weights give no number for a crystal of {element}.")


class MACEPotential:
    """The MACE weights that were added, behind the common interface.

    The process that computes starts with the first request. What one request costs beyond the
    work itself is under a millisecond.
    """

    name = "MACE"
    provides_magmoms = False

    def __init__(self, *, device: str = "cpu") -> None:
        weights = self._require()
        if device != "cpu":
            from nanoos.potentials.runtime import torch_device

            device = torch_device(device)
        self.device = device
        self._file = weights.folder / WEIGHTS_FILE
        self._sha256 = weights.files[WEIGHTS_FILE]
        self._settings = _settings(self._file)
        self._card = _card(weights.folder)
        self._head = _head(self._settings, self._card.head)
        self._cutoff = float(self._settings["r_max"])
        self._elements = frozenset(SYMBOLS[int(z)] for z in self._settings["atomic_numbers"])
        self._process = tool_process("MACE")

    @classmethod
    def check_available(cls) -> None:
        """Raise UnavailableError where it cannot run here; the hint has the commands."""
        cls._require()

    @staticmethod
    def added_weights() -> dict[str, str]:
        """Name to SHA-256 of the weights that were added and what was said of them, if any."""
        weights = find_weights(WEIGHTS)
        return {} if weights is None else {weights.name: weights.sha256}

    @staticmethod
    def _require() -> InstalledWeights:
        state = tool_environments().state("MACE")
        weights = find_weights(WEIGHTS)
        missing = [] if state.available else [f"the tool MACE ({state.problem})"]
        commands = [] if state.available else [str(state.command)]
        if weights is None:
            missing.append("weights")
            commands.append("nanoos models add FILE.model --as MACE")
        if weights is None or missing:
            raise UnavailableError(
                f"MACE needs {' and '.join(missing)}.",
                hint=", then ".join(commands),
                code="weights_missing" if state.available else "tool_missing",
            )
        return weights

    @property
    def version(self) -> str:
        """As whoever added the weights called them."""
        return self._card.version

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the converted weights."""
        return self._sha256

    @property
    def elements(self) -> frozenset[str]:
        """What the weights were made for."""
        return self._elements

    @property
    def level_of_theory(self) -> LevelOfTheory:
        """As stated when the weights were added."""
        return LevelOfTheory(
            functional=self._card.functional, corrections=self._card.corrections, reference="none"
        )

    @property
    def software(self) -> dict[str, str]:
        """The version of MACE in its environment."""
        return {"mace-torch": tool_environments().state("MACE").version or "the user's own"}

    def compute(
        self, structures: Sequence[Structure], *, stress: bool = True, batch_size: int = 16
    ) -> list[PotentialResult]:
        """Energy, forces and stress; see :class:`Potential`. A batch is one request."""
        check_coverage(self, structures)
        results: list[PotentialResult] = []
        for batch in batches(structures, batch_size):
            found = self._ask(batch, forces=True, stress=stress).arrays
            start = 0
            for i, structure in enumerate(batch):
                end = start + structure.n_sites
                energy = float(found["energies"][i])
                results.append(
                    PotentialResult(
                        energy_ev=energy,
                        energy_ev_per_atom=energy / structure.n_sites,
                        forces=found["forces"][start:end],
                        stress=found["stresses"][i] if stress else None,
                    )
                )
                start = end
        return results

    def energies(self, structures: Sequence[Structure], *, batch_size: int = 16) -> FloatArray:
        """(n_structures,), total energies in eV."""
        check_coverage(self, structures)
        found = [
            self._ask(batch, forces=False, stress=False).arrays["energies"]
            for batch in batches(structures, batch_size)
        ]
        return np.concatenate(found) if found else np.zeros(0)

    def ase_calculator(self) -> Any:
        """A calculator for ASE."""
        from nanoos.potentials.ase_adapter import PotentialCalculator

        return PotentialCalculator(self)

    def _ask(self, batch: Sequence[Structure], *, forces: bool, stress: bool) -> Answer:
        fields = {
            "weights": str(self._file),
            "sha256": self.weights_sha256,
            "device": self.device,
            "head": self._head,
            "forces": forces,
            "stress": stress,
        }
        return self._process.request("compute", fields, _arrays(batch, self._cutoff))


def _arrays(batch: Sequence[Structure], cutoff_a: float) -> dict[str, Any]:
    """Crystals one after the other, their pairs counted through."""
    pairs = [neighbor_list(structure, cutoff_a) for structure in batch]
    counts = np.array([structure.n_sites for structure in batch], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    return {
        "counts": counts,
        "cells": np.stack([structure.lattice for structure in batch]),
        "numbers": np.concatenate([s.atomic_numbers for s in batch]).astype(np.int64),
        "positions": np.concatenate([structure.cart_coords for structure in batch]),
        "centers": np.concatenate([p.centers + n for p, n in zip(pairs, starts, strict=True)]),
        "neighbors": np.concatenate([p.neighbors + n for p, n in zip(pairs, starts, strict=True)]),
        "images": np.concatenate([p.images for p in pairs]),
    }


def _settings(file: Path) -> Mapping[str, Any]:
    """What rebuilds the network, from the head of a safetensors file."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > _MAX_HEADER_BYTES:
            raise UnavailableError(f"{file} holds no MACE weights.")
        metadata = json.loads(stream.read(length)).get("__metadata__", {})
    settings: Mapping[str, Any] = json.loads(metadata["settings"])
    return settings


def _card(folder: Path) -> MACECard:
    return MACECard(**json.loads((folder / CARD_FILE).read_text(encoding="utf-8")))


def _head(settings: Mapping[str, Any], wanted: str | None) -> str:
    """The read-out that answers.

    Raises:
        InvalidInputError: it is not there, or several are and none was chosen.
    """
    heads: list[str] = settings["heads"]
    if wanted is None:
        named = heads if len(heads) == 1 else [h for h in heads if h.casefold() == "default"]
    else:
        named = [head for head in heads if head == wanted]
    if not named:
        asked = "has several read-outs" if wanted is None else f"has no read-out {wanted!r}"
        raise InvalidInputError(
            f"The model {asked}: {', '.join(heads)}.", hint="Choose one of them with --head."
        )
    return named[0]
