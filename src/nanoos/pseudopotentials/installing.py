"""Installing a family: from an archive on disk or from where it is published, whole or not at all."""

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nanoos.core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from nanoos.core.folders import existing_path
from nanoos.pseudopotentials.archive import read_members
from nanoos.pseudopotentials.family import FamilyInfo, PseudopotentialFamily
from nanoos.pseudopotentials.fetching import Progress, fetch
from nanoos.pseudopotentials.known import KNOWN_FAMILIES, KnownFamily, pins_of
from nanoos.pseudopotentials.reading import (
    Candidate,
    Suggestions,
    candidates,
    choose,
    pseudopotential,
)
from nanoos.pseudopotentials.store import FORMAT, MANIFEST, families, get_family, pseudo_folder

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
_ADDING: Final = ".adding-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a user says of a family that nobody here knows.

    Attributes:
        name: How it will be looked up; None where the family is known.
        license: Of its files.
        citation: What to cite.
        metadata: File with cutoffs: PseudoDojo's djson, SSSP's json.
    """

    name: str | None = None
    license: str | None = None
    citation: str | None = None
    metadata: Path | None = None


def install_family(
    what: str | Path, *, label: Label | None = None, progress: Progress | None = None
) -> PseudopotentialFamily:
    """Install the family called ``what``, or the one in the archive or folder ``what``.

    Args:
        what: A known name, or a path.
        label: For a family that is not known here; a name given wins over the known one.
        progress: Told (fraction, message).

    Raises:
        NotFoundError: neither a path nor a known name.
        ConflictError: code ``family_exists``; a family of this name is here with other files.
        InvalidInputError: the archive is hostile or damaged, holds no usable files, has files
            that are not those its name stands for (``hash_mismatch``), or nothing says what to
            call it (``unnamed_family``).
        UnavailableError: no network, or the folder cannot be written.
    """
    tell = progress or _untold
    given = label or Label()
    path = existing_path(str(what))
    if path is not None:
        return _from_disk(path, given, tell)
    known = _known(str(what))
    if known is None:
        raise NotFoundError(
            f"{str(what)!r} is neither a file nor a known pseudopotential family.",
            hint=f"Known: {', '.join(KNOWN_FAMILIES)}.",
        )
    with tempfile.TemporaryDirectory(prefix="nanoos-pseudos-") as scratch:
        archive = Path(scratch) / "archive"
        fetch(known.url, archive, family=known.name, progress=tell)
        metadata = None
        if known.metadata_url is not None and given.metadata is None:
            metadata = Path(scratch) / ("metadata.json" if "json" in known.metadata_url else "meta")
            fetch(known.metadata_url, metadata, family=known.name, progress=tell)
        labelled = replace(given, metadata=given.metadata or metadata)
        return _install(archive, known, labelled, known.url, tell)


def _known(name: str) -> KnownFamily | None:
    return next((f for n, f in KNOWN_FAMILIES.items() if n.casefold() == name.casefold()), None)


def _from_disk(path: Path, label: Label, tell: Progress) -> PseudopotentialFamily:
    known = None if label.name is None else _known(label.name)
    if known is None and label.name is None:
        known = next((f for f in KNOWN_FAMILIES.values() if path.name.startswith(f.stem)), None)
    return _install(path, known, label, path.name, tell)


def _install(
    archive: Path, known: KnownFamily | None, label: Label, source: str, tell: Progress
) -> PseudopotentialFamily:
    suggestions = Suggestions()
    tell(0.82, "reading the archive")
    if label.metadata is not None:
        _take_metadata(label.metadata, suggestions)
    found = candidates(read_members(archive), suggestions)
    if known is None and label.name is None:
        known = _recognised(found)
    chosen = choose(found, suggestions, pins_of(known) if known else {})
    verified = _verified(chosen, suggestions, known)
    pins = pins_of(known) if known else {}
    info = _info(chosen, known, label, source, verified=verified)
    pseudos = {
        element: pseudopotential(candidate, suggestions, pins)
        for element, candidate in sorted(chosen.items())
    }
    family = PseudopotentialFamily(info=info, folder=pseudo_folder() / info.name, pseudos=pseudos)
    existing = {one.name.casefold(): one for one in families()}.get(info.name.casefold())
    if existing is not None:
        if existing.sha256 == family.sha256:
            return _relabelled(existing, family, label)
        raise ConflictError(
            f"There is another family {existing.name} on this machine, with other files.",
            hint=f"nanoos pseudos remove {existing.name}, or give this one another --name.",
            code="family_exists",
        )
    tell(0.95, f"writing {len(pseudos)} files")
    _settle(family, chosen)
    return get_family(info.name)


def _relabelled(
    existing: PseudopotentialFamily, again: PseudopotentialFamily, label: Label
) -> PseudopotentialFamily:
    """A family with the same files, with what was said of it this time and not before."""
    info = replace(
        existing.info,
        license=label.license or existing.info.license,
        citation=label.citation or existing.info.citation,
    )
    pseudos = {
        element: replace(one, cutoffs=again.pseudos[element].cutoffs or one.cutoffs)
        for element, one in existing.pseudos.items()
    }
    family = replace(existing, info=info, pseudos=pseudos)
    if family.as_dict() == existing.as_dict():
        return existing
    with _writable(family.folder) as folder:
        scratch = folder / f".{MANIFEST}.{os.getpid()}-{secrets.token_hex(4)}"
        try:
            _write_through(scratch, _manifest(family))
            scratch.replace(folder / MANIFEST)
        finally:
            scratch.unlink(missing_ok=True)
    return get_family(family.name)


def _manifest(family: PseudopotentialFamily) -> bytes:
    document = {"format": FORMAT, **family.as_dict()}
    return (json.dumps(document, indent=1) + "\n").encode()


def _take_metadata(path: Path, suggestions: Suggestions) -> None:
    if path.suffix in {".json", ".djson"}:
        try:
            suggestions.take(path.name, path.read_bytes())
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error
    else:
        candidates(read_members(path), suggestions)


def _recognised(found: list[Candidate]) -> KnownFamily | None:
    """The known family that every file belongs to, by hashes."""
    hashes = {candidate.sha256 for candidate in found}
    for known in KNOWN_FAMILIES.values():
        pinned = {pin.sha256 for pin in pins_of(known).values()}
        if pinned and pinned <= hashes:
            return known
    return None


def _verified(
    chosen: Mapping[str, Candidate], suggestions: Suggestions, known: KnownFamily | None
) -> bool:
    """Whether every file is the published one.

    Raises:
        InvalidInputError: code ``hash_mismatch``.
    """
    pins = pins_of(known) if known else {}
    wrong = [
        candidate.name
        for element, candidate in chosen.items()
        if (element in pins and pins[element].sha256 != candidate.sha256)
        or (
            element in suggestions.md5
            and hashlib.md5(candidate.data).hexdigest() != suggestions.md5[element]  # noqa: S324 - published so
        )
    ]
    if wrong:
        name = known.name if known else "the metadata"
        raise InvalidInputError(
            f"{len(wrong)} files are not those that {name} stands for: {', '.join(wrong[:5])}.",
            hint="Fetch the archive again; or install it under a --name of your own.",
            details={"files": wrong},
            code="hash_mismatch",
        )
    return all(element in pins or element in suggestions.md5 for element in chosen)


def _info(
    chosen: Mapping[str, Candidate],
    known: KnownFamily | None,
    label: Label,
    source: str,
    *,
    verified: bool,
) -> FamilyInfo:
    name = label.name or (known.name if known else None)
    if name is None:
        raise InvalidInputError(
            "Nothing says what this family is called.",
            hint="Give --name, and --license and --citation where you know them.",
            code="unnamed_family",
        )
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} cannot be the name of a family.",
            hint="Use letters, digits and . _ + -, beginning with a letter or digit.",
        )
    functional = _only({c.header.functional for c in chosen.values()}, "functional", name)
    relativistic = _only({c.header.relativistic for c in chosen.values()}, "relativistic", name)
    if known is not None and functional != known.functional:
        raise InvalidInputError(
            f"These files are for {functional}; {known.name} is for {known.functional}.",
            code="hash_mismatch",
        )
    return FamilyInfo(
        name=name,
        version=known.version if known else "unknown",
        functional=functional,
        relativistic=relativistic,
        license=label.license or (known.license if known else "unknown"),
        citation=label.citation or (known.citation if known else "unknown"),
        source=source,
        verified=verified,
        installed_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _only(found: set[str], what: str, name: str) -> str:
    """The one value that all files share; SSSP mixes ``scalar`` and ``none`` for light elements."""
    if what == "relativistic" and "full" not in found:
        found = {"scalar"} if "scalar" in found else found
    if len(found) > 1:
        raise InvalidInputError(
            f"The files of {name} do not belong together: {what} {', '.join(sorted(found))}.",
            hint="A family has one functional and one treatment of relativity.",
            code="ambiguous_family",
        )
    return next(iter(found))


def _settle(family: PseudopotentialFamily, chosen: Mapping[str, Candidate]) -> None:
    """Write everything beside its place, then rename."""
    with _writable(family.folder.parent) as root:
        _clear(root)
        scratch = root / f"{_ADDING}{os.getpid()}-{secrets.token_hex(4)}"
        scratch.mkdir()
        try:
            for element, pseudo in family.pseudos.items():
                _write_through(scratch / pseudo.file, chosen[element].data)
            _write_through(scratch / MANIFEST, _manifest(family))
            scratch.rename(family.folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _writable(root: Path) -> Iterator[Path]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield root
    except OSError as error:
        raise UnavailableError(
            f"The folder of pseudopotentials {root} cannot be written: {error.strerror}.",
            hint="Set NANO_OS_PSEUDO_DIR to a folder that you may write, or make room.",
            code="unwritable",
        ) from error


def _clear(root: Path) -> None:
    """Delete what installations that were killed left; their process is gone."""
    for left in root.glob(f"{_ADDING}*"):
        with suppress(ValueError, OSError):
            pid = int(left.name.removeprefix(_ADDING).split("-")[0])
            if not Path(f"/proc/{pid}").exists():
                shutil.rmtree(left, ignore_errors=True)


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _untold(_fraction: float, _message: str) -> None:
    """Progress that nobody wants."""
