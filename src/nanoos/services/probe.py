"""The probe job: does nothing but prove that the spine works, in ways that tests can ask for."""

import subprocess
import sys
import time

from pydantic import BaseModel, ConfigDict, Field

from nanoos.core.errors import EngineError, TransientError
from nanoos.core.processes import start_bound
from nanoos.services.container import Services
from nanoos.services.job_kinds import JobClaim, JobContext, JobKind, JobOutcome


class ProbePayload(BaseModel):
    """What a probe job does."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(default=0.0, ge=0, le=3600)
    """How long it works, s."""
    steps: int = Field(default=1, ge=1, le=10_000)
    """Into how many reported steps."""
    fail: str | None = Field(default=None, pattern="^(permanent|transient|once)$")
    """How it fails: for good, each time but worth a retry, or only on the first attempt."""
    child_program: bool = False
    """Whether it starts a program of its own, as an engine does."""


def run_probe(services: Services, claim: JobClaim, context: JobContext) -> JobOutcome:
    """Sleep in steps, leaving a line in ``trace.txt`` for each; resumes where it was.

    A job of one step leaves no file.
    """
    del services
    payload = ProbePayload.model_validate(dict(claim.payload))
    trace = context.run_dir / "trace.txt"
    done = len(trace.read_text().splitlines()) if trace.exists() else 0
    program: subprocess.Popen[bytes] | None = None
    if payload.child_program:
        program = start_bound([sys.executable, "-c", "import time; time.sleep(3600)"])
    try:
        for step in range(done, payload.steps):
            time.sleep(payload.seconds / payload.steps)
            if payload.steps > 1:
                with trace.open("a") as file:
                    file.write(f"{claim.attempt} {step}\n")
                context.progress((step + 1) / payload.steps, f"step {step + 1}/{payload.steps}")
    finally:
        if program is not None:
            program.kill()
            program.wait()
    if payload.fail == "permanent":
        raise EngineError("The probe was asked to fail.", code="probe_failed")
    if payload.fail == "transient" or (payload.fail == "once" and claim.attempt == 1):
        raise TransientError("The probe was asked to fail for a while.")
    files = (trace,) if payload.steps > 1 else ()
    return JobOutcome(result={"attempt": claim.attempt, "steps": payload.steps}, files=files)


PROBE = JobKind(name="probe", handler=run_probe)
