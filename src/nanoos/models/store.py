"""Weights of others on this machine: found, verified, added whole or not at all, removed.

A set of weights is a folder under :func:`nanoos.potentials.installed_weights.weights_folder`.
It is put together in a hidden folder beside its place, loaded once as a check, written to the
disk with its manifest and then renamed: a process killed at any moment leaves either all of it
or nothing that counts as weights. What a killed one left hidden is cleared away by the next.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from nanoos.core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from nanoos.potentials.installed_weights import (
    MANIFEST,
    InstalledWeights,
    find_weights,
    installed_weights,
    weights_folder,
)
from nanoos.potentials.published_weights import PUBLISHED, UNUSABLE, PublishedWeights

Progress = Callable[[float, str], None]

_ADDING: Final = ".adding-"
_REMOVING: Final = ".removing-"
_ABANDONED_AFTER_S: Final = 3600.0
_LARGEST_FILE: Final = 512 * 1024 * 1024
_MOST_FILES: Final = 20_000
_TIMEOUT_S: Final = 60.0
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWeights:
    """Weights to add.

    Attributes:
        name: Of the set; the name of its folder.
        family: What kind of network they belong to.
        files: Name in the folder to where the file lies now.
        license: SPDX identifier.
        source: Who made them and where they came from.
        check: Loads them from the folder it is given; raises where they do not work.
    """

    name: str
    family: str
    files: Mapping[str, Path]
    license: str
    source: str
    check: Callable[[Path], None]


def add_weights(new: NewWeights) -> InstalledWeights:
    """Copy, check by loading, and put in place.

    Raises:
        ConflictError: a set of this name is there already.
        InvalidInputError: the files do not work.
        UnavailableError: the folder of weights cannot be written.
    """
    if find_weights(new.name) is not None:
        raise ConflictError(
            f"The weights {new.name} are on this machine already.",
            hint=f"To replace them: nanoos models remove {new.name}",
            code="weights_exist",
        )
    with _scratch() as scratch:
        files = {name: _copied(path, scratch / name) for name, path in new.files.items()}
        new.check(scratch)
        weights = InstalledWeights(
            name=new.name,
            family=new.family,
            folder=scratch,
            files=files,
            license=new.license,
            source=new.source,
            added_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        text = json.dumps(weights.as_dict(), indent=1) + "\n"
        _write_through(scratch / MANIFEST, text.encode())
        _settle(scratch, new.name)
    added = find_weights(new.name)
    if added is None:
        raise UnavailableError(f"The weights {new.name} vanished while they were added.")
    return added


def add_from(path: Path, *, name: str | None = None) -> list[InstalledWeights]:
    """Add every published set that is complete in a folder, or that a file belongs to.

    Files are recognised by their SHA-256, whatever the folder is called.

    Args:
        path: A folder, searched with its subfolders, or one file of a set.
        name: Only this set.

    Returns:
        What was added; sets that are on this machine already are left alone.

    Raises:
        NotFoundError: no such path, or no such published set.
        InvalidInputError: no complete set is there; says what is missing.
        ConflictError: all that is there was added before.
    """
    if not path.exists():
        raise NotFoundError(f"{path} does not exist.")
    wanted = [published(name)] if name is not None else list(PUBLISHED.values())
    found = _recognised(path if path.is_dir() else path.parent, wanted)
    complete = [w for w in wanted if len(found.get(w.name, {})) == len(w.files)]
    if not complete:
        raise _nothing_complete(path, wanted, found)
    new = [w for w in complete if find_weights(w.name) is None]
    if not new:
        names = ", ".join(w.name for w in complete)
        raise ConflictError(
            f"On this machine already: {names}.",
            hint=f"To replace: nanoos models remove {complete[0].name}",
            code="weights_exist",
        )
    return [add_weights(_published_as_new(w, found[w.name], f"added from {path}")) for w in new]


def pull(name: str, *, progress: Progress | None = None) -> InstalledWeights:
    """Download a published set, verify every file and add it.

    Raises:
        NotFoundError: no such published set; the hint names them.
        InvalidInputError: the name is of a model that uses several.
        ConflictError: it is on this machine already.
        UnavailableError: no network, or the files there are not the published ones.
    """
    weights = published(name)
    if find_weights(weights.name) is not None:
        raise ConflictError(
            f"The weights {weights.name} are on this machine already.",
            hint=f"To replace them: nanoos models remove {weights.name}",
            code="weights_exist",
        )
    with _scratch() as scratch:
        files = {}
        for i, (file, expected) in enumerate(weights.files.items()):
            if progress is not None:
                progress(i / len(weights.files), file)
            files[file] = scratch / file
            _download(weights.urls[file], files[file], expected, weights.name)
        return add_weights(_published_as_new(weights, files, weights.urls[next(iter(files))]))


def remove(name: str) -> InstalledWeights:
    """Take a set of weights off this machine.

    Raises:
        NotFoundError: it is not on this machine.
    """
    known = {found.casefold(): weights for found, weights in installed_weights().items()}
    weights = known.get(name.casefold())
    if weights is None:
        names = ", ".join(w.name for w in known.values()) or "none"
        raise NotFoundError(
            f"The weights {name} are not on this machine.", hint=f"On this machine: {names}."
        )
    gone = weights.folder.with_name(f"{_REMOVING}{os.getpid()}-{secrets.token_hex(4)}")
    weights.folder.rename(gone)
    shutil.rmtree(gone)
    return weights


def published(name: str) -> PublishedWeights:
    """The published set of this name, or the one that gives the model of this name.

    Raises:
        NotFoundError: there is none; the hint names those there are.
        InvalidInputError: the model of this name uses several; the message names them.
        UnavailableError: it is known not to run here.
    """
    folded = name.casefold()
    for weights in PUBLISHED.values():
        if weights.name.casefold() == folded:
            return weights
    for unusable, reason in UNUSABLE.items():
        if unusable.casefold() == folded:
            raise UnavailableError(
                f"{unusable} does not run here: {reason}.",
                hint=f"Instead: {', '.join(PUBLISHED)}.",
                code="weights_unusable",
            )
    giving = [w for w in PUBLISHED.values() if folded in {g.casefold() for g in w.gives}]
    if len(giving) == 1:
        return giving[0]
    if giving:
        model = next(g for g in giving[0].gives if g.casefold() == folded)
        raise InvalidInputError(
            f"{model} uses {len(giving)} published sets: {', '.join(w.name for w in giving)}.",
            hint=f"Name one of them, for example {giving[0].name}.",
            code="several_weights",
        )
    raise NotFoundError(
        f"There are no published weights {name!r}.", hint=f"Known: {', '.join(PUBLISHED)}."
    )


def check_published(weights: PublishedWeights, folder: Path) -> None:
    """Load every network of ``weights`` from ``folder`` and let it compute something.

    Raises:
        InvalidInputError: a file does not hold what it should, or nonsense comes out.
        UnavailableError: a package is missing.
    """
    from nanoos.models.published_check import CHECKS

    try:
        CHECKS[weights.family](weights.name, folder)
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"{weights.name} needs the Python package {error.name!r}.",
            hint="pip install 'nanoos[ml]'",
        ) from error


def _published_as_new(
    weights: PublishedWeights, files: Mapping[str, Path], origin: str
) -> NewWeights:
    return NewWeights(
        name=weights.name,
        family=weights.family,
        files=files,
        license=weights.license,
        source=f"{weights.source}; {origin}",
        check=lambda folder: check_published(weights, folder),
    )


def _recognised(folder: Path, wanted: Iterable[PublishedWeights]) -> dict[str, dict[str, Path]]:
    """Set name to the files of it that are under ``folder``, by content."""
    by_hash = {sha: (w.name, file) for w in wanted for file, sha in w.files.items()}
    names = {file for w in wanted for file in w.files}
    found: dict[str, dict[str, Path]] = {}
    for path in _files(folder, names):
        if (match := by_hash.get(_sha256(path))) is not None:
            found.setdefault(match[0], {})[match[1]] = path
    return found


def _files(folder: Path, names: set[str]) -> Iterator[Path]:
    suffixes = {"".join(Path(name).suffixes) for name in names}
    for seen, path in enumerate(sorted(folder.rglob("*"))):
        if seen >= _MOST_FILES:
            raise InvalidInputError(
                f"{folder} holds more than {_MOST_FILES:,} files.",
                hint="Give the folder of the weights itself.",
            )
        fits = any(path.name.endswith(suffix) for suffix in suffixes)
        if fits and path.is_file() and path.stat().st_size <= _LARGEST_FILE:
            yield path


def _nothing_complete(
    path: Path, wanted: list[PublishedWeights], found: Mapping[str, Mapping[str, Path]]
) -> InvalidInputError:
    partial = next((w for w in wanted if w.name in found), None)
    if partial is None:
        return InvalidInputError(
            f"No published weights were recognised in {path}.",
            hint=f"Known by their content: {', '.join(PUBLISHED)}.",
            code="weights_unknown",
        )
    missing = sorted(set(partial.files) - set(found[partial.name]))
    return InvalidInputError(
        f"{partial.name} is not complete in {path}: {', '.join(missing)} missing or changed.",
        hint=f"nanoos models pull {partial.name}",
        details={"name": partial.name, "missing": missing},
        code="weights_incomplete",
    )


def _download(url: str, target: Path, expected: str, name: str) -> None:
    alternative = f"Fetch the files of {name} on another machine, then: nanoos models add FOLDER"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as stream, target.open("wb") as out:  # noqa: S310
            size = 0
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > _LARGEST_FILE:
                    break
                out.write(chunk)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UnavailableError(
            f"{url} cannot be reached: {reason}.", hint=alternative, code="no_network"
        ) from error
    if _sha256(target) != expected:
        raise UnavailableError(
            f"{url} is not the file that was published: its SHA-256 differs.",
            hint=alternative,
            code="weights_changed",
        )


@contextmanager
def _scratch() -> Iterator[Path]:
    """A hidden folder beside the weights, gone afterwards unless it was renamed."""
    root = weights_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(root)
        scratch = root / f"{_ADDING}{os.getpid()}-{secrets.token_hex(4)}"
        scratch.mkdir()
    except OSError as error:
        raise UnavailableError(
            f"The folder of weights {root} cannot be written: {error.strerror}.",
            hint="Set NANO_OS_MODELS_DIR to a folder that you may write.",
        ) from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _clear_abandoned(root: Path) -> None:
    """Remove hidden folders of processes that are gone; old ones only, for shared disks."""
    for path in root.iterdir():
        prefix = next((p for p in (_ADDING, _REMOVING) if path.name.startswith(p)), None)
        if prefix is None:
            continue
        pid = path.name.removeprefix(prefix).partition("-")[0]
        old = time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S
        if old and not (pid.isdigit() and psutil.pid_exists(int(pid))):
            shutil.rmtree(path, ignore_errors=True)


def _settle(scratch: Path, name: str) -> None:
    """Rename the finished folder into place; of two at once, one wins."""
    _sync_folder(scratch)
    place = scratch.with_name(name)
    if place.exists() and find_weights(name) is None:  # a folder, but no weights: leave it be
        raise ConflictError(
            f"{place} is there already and holds no weights of NANO-OS.", hint="Move it away."
        )
    try:
        scratch.rename(place)
    except OSError as error:
        raise ConflictError(
            f"The weights {name} were added by somebody else meanwhile.", code="weights_exist"
        ) from error
    _sync_folder(place.parent)


def _copied(source: Path, target: Path) -> str:
    """Copy to the disk itself; the SHA-256 of what was written."""
    if source != target:
        digest = hashlib.sha256()
        with source.open("rb") as stream, target.open("wb") as out:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()
    return _sha256(target)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
