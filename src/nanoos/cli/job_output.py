"""Files of jobs, copied to where a person works."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos.cli.opening import local_user
from nanoos.cli.output import writable

if TYPE_CHECKING:
    import uuid

    from nanoos.services.container import Services


def copy_job_files(lab: "Services", job_id: "uuid.UUID", folder: Path) -> list[Path]:
    """Copy every file of a job into ``folder``, which is made; each is whole or not there.

    Returns:
        Their paths, in the order of the job's list; empty where it has none.

    Raises:
        NotFoundError: a file went while it was copied.
        InvalidInputError: it cannot be written there.
    """
    written = []
    for file in lab.job_files.names(job_id, local_user()):
        path = folder / file.name
        part = path.with_name(f".{path.name}.part")
        with writable(path), lab.job_files.open(job_id, file.name, local_user()) as handle:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                shutil.copyfileobj(handle, stream)
            part.replace(path)
        written.append(path)
    return written
