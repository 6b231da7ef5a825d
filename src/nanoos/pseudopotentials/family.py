"""A pseudopotential family: one file for each element, made together and used together."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from nanoos.core.errors import InvalidInputError, UnavailableError

Accuracy = Literal["low", "normal", "high"]
ACCURACIES: Final[tuple[Accuracy, ...]] = ("low", "normal", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """Plane-wave cutoffs that a pseudopotential needs, Ry.

    Attributes:
        wfc_ry: For the wavefunctions.
        rho_ry: For the charge density and the potential.
    """

    wfc_ry: float
    rho_ry: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pseudopotential:
    """One element of a family.

    Attributes:
        element: Symbol.
        file: Name of its file in the family's folder.
        sha256: Of that file.
        z_valence: Electrons it leaves to the calculation.
        kind: ``NC`` norm-conserving, ``US`` ultrasoft, ``PAW``.
        cutoffs: Accuracy to suggested cutoffs; empty where nobody suggests any.
    """

    element: str
    file: str
    sha256: str
    z_valence: float
    kind: str
    cutoffs: Mapping[Accuracy, Cutoffs]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyInfo:
    """What stands on the label of a family.

    Attributes:
        name: How it is looked up.
        version: Of the table.
        functional: ``PBE``.
        relativistic: ``scalar``, ``full`` or ``none``.
        license: SPDX identifier, or what its makers say.
        citation: What to cite.
        source: Where its files came from.
        verified: Whether every file has the hash that its makers' release has.
        installed_at: ISO 8601, UTC.
    """

    name: str
    version: str
    functional: str
    relativistic: str
    license: str
    citation: str
    source: str
    verified: bool
    installed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudopotentialFamily:
    """A family on this machine.

    Attributes:
        info: Its label.
        folder: Where the files lie.
        pseudos: Element to pseudopotential.
    """

    info: FamilyInfo
    folder: Path
    pseudos: Mapping[str, Pseudopotential]

    @property
    def name(self) -> str:
        """How it is looked up."""
        return self.info.name

    @property
    def elements(self) -> tuple[str, ...]:
        """Covered elements, sorted."""
        return tuple(sorted(self.pseudos))

    @property
    def sha256(self) -> str:
        """One hash over all elements and the hashes of their files."""
        return joint_sha256(self.pseudos.values())

    def check(self, elements: Iterable[str]) -> None:
        """Refuse elements that the family lacks.

        Raises:
            InvalidInputError: code ``missing_pseudopotential``; names what is missing and what
                the family has.
        """
        missing = sorted(set(elements) - set(self.pseudos))
        if missing:
            raise InvalidInputError(
                f"The pseudopotential family {self.name} has no {', '.join(missing)}.",
                hint=f"It has {len(self.pseudos)} elements: {', '.join(self.elements)}. "
                "'nanoos pseudos list' shows the other families.",
                details={"family": self.name, "missing": missing, "elements": list(self.elements)},
                code="missing_pseudopotential",
            )

    def of(self, elements: Iterable[str]) -> dict[str, Pseudopotential]:
        """Element to pseudopotential, in the given order, each once.

        Raises:
            InvalidInputError: as :meth:`check`.
        """
        wanted = list(dict.fromkeys(elements))
        self.check(wanted)
        return {element: self.pseudos[element] for element in wanted}

    def cutoffs(self, elements: Iterable[str], accuracy: Accuracy = "normal") -> Cutoffs | None:
        """The largest suggested cutoffs of the elements; None where one has no suggestion.

        Raises:
            InvalidInputError: as :meth:`check`.
        """
        found = [pseudo.cutoffs.get(accuracy) for pseudo in self.of(elements).values()]
        known = [cutoffs for cutoffs in found if cutoffs is not None]
        if len(known) < len(found) or not known:
            return None
        return Cutoffs(
            wfc_ry=max(one.wfc_ry for one in known), rho_ry=max(one.rho_ry for one in known)
        )

    def verified_bytes(self, element: str) -> bytes:
        """The file of an element, its hash checked.

        Raises:
            InvalidInputError: as :meth:`check`.
            UnavailableError: code ``pseudopotential_changed``; the file is gone or is not the
                one that was installed.
        """
        pseudo = self.of([element])[element]
        path = self.folder / pseudo.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self._changed(element, f"cannot be read ({error.strerror})") from error
        if hashlib.sha256(data).hexdigest() != pseudo.sha256:
            raise self._changed(element, "is not the one that was installed")
        return data

    def _changed(self, element: str, what: str) -> UnavailableError:
        return UnavailableError(
            f"The file of {element} in the family {self.name} {what}.",
            hint=f"nanoos pseudos remove {self.name}, then install it again.",
            code="pseudopotential_changed",
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON types, as the manifest holds them; without the folder."""
        return {
            **asdict(self.info),
            "pseudos": {element: asdict(self.pseudos[element]) for element in self.elements},
        }


def joint_sha256(pseudos: Iterable[Pseudopotential]) -> str:
    """One hash over elements and file hashes, in the order of the symbols."""
    digest = hashlib.sha256()
    for pseudo in sorted(pseudos, key=lambda one: one.element):
        digest.update(f"{pseudo.element} {pseudo.sha256}\n".encode())
    return digest.hexdigest()


def family_from_dict(data: Mapping[str, Any], folder: Path) -> PseudopotentialFamily:
    """The inverse of :meth:`PseudopotentialFamily.as_dict`.

    Raises:
        KeyError, TypeError, ValueError: not a family.
    """
    fields = dict(data)
    pseudos = {}
    for element, stored in fields.pop("pseudos").items():
        entries = dict(stored)
        cutoffs = {level: Cutoffs(**pair) for level, pair in entries.pop("cutoffs").items()}
        pseudos[element] = Pseudopotential(**entries, cutoffs=cutoffs)
    return PseudopotentialFamily(info=FamilyInfo(**fields), folder=folder, pseudos=pseudos)
