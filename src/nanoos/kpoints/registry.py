"""The families of k-point models: each one line here, imported when it is asked for."""

from collections.abc import Callable
from typing import Final

from nanoos.core.errors import NanoosError, UnavailableError
from nanoos.core.registry import Registry
from nanoos.kpoints.base import KpointModel, KpointModelInfo
from nanoos.potentials.installed_weights import InstalledWeights, installed_weights
from nanoos.potentials.published_weights import UNTRIED_FAMILIES

DEFAULT_MODEL: Final = "RF"

KPOINT_MODELS: Final = Registry[Callable[[], KpointModel]](
    "nanoos.kpoint_models",
    {
        "RF": "nanoos.kpoints.forest_model:present_forest",
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
    """Every model, the default first; one that cannot be loaded says why.

    After them the weights of others that were pulled: untried, because nothing here runs them.
    """
    names = sorted(KPOINT_MODELS.names(), key=lambda name: (name != DEFAULT_MODEL, name))
    pulled = [one for one in installed_weights().values() if one.family in UNTRIED_FAMILIES]
    return [*(_info(name) for name in names), *map(_untried, pulled)]


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


def _untried(weights: InstalledWeights) -> KpointModelInfo:
    return KpointModelInfo(
        name=weights.name,
        version=weights.sha256[:8],
        available=False,
        description=f"Published weights: {weights.source}.",
        criterion="",
        label_code="",
        weights=weights.name,
        license=weights.license,
        weights_sha256=weights.sha256,
        untried=True,
        unavailable_reason="Untried: they are a pickle, which is kept and never run here.",
    )
