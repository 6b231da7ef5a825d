"""ENSEMBLE: what several models say together, where their numbers mean the same.

The networks of several architectures that come joined in one checkpoint were calibrated and
measured together; they answer for their properties as long as nobody activated other weights for
one of these. All other properties are pooled from the models at hand:

Members are pooled only where unit, functional, corrections and reference all agree. Their errors
are not independent (they learnt from the same crystals), so averaging does not shrink sigma: it
is the members' own, averaged, with their disagreement added in squares.

The interval is the smallest that holds those of all calibrated members. A truth that lies in one
member's interval lies in it, so it holds at least as often as the best member's does: it keeps
its level without a calibration of its own, and is wider than one would need.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import OUTSIDE_NOTE, LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.models.base import ModelInfo, PropertyModel
from nanoos.models.catalog import ModelCatalog, narrowed_to, weights_name
from nanoos.models.checkpoint_model import CheckpointModel, is_shipped
from nanoos.models.checkpoints import ENSEMBLE
from nanoos.models.graph_network import JoinedNetworksModel
from nanoos.models.likely_metals import without_index_of_metals
from nanoos.structures import Structure

Weighting = Literal["inverse_variance", "mean"]

_VERSION: Final = "1"
_NOTE: Final = (
    "{names}: combined from several models. The interval holds those of all calibrated members, so "
    "it keeps its level and is wider than needed."
)


class EnsembleModel:
    """Every property that two or more available models give on the same level of theory.

    Args:
        catalog: Where the members come from; None for the registry's.
        joined: Networks that were calibrated together; None for those shipped.
        weighting: ``inverse_variance`` weighs members by their sigma where all have one, and
            equally where one has none; ``mean`` always weighs them equally.
    """

    def __init__(
        self,
        catalog: ModelCatalog | None = None,
        *,
        joined: JoinedNetworksModel | None = None,
        weighting: Weighting = "inverse_variance",
    ) -> None:
        self._catalog = catalog
        self._joined = JoinedNetworksModel() if joined is None else joined
        self._weighting = weighting

    def _members(self) -> ModelCatalog:
        if self._catalog is not None:
            return self._catalog
        from nanoos.models.registry import CATALOG

        return CATALOG

    def joined(self) -> JoinedNetworksModel | None:
        """The networks that were calibrated together; None where they answer for nothing.

        They do for a property unless other weights are active for it in a family that they
        hold networks of.
        """
        families = {
            kind.family for header in self._joined.headers for kind in header.architectures()
        }
        members = [self._members().get(family) for family in sorted(families)]
        kept = [
            name
            for name in self._joined.targets
            if not any(_changed(member, name) for member in members)
        ]
        return self._joined.narrowed(kept) if kept else None

    def groups(self) -> dict[str, tuple[ModelInfo, ...]]:
        """Every other property to the members that give it, of one level of theory, two or more.

        Where there are several levels, the one with a calibrated member, then the one with the
        most members.
        """
        joined = self.joined()
        own = () if joined is None else joined.properties
        found: dict[str, dict[LevelOfTheory, list[ModelInfo]]] = {}
        for info in self._members().infos(without=(ENSEMBLE,)):
            if not info.available or info.not_for_decisions:
                continue
            for name in info.supported_properties:
                level = info.level_of_theory.get(name)
                if level is not None and name not in own:
                    found.setdefault(name, {}).setdefault(level, []).append(info)
        chosen = {}
        for name, levels in sorted(found.items()):
            enough = [infos for infos in levels.values() if len(infos) > 1]
            if enough:
                best = max(enough, key=lambda infos: _weight(name, infos))
                chosen[name] = tuple(best)
        return chosen

    def narrowed(self, properties: Collection[str]) -> PropertyModel:
        """The networks that were calibrated together alone, where ``properties`` need no more."""
        joined = self.joined()
        if joined is not None and set(properties) <= set(joined.properties):
            return joined.narrowed(properties)
        return self

    def info(self) -> ModelInfo:
        """What it is; the weights are those of all members."""
        groups, joined = self.groups(), self.joined()
        own = None if joined is None else joined.info()
        available = bool(groups) or own is not None
        pooled = ModelInfo(
            name=ENSEMBLE,
            version=_VERSION if own is None else f"{_VERSION}+{own.version}",
            available=available,
            description="Several models combined, with their disagreement in the uncertainty.",
            supported_properties=tuple(groups),
            weights_sha256=_weights_sha256(groups, own) if available else None,
            calibration={
                name: {}
                for name, infos in groups.items()
                if any(name in info.calibration for info in infos)
            },
            level_of_theory={
                name: infos[0].level_of_theory[name] for name, infos in groups.items()
            },
            notes=_notes(groups),
            license="that of its members",
            unavailable_reason=None
            if available
            else "no two models here give the same property on the same level of theory",
            install_command=None if available else "nanoos models list",
        )
        if own is None:
            return pooled
        return replace(
            pooled,
            supported_properties=(*own.supported_properties, *pooled.supported_properties),
            test_error=own.test_error,
            calibration={**own.calibration, **pooled.calibration},
            sigma_rank_correlation=own.sigma_rank_correlation,
            weights=own.weights,
            level_of_theory={**own.level_of_theory, **pooled.level_of_theory},
            notes=(*own.notes, *pooled.notes),
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """Combine what the members say of each structure.

        Raises:
            UnavailableError: there is nothing to combine.
            InvalidInputError: a member does not cover a structure.
        """
        groups, joined = self.groups(), self.joined()
        if not groups and joined is None:
            raise UnavailableError(
                "No two models here give the same property on the same level of theory.",
                hint="nanoos models list",
                code="model_unavailable",
            )
        names = sorted({info.name for infos in groups.values() for info in infos})
        models: dict[str, PropertyModel] = {
            name: narrowed_to(
                self._members().get(name),
                [one for one, infos in groups.items() if name in {info.name for info in infos}],
            )
            for name in names
        }
        said = {name: model.predict(structures, ids=ids) for name, model in models.items()}
        own = None if joined is None else joined.predict(structures, ids=ids)
        info = self.info()
        provenance = Provenance(
            producer=ENSEMBLE,
            version=info.version,
            weights_sha256=info.weights_sha256,
            parameters={
                "members": {name: [i.name for i in infos] for name, infos in groups.items()},
                "weighting": self._weighting,
            },
        )
        return [
            self._combined(
                {name: said[name][row] for name in names},
                groups,
                provenance,
                None if own is None else own[row],
            )
            for row in range(len(structures))
        ]

    def _combined(
        self,
        said: Mapping[str, Prediction],
        groups: Mapping[str, Sequence[ModelInfo]],
        provenance: Provenance,
        own: Prediction | None,
    ) -> Prediction:
        properties = {
            name: combine(
                [said[info.name].properties[name] for info in infos], weighting=self._weighting
            )
            for name, infos in groups.items()
        }
        bare = [name for name, value in properties.items() if not value.quantiles]
        told = (f"{', '.join(bare)}: no interval, because no member is calibrated.",)
        warned = [
            note for one in said.values() for note in one.notes if note.startswith(OUTSIDE_NOTE)
        ]
        whole, of_metals = without_index_of_metals(
            properties if own is None else {**own.properties, **properties}
        )
        return Prediction(
            properties=whole,
            provenance=provenance,
            notes=tuple(
                dict.fromkeys(
                    (
                        *(() if own is None else own.notes),
                        *_notes(groups),
                        *(told if bare else ()),
                        *warned,
                        *of_metals,
                    )
                )
            ),
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


def _changed(member: PropertyModel, name: str) -> bool:
    """Whether somebody activated weights of their own for the property ``name``."""
    weights = member.targets.get(name) if isinstance(member, CheckpointModel) else None
    return weights is not None and not is_shipped(weights.path)


def _notes(groups: Mapping[str, Sequence[ModelInfo]]) -> tuple[str, ...]:
    return (_NOTE.format(names=", ".join(groups)),) if groups else ()


def _weights_sha256(groups: Mapping[str, Sequence[ModelInfo]], own: ModelInfo | None) -> str:
    parts = [
        f"{name} {weights_name(info, name).name} {weights_name(info, name).sha256}"
        for name, infos in groups.items()
        for info in infos
    ]
    if own is not None:
        parts.append(f"joined {own.weights_sha256}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
