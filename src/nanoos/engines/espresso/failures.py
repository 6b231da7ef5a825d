"""Why a start of pw.x gave no result, in words."""

from pathlib import Path
from typing import Final

from nanoos.core.errors import EngineError, NanoosError, UnavailableError
from nanoos.engines.child_process import disk_full, disk_is_full, killed, last_lines, signal_of
from nanoos.engines.espresso.stdout import PwOutput

_EIGENSOLVER_ROUTINES: Final = frozenset(
    ("cdiaghg", "rdiaghg", "c_bands", "cegterg", "regterg", "pcdiaghg", "prdiaghg", "zpotrf")
)
_EIGENSOLVER_WORDS: Final = (
    "too many bands are not converged",
    "problems computing cholesky",
    "S matrix not positive definite",
)
_HINTS: Final = {
    "read_upf": "Install the pseudopotential family again.",
    "readpp": "Install the pseudopotential family again.",
    "setup": "Check spin, occupations and the number of electrons.",
    "check_atoms": "Two atoms lie on each other.",
    "iosys": "See the input file beside the output.",
    "scale_h": "The cell became much larger than at the start: begin from a better cell.",
    "divide_et_impera": "There are more pools (nk) or processes than k-points.",
    "mp_start_pools": "nk must divide the number of processes of NANO_OS_QE_COMMAND.",
}


def breaks_the_eigensolver(reader: PwOutput, said: str) -> bool:
    """Whether the diagonalisation failed, which another algorithm may mend."""
    routine = (reader.error_routine or "").lower()
    text = " ".join(reader.error_lines) + said
    return routine in _EIGENSOLVER_ROUTINES or any(w in text for w in _EIGENSOLVER_WORDS)


def failure(
    reader: PwOutput, code: int, folder: Path, output: Path, errors: Path, *, resumable: bool
) -> NanoosError:
    """The error to raise for an exit that was no success; ``resumable``: something is saved."""
    said = last_lines(errors)
    tail = last_lines(output)
    routine = (reader.error_routine or "").lower()
    if disk_is_full(folder, said + tail):
        goes_on = "; the run goes on from what is saved" if resumable else ""
        return disk_full("pw.x", goes_on=goes_on)
    if routine:
        text = " ".join(reader.error_lines) or "it says no more"
        return EngineError(
            f"pw.x stopped in {routine}: {text}",
            hint=_HINTS.get(routine, f"See {output.name} of the run."),
            details={"routine": routine, "message": text},
            code="qe_failed",
        )
    if (number := signal_of(code)) is not None:
        return killed("pw.x", number, resumable=resumable)
    if "No module named" in said or "No such file or directory" in said:
        return UnavailableError(
            f"pw.x did not start: {said}",
            hint="nanoos tools doctor; or check NANO_OS_QE_COMMAND.",
            code="no_pw",
        )
    return EngineError(
        f"pw.x ended with exit code {code}: {said or tail or 'it said nothing'}",
        hint=f"See {output.name} and {errors.name} of the run.",
        code="qe_failed",
    )
