"""The job that imports a data set."""

from pathlib import Path

from nanoos.datasets.reading import open_rows
from nanoos.services.container import Services
from nanoos.services.dataset_records import ImportOptions
from nanoos.services.datasets import IMPORT_JOB, SEALED_NAME, Report
from nanoos.services.job_files import JobFiles
from nanoos.services.job_kinds import JobClaim, JobContext, JobKind, JobOutcome


def run_import(services: Services, claim: JobClaim, context: JobContext) -> JobOutcome:
    """Read the upload or the open database; the row is written with the job's end."""
    payload = claim.payload
    options = ImportOptions.model_validate(payload["options"])
    services.datasets.check_name(payload["name"])
    report = _report(context)
    if "upload" in payload:
        origin = {"kind": "upload"}
        path = _fetched(services, payload["upload"], context.run_dir)
        file_name = payload["upload"]["name"]
        stream = open_rows(path, options.read_options(), name=file_name, trusted=False)
    else:
        origin = {"kind": "database"}
        stream = services.datasets.database_stream(payload["database"], options, report)
    dataset_id, finalize = services.datasets.seal(
        stream,
        context.run_dir / SEALED_NAME,
        owner_id=claim.owner_id,
        name=payload["name"],
        shared=payload["shared"],
        origin=origin,
        options=options,
        report=report,
    )
    return JobOutcome(
        result={"dataset_id": str(dataset_id), "name": payload["name"]}, finalize=finalize
    )


def _report(context: JobContext) -> Report:
    def report(fraction: float | None, message: str) -> None:
        context.progress(fraction or 0.0, message)

    return report


def _fetched(services: Services, upload: dict[str, str], run_dir: Path) -> Path:
    """The upload as a file of the run folder; its suffix tells how it is packed."""
    target = run_dir / f"upload{''.join(Path(upload['name']).suffixes[-2:])}"
    with target.open("wb") as file:
        for chunk in JobFiles.iter_chunks(services.artifacts.open(upload["sha256"])):
            file.write(chunk)
    return target


DATASET_IMPORT = JobKind(name=IMPORT_JOB, handler=run_import)
