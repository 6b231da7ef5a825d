"""Bytes to text, numbers from text: each failure says what is wrong and where."""

import codecs
import math

from nanoos.core.errors import StructureRefusedError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\v\x1a\x1b")
_SNIFFED_BYTES = 65_536


def decode_text(data: bytes) -> str:
    """Text of a structure file: UTF-8, UTF-16 or UTF-32 with a byte order mark, or Latin-1.

    Latin-1 is what older programs wrote names and comments in; everything that is read as
    data is ASCII, so nothing is guessed where it matters.

    Raises:
        StructureRefusedError: ``empty_file``, ``binary_file`` or ``wrong_encoding``.
    """
    if not data.strip():
        raise StructureRefusedError(
            "The file is empty." if not data else "The file holds nothing but white space.",
            hint="The program that wrote it may have stopped early; write it again.",
            code="empty_file",
        )
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data, encoding)
    refuse_binary(data[:_SNIFFED_BYTES])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise StructureRefusedError(
            f"The file claims to be {encoding.upper()} and is not (byte {error.start}).",
            hint="Save it as UTF-8.",
            code="wrong_encoding",
        ) from error
    if "\0" in text[:_SNIFFED_BYTES]:
        raise _binary()
    return text


def refuse_binary(start: bytes) -> None:
    """Refuse bytes that cannot be the start of a text file.

    Raises:
        StructureRefusedError: ``binary_file`` or ``wrong_encoding``.
    """
    nul = start.count(0)
    if nul:
        # in UTF-16 of plain text every second byte is 0
        if max(start[::2].count(0), start[1::2].count(0)) > 0.9 * len(start) / 2 >= 1:
            raise StructureRefusedError(
                "The file is UTF-16 without a byte order mark.",
                hint="Save it as UTF-8.",
                code="wrong_encoding",
            )
        raise _binary()
    controls = sum(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in start)  # noqa: PLR2004
    if controls > max(1, len(start) // 100):
        raise _binary()


def _binary() -> StructureRefusedError:
    return StructureRefusedError(
        "The file is binary, not text.",
        hint="Give CIF, POSCAR, extended XYZ, XSF or JSON; unpack compressed files first "
        "(zip files are read as they are).",
        code="binary_file",
    )


def malformed(what: str, *, line: int | None = None, hint: str) -> StructureRefusedError:
    """The refusal of a file that breaks its format, at a line counted from 1."""
    where = "" if line is None else f"Line {line}: "
    return StructureRefusedError(
        f"{where}{what}",
        hint=hint,
        details={} if line is None else {"line": line},
        code="malformed_file",
    )


def shown(text: str) -> str:
    """Text from a file as it may stand in a message: short, on one line, quoted."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 60 else flat[:57] + "...")  # noqa: PLR2004


def number(token: str, *, line: int, what: str) -> float:
    """A finite number; Fortran exponents (``1.0D-3``) are understood.

    Raises:
        StructureRefusedError: ``not_finite`` for NaN and infinity, else ``malformed_file``.
    """
    try:
        value = float(token.replace("D", "e").replace("d", "e") if "_" not in token else "")
    except ValueError:
        raise malformed(
            f"{what} should be a number, not {shown(token)}.",
            line=line,
            hint="Give a plain decimal number.",
        ) from None
    if not math.isfinite(value):
        raise StructureRefusedError(
            f"Line {line}: {what} is {token[:20]}.",
            hint="The file comes from a run that failed; give finite numbers.",
            details={"line": line},
            code="not_finite",
        )
    return value


def numbers(tokens: list[str], count: int, *, line: int, what: str) -> list[float]:
    """The first ``count`` tokens as numbers.

    Raises:
        StructureRefusedError: too few, or one is not a finite number.
    """
    if len(tokens) < count:
        raise malformed(
            f"{what} needs {count} numbers, found {len(tokens)}.",
            line=line,
            hint="The line is cut off or has another format.",
        )
    return [number(token, line=line, what=what) for token in tokens[:count]]


def whole(token: str, *, line: int, what: str) -> int:
    """A whole number.

    Raises:
        StructureRefusedError: ``malformed_file``.
    """
    if not token.isascii() or not token.lstrip("+-").isdigit() or len(token) > 12:  # noqa: PLR2004
        raise malformed(
            f"{what} should be a whole number, not {shown(token)}.",
            line=line,
            hint="The file is cut off, or a line is missing before this one.",
        )
    return int(token)


def missing_lattice(what: str, hint: str) -> StructureRefusedError:
    """The refusal of atoms without a cell."""
    return StructureRefusedError(what, hint=hint, code="missing_lattice")
