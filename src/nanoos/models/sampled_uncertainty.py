"""The spread of many answers of one graph network: dropout left on, or several members.

The spread is what the networks themselves do not agree on. It is measured, not calibrated: the
interval beside it is the calibrated one, which was fitted to errors on held-out crystals.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import PropertyValue
from nanoos.features.packed import PackedGraphs
from nanoos.models.base import PropertyModel
from nanoos.models.checkpoint_predictor import CheckpointPredictor
from nanoos.models.graph_network import GraphNetworkModel, graphs_for
from nanoos.structures import Structure

UncertaintyMethod = Literal["mc_dropout", "ensemble"]

N_SAMPLES: Final = 50
MAX_SAMPLES: Final = 1000
_ABOUT_ZERO: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledPrediction:
    """One property, predicted many times.

    Attributes:
        value: The model's prediction, with its calibrated interval where there is one.
        uncertainty: One standard deviation of ``samples``, in the property's unit; None where
            none were asked for.
        samples: What each pass with dropout, or each member, says.
        model_agreement: For members: 1 minus their standard deviation as a share of the size
            of their mean, not below 0; None where the mean is about 0 (under 0.001), and for
            dropout.
        method: ``mc_dropout`` or ``ensemble``.
    """

    value: PropertyValue
    uncertainty: float | None = None
    samples: tuple[float, ...] = ()
    model_agreement: float | None = None
    method: UncertaintyMethod | None = None


def predict_with_uncertainty(
    model: PropertyModel | str,
    structure: Structure,
    *,
    method: UncertaintyMethod | None = "ensemble",
    n_samples: int = N_SAMPLES,
    properties: Collection[str] | None = None,
) -> dict[str, SampledPrediction]:
    """Predict with the spread of many passes (``mc_dropout``) or of all members (``ensemble``).

    Args:
        model: One of our graph networks, or its name.
        structure: As it is.
        method: Gal & Ghahramani 2016 (arXiv 1506.02142), dropout in the read-outs of the first
            member; or Lakshminarayanan et al. 2017 (arXiv 1612.01474). None: no samples.
        n_samples: Passes with dropout, 2 to 1000; members are as many as the checkpoint has.
        properties: Only these; None for all. Functions of other properties (the stability
            score) have none.

    Raises:
        InvalidInputError: not a graph network (code ``not_a_graph_network``); a checkpoint
            with one member cannot be asked for the spread of an ensemble
            (``single_member``), nor one trained without dropout for that of dropout
            (``no_dropout``); an element is not covered.
        NotFoundError: no such model.
        UnavailableError: it cannot predict here.
    """
    if not 2 <= n_samples <= MAX_SAMPLES:  # noqa: PLR2004 - one number has no spread
        raise InvalidInputError(
            f"{n_samples} samples were asked for.", hint=f"Ask for 2 to {MAX_SAMPLES}."
        )
    network = graph_network(model)
    if properties is not None:
        network = network.narrowed(properties)
    value = network.predict([structure])[0].properties
    if method is None:
        return {name: SampledPrediction(value=one) for name, one in value.items()}
    graphs: dict[tuple[int, float], PackedGraphs] = {}
    found: dict[str, SampledPrediction] = {}
    for path in network.files:
        predictor = network.predictor(path)
        _check_method(predictor, method)
        outputs = predictor.runner.run(
            graphs_for(predictor, [structure], graphs), dropout_samples=n_samples
        )
        drawn = outputs.members if method == "ensemble" else outputs.dropout
        for name in network.assigned(path) & drawn.keys():
            samples = drawn[name][:, 0]
            found[name] = SampledPrediction(
                value=value[name],
                uncertainty=float(samples.std(ddof=1)),
                samples=tuple(samples.tolist()),
                model_agreement=_agreement(samples) if method == "ensemble" else None,
                method=method,
            )
    return {name: found[name] for name in network.properties if name in found}


def graph_network(model: PropertyModel | str) -> GraphNetworkModel:
    """``model``, which must be one of our graph networks and able to predict here.

    Raises:
        InvalidInputError: it is another model; code ``not_a_graph_network``.
        NotFoundError: no such model.
        UnavailableError: it has no weights here.
    """
    from nanoos.core.errors import UnavailableError
    from nanoos.models.ensemble import EnsembleModel
    from nanoos.models.registry import get_model

    found = get_model(model) if isinstance(model, str) else model
    if isinstance(found, EnsembleModel):
        found = found.joined() or found
    if not isinstance(found, GraphNetworkModel):
        raise InvalidInputError(
            f"{found.info().name} is not one of our graph networks.",
            hint="Name CGCNN, ALIGNN, or a model trained from one of them.",
            code="not_a_graph_network",
        )
    if not found.files:
        raise UnavailableError(
            f"{found.name} has no checkpoint on this machine.",
            hint="nanoos train CONFIG.yaml",
            code="model_unavailable",
        )
    return found


def _check_method(predictor: CheckpointPredictor, method: UncertaintyMethod) -> None:
    header = predictor.header
    if method == "ensemble" and header.n_members == 1:
        raise InvalidInputError(
            f"{header.name} has one member: there is no ensemble to disagree.",
            hint="Use mc_dropout, or train several members (ensemble in the training file).",
            code="single_member",
        )
    if method == "mc_dropout" and not header.parameters.get("dropout"):
        raise InvalidInputError(
            f"{header.name} was trained without dropout: its passes would all be equal.",
            hint="Use ensemble, or train with dropout above 0.",
            code="no_dropout",
        )


def _agreement(samples: "np.typing.NDArray[np.float64]") -> float | None:
    mean = abs(float(samples.mean()))
    if mean < _ABOUT_ZERO:
        return None
    return max(0.0, 1.0 - float(samples.std(ddof=1)) / mean)
