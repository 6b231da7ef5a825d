"""The potentials there are."""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Final

from nanoos.core.registry import Registry
from nanoos.potentials.base import Potential
from nanoos.potentials.runtime import default_device

POTENTIALS: Registry[type[Potential]] = Registry(
    "nanoos.potentials",
    {
        "CHGNet": "nanoos.potentials.chgnet:CHGNetPotential",
        "LJ": "nanoos.potentials.lennard_jones:LennardJones",
        "M3GNET": "nanoos.potentials.m3gnet:M3GNetMP",
        "M3GNET-MatPES-PBE": "nanoos.potentials.m3gnet:M3GNetMatPESPBE",
        "M3GNET-MatPES-r2SCAN": "nanoos.potentials.m3gnet:M3GNetMatPESr2SCAN",
        "MACE": "nanoos.potentials.mace:MACEPotential",
        "SevenNet": "nanoos.potentials.sevennet:SevenNetPotential",
        "TensorNet-MatPES-PBE": "nanoos.potentials.m3gnet:TensorNetMatPESPBE",
        "TensorNet-MatPES-r2SCAN": "nanoos.potentials.m3gnet:TensorNetMatPESr2SCAN",
    },
    extra="ml",
)
"""Name to class; a class takes one keyword, ``device``."""

_PACKAGES: Final = {"CHGNet": ("torch", "chgnet"), "SevenNet": ("torch", "sevenn")}
"""What brings the weights of a potential whose module imports torch."""

DEFAULT_POTENTIAL: Final = "CHGNet"
REFERENCE_POTENTIAL: Final = "LJ"
"""Cheap and about no real material: for tests, never a default and never suggested."""


def check_potential(name: str) -> None:
    """Refuse a potential that cannot run here, without loading its weights or torch.

    Raises:
        NotFoundError: no such potential.
        UnavailableError: a package, a tool or weights are missing; the hint has the commands.
    """
    packages = _PACKAGES.get(POTENTIALS.canonical_name(name))
    if packages is not None and all(find_spec(package) for package in packages):
        return
    check = getattr(POTENTIALS.get(name), "check_available", None)
    if check is not None:
        check()


def added_weights(name: str) -> Mapping[str, str]:
    """Name to SHA-256 of the weights of a potential that users exchange for others.

    Empty where its name says which weights they are. Loads neither them nor torch.

    Raises:
        NotFoundError: no such potential.
    """
    canonical = POTENTIALS.canonical_name(name)
    if canonical in _PACKAGES:
        return {}
    look = getattr(POTENTIALS.get(canonical), "added_weights", None)
    return look() if look is not None else {}


def get_potential(name: str = DEFAULT_POTENTIAL, *, device: str | None = None) -> Potential:
    """The potential called ``name``, its weights loaded once in a process while they stay the same.

    Args:
        name: Name in :data:`POTENTIALS`, in any case.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; by default what
            :func:`~nanoos.potentials.runtime.set_device` said. Analytic ones ignore it.

    Raises:
        NotFoundError: no such potential; the hint gives the nearest name.
        UnavailableError: its package is not installed, or there is no such device.
    """
    canonical = POTENTIALS.canonical_name(name)
    return _load(canonical, device or default_device(), *added_weights(canonical).values())


@cache
def _load(name: str, device: str, *_weights_sha256: str) -> Potential:
    return POTENTIALS.get(name)(device=device)  # type: ignore[call-arg]  # see POTENTIALS
