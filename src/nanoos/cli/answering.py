"""Which model answers ``nanoos predict``: of the code, or with the weights active on this machine."""

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nanoos.cli.render import say
from nanoos.core.errors import InvalidInputError, NanoosError, UnavailableError

if TYPE_CHECKING:
    from nanoos.models import ModelCatalog, PropertyModel


def answering_model(
    name: str | None, wanted: Sequence[str] | None
) -> "tuple[PropertyModel, list[str]]":
    """The model named, or the best that is available for each property; and what it is asked for.

    Args:
        name: Of a model, or of a trained one in the laboratory.
        wanted: Properties; None or nothing for all.

    Raises:
        NotFoundError: no such model; the hint gives the nearest name.
        UnavailableError: it cannot predict here, or no model can.
        InvalidInputError: it does not predict one of ``wanted``; names the nearest.
    """
    catalog, named = _models()
    if name is None:
        able = list(catalog.defaults())
        if not able:
            raise UnavailableError("No model is available.", hint="pip install 'nanoos[ml]'")
        _check_known(wanted or (), able, "No model here predicts {!r}.")
        properties = list(dict.fromkeys(wanted or able))
        return catalog.best(properties), properties
    model = named(name)
    info = model.info()
    _check_known(wanted or (), info.supported_properties, info.name + " does not predict {!r}.")
    return model, list(dict.fromkeys(wanted or info.supported_properties))


def _check_known(wanted: Sequence[str], able: Sequence[str], message: str) -> None:
    for name in wanted:
        if name not in able:
            near = difflib.get_close_matches(name, able, n=1)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise InvalidInputError(
                message.format(name), hint=f"{meant}There are: {', '.join(able)}."
            )


def _models() -> "tuple[ModelCatalog, Callable[[str], PropertyModel]]":
    """What answers by itself, and by name; a database is read only where there is one."""
    from nanoos.config import load_settings
    from nanoos.models.registry import CATALOG
    from nanoos.potentials.installed_weights import set_weights_folder

    settings = load_settings()
    if settings.models_dir:
        set_weights_folder(settings.resolved_models_dir)
    embedded = settings.data_dir / "nanoos.db"
    if not settings.database_url and not embedded.exists():
        return CATALOG, CATALOG.usable
    from nanoos.services.prediction_models import stored_models

    try:
        active = stored_models(
            settings.resolved_database_url, settings.resolved_artifacts_url, settings.data_dir
        )
        return active.catalog(), active.model
    except NanoosError as error:
        say(f"The laboratory cannot be read, so models come as shipped: {error.message}")
        return CATALOG, CATALOG.usable
