"""From the members of an archive to one pseudopotential for each element."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from nanoos.core.errors import InvalidInputError
from nanoos.pseudopotentials.family import ACCURACIES, Accuracy, Cutoffs, Pseudopotential
from nanoos.pseudopotentials.known import NC_DUAL, Pin, hartree_cutoffs
from nanoos.pseudopotentials.upf import UpfHeader, read_upf_header

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_ELEMENT_OF_NAME: Final = re.compile(r"([A-Z][a-z]?)[^a-z]")


@dataclass(slots=True, kw_only=True)
class Suggestions:
    """What metadata say of the elements: cutoffs, checksums, which file.

    Attributes:
        cutoffs: Element to accuracy to cutoffs.
        md5: Element to MD5 of its UPF file.
        files: Element to the name of its file.
        sources: Names of the metadata files.
    """

    cutoffs: dict[str, dict[Accuracy, Cutoffs]] = field(default_factory=dict)
    md5: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)

    def take(self, name: str, data: bytes) -> None:
        """Read a metadata file: PseudoDojo's djson or djrepo, SSSP's json; others say nothing."""
        try:
            document = json.loads(data)
        except ValueError:
            return
        if not isinstance(document, dict):
            return
        try:
            known = self._take(PurePosixPath(name).name, document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(
                f"{name} looks like metadata of pseudopotentials and cannot be read: {error!r}.",
                hint="Give the file as it is published.",
                code="invalid_metadata",
            ) from error
        if known:
            self.sources.append(name)

    def _take(self, name: str, document: dict[str, Any]) -> bool:
        if "pseudos_metadata" in document:
            for element, entry in document["pseudos_metadata"].items():
                self._hints(element, entry["hints"])  # its md5 is of another format
            return True
        if "hints" in document or "ppgen_hints" in document:
            found = _ELEMENT_OF_NAME.match(name)
            if found is None:
                return False
            self._hints(found.group(1), document.get("hints") or document["ppgen_hints"])
            if isinstance(document.get("md5_upf"), str):
                self.md5[found.group(1)] = document["md5_upf"]
            return True
        entries = {k: v for k, v in document.items() if isinstance(v, dict) and "cutoff_wfc" in v}
        for element, entry in entries.items():
            pair = Cutoffs(wfc_ry=float(entry["cutoff_wfc"]), rho_ry=float(entry["cutoff_rho"]))
            self.cutoffs[element] = dict.fromkeys(ACCURACIES, pair)
            self.files[element] = str(entry["filename"])
            self.md5[element] = str(entry["md5"])
        return bool(entries)

    def _hints(self, element: str, hints: Mapping[str, Mapping[str, float]]) -> None:
        given = {level: hint["ecut"] for level, hint in hints.items() if "ecut" in hint}
        self.cutoffs[element] = hartree_cutoffs(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A UPF file of an archive."""

    name: str
    data: bytes
    sha256: str
    header: UpfHeader

    @property
    def file(self) -> str:
        """A name for the family's folder: its own where that begins with the element."""
        base, element = PurePosixPath(self.name).name, self.header.element
        own = _PLAIN_NAME.fullmatch(base) and re.match(rf"{element}([^a-z]|$)", base, re.IGNORECASE)
        return base if own else f"{element}.upf"


def candidates(members: Iterable[tuple[str, bytes]], into: Suggestions) -> list[Candidate]:
    """The UPF files among the members; metadata go to ``into``.

    Raises:
        InvalidInputError: a UPF file that is none, or metadata that cannot be read.
    """
    found = []
    for name, data in members:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix == ".upf":
            found.append(
                Candidate(
                    name=name,
                    data=data,
                    sha256=hashlib.sha256(data).hexdigest(),
                    header=read_upf_header(data, name),
                )
            )
        elif suffix in {".json", ".djson", ".djrepo"}:
            into.take(name, data)
    return found


def choose(
    found: Iterable[Candidate], suggestions: Suggestions, pins: Mapping[str, Pin]
) -> dict[str, Candidate]:
    """One file for each element: the pinned one, the one metadata name, or the only one.

    Raises:
        InvalidInputError: code ``ambiguous_family``; an element has several files and nothing
            says which, or there is none at all.
    """
    by_element: dict[str, list[Candidate]] = {}
    for candidate in found:
        by_element.setdefault(candidate.header.element, []).append(candidate)
    chosen = {}
    for element, several in by_element.items():
        named = suggestions.files.get(element)
        pin = pins.get(element)
        preferred = [
            one
            for one in several
            if (pin is not None and one.sha256 == pin.sha256)
            or PurePosixPath(one.name).name == named
        ]
        best = {one.sha256: one for one in (preferred or several)}
        if len(best) > 1:
            names = ", ".join(one.name for one in best.values())
            raise InvalidInputError(
                f"There are several files for {element}: {names}.",
                hint="A family has one for each element: give an archive or folder with one.",
                code="ambiguous_family",
            )
        chosen[element] = next(iter(best.values()))
    if not chosen:
        raise InvalidInputError(
            "There is no UPF file in it.",
            hint="Quantum ESPRESSO reads UPF; PseudoDojo and SSSP publish archives of them.",
            code="ambiguous_family",
        )
    return chosen


def pseudopotential(
    candidate: Candidate, suggestions: Suggestions, pins: Mapping[str, Pin]
) -> Pseudopotential:
    """The entry of an element, with the best cutoffs that are known."""
    header = candidate.header
    pin = pins.get(header.element)
    cutoffs = suggestions.cutoffs.get(header.element) or (pin.cutoffs if pin else {})
    if not cutoffs and header.wfc_cutoff_ry is not None:
        rho = header.rho_cutoff_ry or NC_DUAL * header.wfc_cutoff_ry
        pair = Cutoffs(wfc_ry=header.wfc_cutoff_ry, rho_ry=rho)
        cutoffs = dict.fromkeys(ACCURACIES, pair)
    return Pseudopotential(
        element=header.element,
        file=candidate.file,
        sha256=candidate.sha256,
        z_valence=header.z_valence,
        kind=header.kind,
        cutoffs=cutoffs,
    )
