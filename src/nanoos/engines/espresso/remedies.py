"""What is tried, in this order, when an SCF does not converge. Each attempt is recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from nanoos.engines.espresso.input_file import PwTask, Value

Failure = Literal["unconverged", "diagonalisation"]

_FIRST_BETA: Final = 0.3
_LOCAL_BETA: Final = 0.2
_LAST_BETA: Final = 0.1
_WIDER: Final = 2.0
_LEAST_WIDE_RY: Final = 0.01
_MORE_BANDS: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A change of the input.

    Attributes:
        name: What it is called in records.
        changes: Namelist to keyword to value, on top of the remedies before.
        physics: Whether the converged energy is another one, not only the way there.
    """

    name: str
    changes: Mapping[str, Mapping[str, Value]]
    physics: bool = False


def ladder(task: PwTask, failure: Failure, allowed: str) -> Iterator[Remedy]:
    """The remedies for a failure, gentlest first.

    An eigensolver that broke down is replaced first; slower mixing would not mend it.

    Args:
        task: What failed.
        failure: How.
        allowed: ``all``, ``numerical`` (the smearing stays) or ``none``.
    """
    if allowed == "none":
        return
    rungs = (*_eigensolver(), *_mixing(task)) if failure == "diagonalisation" else _slow(task)
    for remedy in rungs:
        if allowed == "all" or not remedy.physics:
            yield remedy


def resumed_ladder(
    task: PwTask, tried: Sequence[str], allowed: str
) -> tuple[list[Remedy], Iterator[Remedy]] | None:
    """The remedies of these names, and those that come after them; None where no ladder begins so.

    Args:
        task: What failed at first.
        tried: Names, in the order in which they were tried.
        allowed: As for :func:`ladder`.
    """
    for failure in get_args(Failure):
        rungs = list(ladder(task, failure, allowed))
        before, after = rungs[: len(tried)], rungs[len(tried) :]
        if [remedy.name for remedy in before] == list(tried):
            return before, iter(after)
    return None


def _slow(task: PwTask) -> tuple[Remedy, ...]:
    return (*_mixing(task), _bands(task), *_eigensolver(), *_smearing(task))


def _mixing(task: PwTask) -> tuple[Remedy, ...]:
    beta = task.keyword("electrons", "mixing_beta")
    gentle = min(_FIRST_BETA, 0.5 * float(beta)) if isinstance(beta, (int, float)) else _FIRST_BETA
    return (
        Remedy(name=f"mixing_beta {gentle:g}", changes={"electrons": {"mixing_beta": gentle}}),
        Remedy(
            name="local Thomas-Fermi mixing",
            changes={
                "electrons": {
                    "mixing_mode": "local-TF",
                    "mixing_beta": min(_LOCAL_BETA, gentle),
                    "mixing_ndim": 12,
                }
            },
        ),
    )


def _bands(task: PwTask) -> Remedy:
    filled = task.choices.n_electrons / 2
    more = max(int(_MORE_BANDS * filled), int(filled) + 8, (task.choices.nbnd or 0) + 4)
    return Remedy(name=f"{more} bands", changes={"system": {"nbnd": more}})


def _eigensolver() -> tuple[Remedy, ...]:
    slow: dict[str, Value] = {"mixing_beta": _LAST_BETA}
    return (
        Remedy(
            name="conjugate gradients", changes={"electrons": {"diagonalization": "cg", **slow}}
        ),
        Remedy(
            name="projected conjugate gradients",
            changes={"electrons": {"diagonalization": "ppcg", **slow}},
        ),
    )


def _smearing(task: PwTask) -> tuple[Remedy, ...]:
    width = task.choices.degauss_ry
    wider = max(_LEAST_WIDE_RY, _WIDER * width)
    kind = task.choices.smearing or "gaussian"
    return (
        Remedy(
            name=f"{kind} smearing of {wider:g} Ry",
            changes={
                "system": {"occupations": "smearing", "smearing": kind, "degauss": wider},
                "electrons": {"diagonalization": "david"},
            },
            physics=True,
        ),
    )
