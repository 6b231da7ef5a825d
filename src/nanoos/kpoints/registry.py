"""The families of k-point models: each one line here, imported when it is asked for."""

from collections.abc import Callable
from typing import Final

from nanoos.core.errors import NanoosError, UnavailableError
from nanoos.core.registry import Registry
from nanoos.kpoints.base import KpointModel, KpointModelInfo

DEFAULT_MODEL: Final = "RF"

KPOINT_MODELS: Final = Registry[Callable[[], KpointModel]](
    "nanoos.kpoint_models",
    {
        "RF": "nanoos.kpoints.forest_model:shipped_forest",
        "ALIGNN": "nanoos.kpoints.alignn_model:shipped_alignn",
    },
    extra="ml",
)
"""Name to what gives the model, loaded once in a process."""


def kpoint_model(name: str = DEFAULT_MODEL) -> KpointModel:
    """The model called ``name``, in any case, ready to predict.

    Raises:
        NotFoundError: no such model; the hint gives the nearest name.
        UnavailableError: its weights or a package it needs are missing.
    """
    key = KPOINT_MODELS.canonical_name(name)
    try:
        return KPOINT_MODELS.get(key)()
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"{key} needs the Python package {error.name!r}, which is not installed.",
            hint="pip install 'nanoos[ml]'",
        ) from error


def kpoint_models() -> list[KpointModelInfo]:
    """Every model, the default first; one that cannot be loaded says why."""
    names = sorted(KPOINT_MODELS.names(), key=lambda name: (name != DEFAULT_MODEL, name))
    return [_info(name) for name in names]


def _info(name: str) -> KpointModelInfo:
    try:
        return kpoint_model(name).info()
    except NanoosError as error:
        return KpointModelInfo(
            name=name,
            version="",
            available=False,
            description="",
            criterion="",
            label_code="",
            unavailable_reason=error.message,
            install_command=error.hint,
        )
