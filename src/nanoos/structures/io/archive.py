"""Zip files, read member by member in memory: nothing is ever unpacked to a disk.

Sizes are counted while reading; what the headers claim is not believed.
"""

import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from nanoos.core.errors import StructureRefusedError, TooLargeError
from nanoos.structures.io.formats import Format, format_of_name
from nanoos.structures.io.outcome import ReadLimits, ReadOutcome, failure, no_structures

_CHUNK_BYTES = 1 << 20
_FREE_BYTES = 4 << 20
"""The ratio of packed to unpacked size is not judged below this size."""

_DRIVE = re.compile(r"^[A-Za-z]:")
_ENCRYPTED = 0x1


@dataclass(slots=True)
class _Budget:
    """Unpacked bytes that one archive may still give."""

    left: int
    spent: bool = False


class MemberStream:
    """A member of a zip that stops giving when it or its archive gets too large."""

    def __init__(
        self, member: IO[bytes], info: zipfile.ZipInfo, budget: _Budget, limits: ReadLimits
    ) -> None:
        self._member = member
        self._packed = max(1, info.compress_size)
        self._budget = budget
        self._limits = limits
        self._given = 0

    def _taken(self, take: Callable[[int], bytes], size: int) -> bytes:
        try:
            return take(size)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            raise _damaged(str(error)) from error

    def _counted(self, data: bytes) -> bytes:
        self._given += len(data)
        self._budget.left -= len(data)
        if self._given > max(_FREE_BYTES, self._limits.max_ratio * self._packed):
            raise StructureRefusedError(
                f"The member unpacks to more than {self._given / self._packed:.0f} times its "
                "packed size: a zip bomb.",
                hint="Give the files themselves.",
                code="zip_bomb",
            )
        if self._budget.left < 0:
            self._budget.spent = True
            raise TooLargeError(
                f"The zip unpacks to more than {self._limits.max_total_bytes:,} bytes.",
                hint="Split it.",
                code="zip_bomb",
            )
        return data

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, all of them unless the member ends."""
        parts = []
        while size > 0 and (part := self._taken(self._member.read, min(size, _CHUNK_BYTES))):
            parts.append(self._counted(part))
            size -= len(part)
        return b"".join(parts)

    def readline(self, size: int = -1, /) -> bytes:
        """One line, at most ``size`` bytes of it."""
        return self._counted(self._taken(self._member.readline, size))


ReadMember = Callable[[str, str, MemberStream], Iterator[ReadOutcome]]
"""Reads one member: full name for the outcome, bare name, stream."""


def archive_outcomes(
    file: str, archive: IO[bytes], limits: ReadLimits, read_member: ReadMember
) -> Iterator[ReadOutcome]:
    """Outcomes of all members with structures; other files (a README) are passed over.

    A refused member stops nothing; an archive over its total limit ends there.
    """
    try:
        opened = zipfile.ZipFile(archive)
        members = [info for info in opened.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, NotImplementedError) as error:
        yield failure(file, _damaged(str(error)))
        return
    with opened:
        if len(members) > limits.max_members:
            error_text = f"The zip has {len(members):,} files; the limit is {limits.max_members:,}."
            yield failure(file, TooLargeError(error_text, hint="Split it."))
            return
        budget = _Budget(limits.max_total_bytes)
        found = False
        for info in sorted(members, key=lambda info: info.filename):
            refusal = _refusal(info)
            if refusal is None and not _wanted(info.filename):
                continue
            found = True
            name = f"{file}/{info.filename}"
            if refusal is not None:
                yield failure(name, refusal)
                continue
            try:
                with opened.open(info) as member:
                    stream = MemberStream(member, info, budget, limits)
                    yield from read_member(name, info.filename, stream)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
                yield failure(name, _damaged(str(error)))
            if budget.spent:
                return
        if not found:
            yield failure(file, no_structures(f"{file} holds no structure files."))


def _wanted(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and format_of_name(name) is not None


def _refusal(info: zipfile.ZipInfo) -> StructureRefusedError | None:
    """Why a member is not even opened."""
    # orig_filename keeps what zipfile cuts off or rewrites (a NUL, backslashes)
    name = info.orig_filename.replace("\\", "/")
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/") or "\0" in name:
        return StructureRefusedError(
            f"{info.filename[:100]!r} points outside the archive.",
            hint="Names in a zip are relative and without '..'; pack it again.",
            code="unsafe_name",
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        return StructureRefusedError(
            f"{info.filename[:100]!r} is a symbolic link.",
            hint="Pack the file that it points to.",
            code="unsafe_name",
        )
    if info.flag_bits & _ENCRYPTED:
        return StructureRefusedError(
            f"{info.filename[:100]!r} is encrypted.",
            hint="Pack it without a password.",
            code="encrypted_zip",
        )
    if format_of_name(info.filename) is Format.ZIP:
        return StructureRefusedError(
            f"{info.filename[:100]!r} is a zip inside a zip.",
            hint="Unpack it and give its files.",
            code="nested_zip",
        )
    return None


def _damaged(what: str) -> StructureRefusedError:
    return StructureRefusedError(
        f"The zip is damaged: {what or 'it cannot be read'}.",
        hint="Copy or pack it again.",
        code="damaged_zip",
    )
