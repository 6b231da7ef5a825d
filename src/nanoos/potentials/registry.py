"""The potentials there are."""

from collections.abc import Iterable
from functools import cache

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.registry import Registry
from nanoos.potentials.base import Potential

POTENTIALS: Registry[type[Potential]] = Registry(
    "nanoos.potentials",
    {
        "CHGNet": "nanoos.potentials.chgnet:CHGNetPotential",
        "LJ": "nanoos.potentials.lennard_jones:LennardJones",
        "SevenNet": "nanoos.potentials.sevennet:SevenNetPotential",
    },
    extra="ml",
)
"""Name to class. ``LJ`` is the reference member for tests and is never a default."""

DEFAULT_POTENTIAL = "CHGNet"


def get_potential(name: str = DEFAULT_POTENTIAL, *, device: str = "cpu") -> Potential:
    """The potential called ``name``, its weights loaded once in a process.

    Args:
        name: Name in :data:`POTENTIALS`, in any case.
        device: ``"cpu"`` or ``"cuda"`` (``"cuda:1"``); analytic potentials ignore it.

    Raises:
        NotFoundError: no such potential; the hint gives the nearest name.
        UnavailableError: its package is not installed, or there is no such device.
    """
    return _load(POTENTIALS.canonical_name(name), device)


@cache
def _load(name: str, device: str) -> Potential:
    return POTENTIALS.get(name)(device=device)  # type: ignore[call-arg]


def potentials_covering(elements: Iterable[str]) -> list[str]:
    """Names of the installed potentials, reference members excepted, that cover ``elements``."""
    wanted = set(elements)
    names = []
    for name in POTENTIALS.names():
        try:
            member = POTENTIALS.get(name)
        except UnavailableError:
            continue
        covered = getattr(member, "ELEMENTS", None)
        if getattr(member, "REFERENCE_MEMBER", False):
            continue
        if wanted <= (covered if covered is not None else get_potential(name).elements):
            names.append(name)
    return names


def torch_device(device: str) -> str:
    """``device``, if this machine has it.

    Raises:
        InvalidInputError: not a device name.
        UnavailableError: CUDA was asked for and is not there.
    """
    import torch

    if device.split(":")[0] not in {"cpu", "cuda"}:
        raise InvalidInputError(f"There is no device {device!r}.", hint="Use 'cpu' or 'cuda'.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UnavailableError(
            "CUDA was asked for, but torch sees no CUDA device.",
            hint="Set the device to 'cpu', or install a CUDA build of torch.",
        )
    return device
