"""What reading gives: one outcome for each structure of each file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from nanoos.core.errors import NanoosError, StructureRefusedError
from nanoos.structures.checks import check_structure
from nanoos.structures.structure import MAX_SITES, Structure

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """What a reader accepts before it gives up; all sizes in bytes.

    Attributes:
        max_sites: Sites of one structure.
        max_file_bytes: A file that must be read whole (everything but extended XYZ).
        max_stream_bytes: An extended XYZ file, which is read frame by frame.
        max_line_bytes: One line of an extended XYZ file.
        max_members: Files in one zip.
        max_total_bytes: Unpacked content of one zip, all members together.
        max_ratio: Unpacked over packed size of a zip member; above it, it is a zip bomb.
    """

    max_sites: int = MAX_SITES
    max_file_bytes: int = 64 * _MIB
    max_stream_bytes: int = 16 * _GIB
    max_line_bytes: int = _MIB
    max_members: int = 100_000
    max_total_bytes: int = 2 * _GIB
    max_ratio: float = 200.0


DEFAULT_LIMITS: Final = ReadLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOutcome:
    """One structure that was read, or why it was not.

    Attributes:
        file: The file as given; ``archive.zip/member.cif`` inside a zip.
        index: Position of the structure in its file, from 0.
        structure: The structure, None where it was refused.
        source_id: What the file calls it: the extxyz ``id`` key, the CIF data name, the id of
            an OPTIMADE entry.
        error: Why it was refused, None where it was read.
    """

    file: str
    index: int
    structure: Structure | None
    source_id: str | None
    error: NanoosError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One structure found in a file, not built yet.

    Readers give entries instead of structures, so that a bad frame is met where it can be
    reported and does not end the reading of its file.

    Attributes:
        build: Gives the structure or raises.
        source_id: What the file calls it.
    """

    build: Callable[[], Structure]
    source_id: str | None = None


def refused_entry(error: NanoosError, *, source_id: str | None = None) -> Entry:
    """An entry that is known to be refused."""

    def build() -> Structure:
        raise error

    return Entry(build=build, source_id=source_id)


def failure(file: str, error: NanoosError, *, index: int = 0) -> ReadOutcome:
    """The outcome of a file that gave no structure at this index."""
    return ReadOutcome(file=file, index=index, structure=None, source_id=None, error=error)


def outcomes(file: str, entries: Iterator[Entry]) -> Iterator[ReadOutcome]:
    """Build and check every entry; each gives one outcome and nothing is raised."""
    index = 0
    while True:
        source_id = None
        structure: Structure | None = None
        error: NanoosError | None = None
        ended = False
        try:
            entry = next(entries)
            source_id = entry.source_id
            structure = _accepted(entry.build(), source_id)
        except StopIteration:
            if index:
                return
            error = no_structures(f"{file} holds no structure.")
            ended = True
        except NanoosError as refusal:
            error = refusal
        except OSError as problem:
            error = unreadable(file, problem)
        except Exception as problem:  # noqa: BLE001 - the one edge to foreign input and parsers
            error = _unexpected(problem)
        yield ReadOutcome(
            file=file, index=index, structure=structure, source_id=source_id, error=error
        )
        if ended:
            return
        index += 1


def _accepted(structure: Structure, source_id: str | None) -> Structure:
    check_structure(structure)
    if structure.is_left_handed:
        raise StructureRefusedError(
            f"The lattice vectors are left-handed: the cell has a negative volume of "
            f"{-structure.volume:.4g} Å^3.",
            hint="Change the sign of all three vectors and of all fractional coordinates: that is "
            "the same crystal in a right-handed cell.",
            details={"volume_a3": -structure.volume},
            code="negative_volume",
        )
    return structure if structure.label else structure.with_label(source_id)


def no_structures(message: str) -> StructureRefusedError:
    """The refusal of a file, folder or zip in which there is nothing to read."""
    return StructureRefusedError(
        message,
        hint="Known formats: CIF, POSCAR, extended XYZ, XSF, JSON (nanoos, pymatgen, OPTIMADE) "
        "and zip files of these.",
        code="no_structures",
    )


def unreadable(file: str, problem: OSError) -> StructureRefusedError:
    """The refusal of a file that the operating system does not hand out."""
    return StructureRefusedError(
        f"{file} cannot be read: {problem.strerror or problem}.",
        hint="Check the permissions and the disk.",
        code="unreadable_file",
    )


def _unexpected(problem: Exception) -> StructureRefusedError:
    text = str(problem).strip()
    first_line = text.splitlines()[0][:200] if text else type(problem).__name__
    return StructureRefusedError(
        f"The file cannot be understood: {first_line}",
        hint="Check the file with the program that wrote it.",
        details={"exception": type(problem).__name__},
        code="malformed_file",
    )
