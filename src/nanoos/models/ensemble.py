"""ENSEMBLE: what several models say together, where their numbers mean the same.

Members are pooled only where unit, functional, corrections and reference all agree. Their errors
are not independent (they learnt from the same crystals), so averaging does not shrink sigma: it
is the members' own, averaged, with their disagreement added in squares.

The interval is the smallest that holds those of all calibrated members. A truth that lies in one
member's interval lies in it, so it holds at least as often as the best member's does: it keeps
its level without a calibration of its own, and is wider than one would need.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.models.base import ModelInfo, PropertyModel
from nanoos.models.catalog import ENSEMBLE, ModelCatalog, weights_name
from nanoos.structures import Structure

Weighting = Literal["inverse_variance", "mean"]

_VERSION: Final = "1"
_NOTES: Final = (
    (
        "Combined from several models. The interval holds those of all calibrated members, so it "
        "keeps its level and is wider than needed; a property of which no member is calibrated "
        "has none."
    ),
)


class EnsembleModel:
    """Every property that two or more available models give on the same level of theory.

    Args:
        catalog: Where the members come from; None for the registry's.
        weighting: ``inverse_variance`` weighs members by their sigma where all have one, and
            equally where one has none; ``mean`` always weighs them equally.
    """

    def __init__(
        self, catalog: ModelCatalog | None = None, *, weighting: Weighting = "inverse_variance"
    ) -> None:
        self._catalog = catalog
        self._weighting = weighting

    def _members(self) -> ModelCatalog:
        if self._catalog is not None:
            return self._catalog
        from nanoos.models.registry import CATALOG

        return CATALOG

    def groups(self) -> dict[str, tuple[ModelInfo, ...]]:
        """Property to the members that give it, all of one level of theory, two or more.

        Where there are several levels, the one with a calibrated member, then the one with the
        most members.
        """
        found: dict[str, dict[LevelOfTheory, list[ModelInfo]]] = {}
        for info in self._members().infos(without=(ENSEMBLE,)):
            if not info.available or info.not_for_decisions:
                continue
            for name in info.supported_properties:
                level = info.level_of_theory.get(name)
                if level is not None:
                    found.setdefault(name, {}).setdefault(level, []).append(info)
        chosen = {}
        for name, levels in sorted(found.items()):
            enough = [infos for infos in levels.values() if len(infos) > 1]
            if enough:
                best = max(enough, key=lambda infos: _weight(name, infos))
                chosen[name] = tuple(best)
        return chosen

    def info(self) -> ModelInfo:
        """What it is; the weights are those of all members."""
        groups = self.groups()
        available = bool(groups)
        return ModelInfo(
            name=ENSEMBLE,
            version=_VERSION,
            available=available,
            description="Several models combined, with their disagreement in the uncertainty.",
            supported_properties=tuple(groups),
            weights_sha256=_weights_sha256(groups) if available else None,
            calibration={
                name: {}
                for name, infos in groups.items()
                if any(name in info.calibration for info in infos)
            },
            level_of_theory={
                name: infos[0].level_of_theory[name] for name, infos in groups.items()
            },
            notes=_NOTES,
            license="that of its members",
            unavailable_reason=None
            if available
            else "no two models here give the same property on the same level of theory",
            install_command=None if available else "nanoos models list",
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """Combine what the members say of each structure.

        Raises:
            UnavailableError: there is nothing to combine.
            InvalidInputError: a member does not cover a structure.
        """
        groups = self.groups()
        if not groups:
            raise UnavailableError(
                "No two models here give the same property on the same level of theory.",
                hint="nanoos models list",
                code="model_unavailable",
            )
        names = sorted({info.name for infos in groups.values() for info in infos})
        models: dict[str, PropertyModel] = {name: self._members().get(name) for name in names}
        said = {name: model.predict(structures, ids=ids) for name, model in models.items()}
        provenance = Provenance(
            producer=ENSEMBLE,
            version=_VERSION,
            weights_sha256=_weights_sha256(groups),
            parameters={
                "members": {name: [i.name for i in infos] for name, infos in groups.items()},
                "weighting": self._weighting,
            },
        )
        return [
            self._combined({name: said[name][row] for name in names}, groups, provenance)
            for row in range(len(structures))
        ]

    def _combined(
        self,
        said: Mapping[str, Prediction],
        groups: Mapping[str, Sequence[ModelInfo]],
        provenance: Provenance,
    ) -> Prediction:
        properties = {
            name: combine(
                [said[info.name].properties[name] for info in infos], weighting=self._weighting
            )
            for name, infos in groups.items()
        }
        bare = [name for name, value in properties.items() if not value.quantiles]
        told = (f"{', '.join(bare)}: no interval, because no member is calibrated.",)
        warned = [note for one in said.values() for note in one.notes if note.startswith("Outside")]
        return Prediction(
            properties=properties,
            provenance=provenance,
            notes=(*_NOTES, *(told if bare else ()), *dict.fromkeys(warned)),
        )


def combine(
    members: Sequence[PropertyValue], *, weighting: Weighting = "inverse_variance"
) -> PropertyValue:
    """One value of several that mean the same.

    Args:
        members: Of one structure; one without a number is left out.
        weighting: As :class:`EnsembleModel` says.

    Returns:
        The weighted mean. Sigma is the square root of the mean variance plus the weighted
        variance of the members about their mean, where all have one; otherwise the latter
        alone, and None where the members do not differ either. The confidence is None: what
        the combination is worth was not measured.

    Raises:
        InvalidInputError: units or levels of theory differ; code ``unlike_quantities``.
    """
    first = members[0]
    if any(
        one.unit != first.unit or one.level_of_theory != first.level_of_theory for one in members
    ):
        raise InvalidInputError(
            "Values of different units or levels of theory are never combined.",
            code="unlike_quantities",
        )
    flags = [one.out_of_domain for one in members if one.out_of_domain is not None]
    outside = any(flags) if flags else None
    given = [one for one in members if one.value is not None]
    if not given:
        return PropertyValue(
            value=None,
            unit=first.unit,
            out_of_domain=outside,
            level_of_theory=first.level_of_theory,
        )
    values = np.array([one.value for one in given], dtype=np.float64)
    sigmas = np.array([np.nan if one.sigma is None else one.sigma for one in given])
    measured = bool(np.all(sigmas > 0))
    weights = np.ones(len(values))
    if measured and weighting == "inverse_variance":
        weights = sigmas**-2
    weights = weights / weights.sum()
    value = float(weights @ values)
    variance = float(weights @ (values - value) ** 2)
    if measured:
        variance += float(weights @ sigmas**2)
    return PropertyValue(
        value=value,
        unit=first.unit,
        sigma=float(np.sqrt(variance)) or None,
        quantiles=_hull(value, given),
        out_of_domain=outside,
        level_of_theory=first.level_of_theory,
    )


def _hull(value: float, members: Sequence[PropertyValue]) -> dict[float, tuple[float, float]]:
    """At each level that all calibrated members have, what holds their intervals and ``value``."""
    calibrated = [one.quantiles for one in members if one.quantiles]
    if not calibrated:
        return {}
    levels = set.intersection(*(set(quantiles) for quantiles in calibrated))
    return {
        level: (
            min(value, *(quantiles[level][0] for quantiles in calibrated)),
            max(value, *(quantiles[level][1] for quantiles in calibrated)),
        )
        for level in sorted(levels)
    }


def _weight(name: str, infos: Sequence[ModelInfo]) -> tuple[bool, int, str]:
    return any(name in info.calibration for info in infos), len(infos), infos[0].name


def _weights_sha256(groups: Mapping[str, Sequence[ModelInfo]]) -> str:
    parts = [
        f"{name} {weights_name(info, name).name} {weights_name(info, name).sha256}"
        for name, infos in groups.items()
        for info in infos
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
