"""Which atoms and elements drove a prediction: integrated gradients over the atom vectors.

Along the straight way from a baseline, where every atom has the same vector, to the atom vectors
of the structure, the gradient of the prediction is integrated (Sundararajan et al. 2017,
arXiv 1703.01365). What an atom contributes is the part of that integral that goes through its
vector; the contributions of all atoms add up to the prediction minus that of the baseline, and
atoms that symmetry makes alike contribute alike.

The baseline is the mean vector of the training crystals where the checkpoint has one
(:data:`BASELINE`), so a contribution says what makes this crystal differ from an average one;
otherwise the zero vector.
"""

import copy
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.features.packed import PackedGraphs
from nanoos.models.base import PropertyModel
from nanoos.models.catalog import BestModels
from nanoos.models.checkpoint_predictor import CheckpointPredictor
from nanoos.models.checkpoints import Target
from nanoos.models.ensemble import EnsembleModel
from nanoos.models.graph_network import GraphNetworkModel, graphs_for
from nanoos.structures import Structure

if TYPE_CHECKING:
    from torch import Tensor, nn

FloatArray = npt.NDArray[np.float64]

BASELINE: Final = "explain.baseline"
"""Name of a checkpoint's array (n_members, hidden_dim): the mean pooled vector in training."""

_NODES: Final = 64
"""Of the Gauss-Legendre rule; the read-outs are smooth along the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What drove one predicted number.

    Attributes:
        unit: Of all numbers here.
        value: What the networks say, before a bound such as "not below 0" is applied.
        baseline: What they say of the baseline.
        baseline_kind: ``training mean`` or ``zero vector``.
        atoms: (n_sites,), contribution of each site; their sum is value minus baseline.
        elements: Symbol to the sum over its sites.
    """

    unit: str
    value: float
    baseline: float
    baseline_kind: str
    atoms: tuple[float, ...]
    elements: Mapping[str, float]


def explain(
    model: PropertyModel, structure: Structure, properties: Collection[str] | None = None
) -> dict[str, Explanation]:
    """Explain what ``model`` predicts of ``structure``, property by property.

    Args:
        model: One of our graph networks, or several models together; of those only the graph
            networks can be explained.
        structure: As it is.
        properties: Only these; None for all that can be explained. The stability score is a
            function of the distance to the hull: the distance is explained.

    Raises:
        InvalidInputError: nothing of it can be explained (code ``not_explainable``), or an
            element is not covered.
    """
    found: dict[str, Explanation] = {}
    for part in _networks(model):
        found |= _explained(part, structure, properties)
    if not found:
        raise _not_explainable(model)
    return found


def check_explainable(model: PropertyModel) -> None:
    """Refuse a model of which nothing can be explained, before it predicts.

    Raises:
        InvalidInputError: code ``not_explainable``.
    """
    if not _networks(model):
        raise _not_explainable(model)


def _networks(model: PropertyModel) -> list[GraphNetworkModel]:
    """The graph networks that ``model`` consists of."""
    parts = list(model.models.values()) if isinstance(model, BestModels) else [model]
    joined = [part.joined() if isinstance(part, EnsembleModel) else part for part in parts]
    return [part for part in joined if isinstance(part, GraphNetworkModel)]


def _not_explainable(model: PropertyModel) -> InvalidInputError:
    return InvalidInputError(
        f"What {model.info().name} predicts cannot be explained atom by atom.",
        hint="Name a graph network: CGCNN or ALIGNN.",
        code="not_explainable",
    )


def _explained(
    model: GraphNetworkModel, structure: Structure, properties: Collection[str] | None
) -> dict[str, Explanation]:
    model.check([structure])
    graphs: dict[tuple[int, float], PackedGraphs] = {}
    found: dict[str, Explanation] = {}
    for path in model.files:
        predictor, assigned = model.predictor(path), model.assigned(path)
        wanted = assigned if properties is None else assigned & set(properties)
        targets = [target for target in predictor.header.targets if target.name in wanted]
        if targets:
            packed = graphs_for(predictor, [structure], graphs)
            found |= _explain_targets(predictor, targets, packed, structure.species)
    return found


