"""Files of jobs, copied to where a person works."""

from pathlib import Path
from typing import TYPE_CHECKING

from nanoos.cli.opening import local_user
from nanoos.cli.output import writable
from nanoos.cli.render import progress

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable

    from nanoos.services.container import Services


def copy_job_files(lab: "Services", job_id: "uuid.UUID", folder: Path) -> list[Path]:
    """Copy every file of a job into ``folder``, which is made; each is whole or not there.

    Returns:
        Their paths, in the order of the job's list; empty where it has none.

    Raises:
        NotFoundError: a file went while it was copied.
        InvalidInputError: it cannot be written there.
    """
    files = lab.job_files.names(job_id, local_user())
    total = max(1, sum(file.size_bytes for file in files))
    written, done = [], 0
    with progress("copying files") as report:

        def copied(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            report(min(1.0, done / total), file.name)

        for file in files:
            path = folder / file.name
            with writable(path), lab.job_files.open(job_id, file.name, local_user()) as handle:
                path.parent.mkdir(parents=True, exist_ok=True)
                _copy(lab.job_files.iter_chunks(handle, 1 << 20), path, copied)
            written.append(path)
    return written


def _copy(chunks: "Iterable[bytes]", path: Path, copied: "Callable[[int], None]") -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                copied(len(chunk))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
