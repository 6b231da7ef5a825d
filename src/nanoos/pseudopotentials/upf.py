"""What the header of a UPF file says; the numbers that follow are the DFT code's business.

Ref: the UPF specification of Quantum ESPRESSO (pseudo_header of version 2; the text header of
version 1).
"""

import re
from dataclasses import dataclass
from typing import Final

from nanoos.core.errors import InvalidInputError
from nanoos.structures.elements import ATOMIC_NUMBERS

_HEADER: Final = re.compile(rb"<PP_HEADER(.*?)(/>|</PP_HEADER>)", re.DOTALL)
_ATTRIBUTE: Final = re.compile(r"([A-Za-z_]\w*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_TYPES: Final = {"NC": "NC", "SL": "NC", "US": "US", "USPP": "US", "PAW": "PAW", "1/R": "NC"}
_FUNCTIONALS: Final = {
    "PBE": "PBE",
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBE PBE": "PBE",
    "PBESOL": "PBEsol",
    "SLA PW PSX PSC": "PBEsol",
    "PZ": "LDA",
    "LDA": "LDA",
    "SLA PZ NOGX NOGC": "LDA",
    "PW": "LDA",
    "SLA PW NOGX NOGC": "LDA",
    "SCAN": "SCAN",
}
_RELATIVISTIC: Final = {"scalar": "scalar", "full": "full", "no": "none", "nonrelativistic": "none"}
LARGEST_HEADER: Final = 1 << 20
"""A header lies within so many bytes, what its maker wrote before it included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpfHeader:
    """What a pseudopotential says of itself.

    Attributes:
        element: Symbol.
        z_valence: Electrons it leaves to the calculation.
        kind: ``NC`` norm-conserving, ``US`` ultrasoft, ``PAW``.
        functional: ``PBE``, ``PBEsol``, ``LDA``, ``SCAN``, or what the file says.
        relativistic: ``scalar``, ``full`` or ``none``.
        wfc_cutoff_ry: Suggested for wavefunctions, Ry; None where it says nothing.
        rho_cutoff_ry: Suggested for the charge density, Ry; None where it says nothing.
    """

    element: str
    z_valence: float
    kind: str
    functional: str
    relativistic: str
    wfc_cutoff_ry: float | None
    rho_cutoff_ry: float | None


def read_upf_header(data: bytes, name: str) -> UpfHeader:
    """Read the header at the beginning of a UPF file.

    Args:
        data: The file, or its first megabyte.
        name: For the error.

    Raises:
        InvalidInputError: code ``invalid_upf``; it is no UPF file, or its header lacks
            something.
    """
    found = _HEADER.search(data[:LARGEST_HEADER])
    if found is None:
        raise _refused(name, "it has no PP_HEADER")
    text = found.group(1).decode("utf-8", "replace")
    attributes = {key.lower(): (a or b).strip() for key, a, b in _ATTRIBUTE.findall(text)}
    try:
        fields = _of_attributes(attributes) if "element" in attributes else _of_text(text)
    except (ValueError, KeyError, IndexError) as error:
        raise _refused(name, f"its header cannot be read ({error})") from error
    if fields.element not in ATOMIC_NUMBERS:
        raise _refused(name, f"its element {fields.element!r} does not exist")
    if not 0 < fields.z_valence <= ATOMIC_NUMBERS[fields.element]:
        raise _refused(name, f"it leaves {fields.z_valence:g} electrons of {fields.element}")
    return fields


def _of_attributes(attributes: dict[str, str]) -> UpfHeader:
    kind = attributes["pseudo_type"].upper()
    if _true(attributes.get("is_paw")):
        kind = "PAW"
    elif _true(attributes.get("is_ultrasoft")):
        kind = "US"
    relativistic = attributes.get("relativistic", "scalar").lower()
    if _true(attributes.get("has_so")):
        relativistic = "full"
    return UpfHeader(
        element=attributes["element"].strip().capitalize(),
        z_valence=_number(attributes["z_valence"]),
        kind=_TYPES.get(kind, kind),
        functional=_functional(attributes["functional"]),
        relativistic=_RELATIVISTIC.get(relativistic, relativistic),
        wfc_cutoff_ry=_cutoff(attributes.get("wfc_cutoff")),
        rho_cutoff_ry=None,  # ONCVPSP writes the extent of its radial grid there
    )


def _of_text(text: str) -> UpfHeader:
    """Version 1: a value and its name on each line."""
    lines = [line.split() for line in text.strip("> \n").splitlines() if line.strip()]
    functional = " ".join(lines[4][:4]) if lines[4][0] == "SLA" else lines[4][0]
    wfc, rho = (None, None) if len(lines) < 8 else (_cutoff(lines[7][0]), _cutoff(lines[7][1]))  # noqa: PLR2004
    return UpfHeader(
        element=lines[1][0].capitalize(),
        z_valence=_number(lines[5][0]),
        kind=_TYPES.get(lines[2][0].upper(), lines[2][0].upper()),
        functional=_functional(functional),
        relativistic="scalar",
        wfc_cutoff_ry=wfc,
        rho_cutoff_ry=rho,
    )


def _functional(text: str) -> str:
    words = " ".join(text.upper().replace("-", " ").split())
    return _FUNCTIONALS.get(words, text.strip())


def _true(text: str | None) -> bool:
    return text is not None and text.strip(". ").upper() in {"T", "TRUE"}


def _number(text: str) -> float:
    return float(text.strip().upper().replace("D", "E"))


def _cutoff(text: str | None) -> float | None:
    value = 0.0 if text is None else _number(text)
    return value if value > 0 else None


def _refused(name: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{name} is no usable pseudopotential: {why}.",
        hint="Give UPF files (version 2 or 1) as Quantum ESPRESSO reads them.",
        code="invalid_upf",
    )