def _explain_targets(
    predictor: CheckpointPredictor,
    targets: Sequence[Target],
    graphs: PackedGraphs,
    species: Sequence[str],
) -> dict[str, Explanation]:
    import torch

    from nanoos.models.networks.arithmetic import denormals_as_zero
    from nanoos.models.networks.batch import GraphBatch

    batch = GraphBatch.from_graphs(graphs)
    stored = predictor.arrays.get(BASELINE)
    columns = {target.name: i for i, target in enumerate(predictor.header.targets)}
    members: dict[str, list[tuple[float, float, FloatArray]]] = defaultdict(list)
    for number, network in enumerate(predictor.runner.networks):
        with denormals_as_zero(), torch.no_grad():
            vectors = network.atom_vectors(batch).double()
        start = torch.zeros(vectors.shape[1], dtype=torch.float64)
        if stored is not None:
            start = torch.from_numpy(np.asarray(stored[number], dtype=np.float64))
        for target in targets:
            head = copy.deepcopy(network.heads[columns[target.name]]).double()
            members[target.name].append(_integrated(head, target, vectors, start))
    kind = "zero vector" if stored is None else "training mean"
    return {
        target.name: _averaged(target, members[target.name], species, kind) for target in targets
    }


def _integrated(
    head: "nn.Module", target: Target, vectors: "Tensor", start: "Tensor"
) -> tuple[float, float, FloatArray]:
    """Prediction, that of the baseline, and (n_atoms,) contributions, in the target's unit.

    The read-out sees the mean over the atoms, so all points of the way lie on one line through
    the space of means, and an atom's share of the way is its own step divided by their number.
    """
    import torch

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    steps = torch.from_numpy((nodes + 1.0) / 2.0)[:, None]
    end = vectors.mean(0)
    points = (start + steps * (end - start)).requires_grad_()
    with torch.enable_grad():
        (gradients,) = torch.autograd.grad(_in_unit(target, head(points)[:, 0]).sum(), points)
    mean_gradient = torch.from_numpy(weights / 2.0) @ gradients
    contributions = (vectors - start) @ mean_gradient / len(vectors)
    with torch.no_grad():
        value, baseline = _in_unit(target, head(torch.stack([end, start]))[:, 0]).tolist()
    return value, baseline, contributions.numpy()


def _in_unit(target: Target, raw: "Tensor") -> "Tensor":
    """Read-outs in the target's unit, differentiable; a logit as a probability."""
    if target.kind == "classification":
        return raw.sigmoid()
    values = raw * target.std + target.mean
    return 10.0**values if target.log10 else values


def _averaged(
    target: Target,
    members: Sequence[tuple[float, float, FloatArray]],
    species: Sequence[str],
    kind: str,
) -> Explanation:
    atoms = np.mean([contributions for _, _, contributions in members], axis=0)
    elements: dict[str, float] = defaultdict(float)
    for symbol, contribution in zip(species, atoms.tolist(), strict=True):
        elements[symbol] += contribution
    return Explanation(
        unit=target.unit,
        value=float(np.mean([value for value, _, _ in members])),
        baseline=float(np.mean([baseline for _, baseline, _ in members])),
        baseline_kind=kind,
        atoms=tuple(atoms.tolist()),
        elements=dict(sorted(elements.items(), key=lambda item: -abs(item[1]))),
    )


def baseline_vectors(predictor: CheckpointPredictor, graphs: PackedGraphs) -> FloatArray:
    """(n_members, hidden_dim), the mean pooled vector of ``graphs``: what :data:`BASELINE` holds.

    Args:
        predictor: Of the checkpoint.
        graphs: Training crystals; a few thousand are enough.
    """
    import torch

    from nanoos.models.graph_outputs import batches
    from nanoos.models.networks.arithmetic import denormals_as_zero
    from nanoos.models.networks.batch import GraphBatch

    sums: list[FloatArray | float] = [0.0] * len(predictor.runner.networks)
    with denormals_as_zero(), torch.inference_mode():
        for part in batches(graphs):
            batch = GraphBatch.from_graphs(part)
            for number, network in enumerate(predictor.runner.networks):
                pooled = batch.mean_over_atoms(network.atom_vectors(batch))
                sums[number] = sums[number] + pooled.double().sum(0).numpy()
    return np.array(sums) / len(graphs)
