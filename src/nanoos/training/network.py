"""Networks from a configuration, new or begun from the weights of another."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from nanoos.core.errors import ConfigError
from nanoos.models.networks.alignn import ALIGNN, ALIGNNParameters
from nanoos.models.networks.cgcnn import CGCNN, CGCNNParameters
from nanoos.training.config import TrainingConfig

Parameters = CGCNNParameters | ALIGNNParameters
Network = CGCNN | ALIGNN

_PARAMETERS: Final[Mapping[str, type[Parameters]]] = {
    "CGCNN": CGCNNParameters,
    "ALIGNN": ALIGNNParameters,
}
_DEPTHS: Final = {"CGCNN": ("num_layers",), "ALIGNN": ("alignn_layers", "gcn_layers")}


def network_parameters(config: TrainingConfig) -> Parameters:
    """Hyper-parameters of the network that ``config`` asks for.

    Raises:
        ConfigError: an unknown one, or a value that it cannot have; names the key.
    """
    kind = _PARAMETERS[config.model]
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(config.parameters) - known)
    if unknown:
        raise ConfigError(
            f"parameters.{unknown[0]}: {config.model} has no such hyper-parameter.",
            hint=f"It has: {', '.join(sorted(known))}.",
        )
    given = {
        "hidden_dim": config.hidden_dim,
        "dropout": config.dropout,
        **dict.fromkeys(_DEPTHS[config.model], config.num_layers),
        **config.parameters,
    }
    try:
        checked = TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"parameters.{first['loc'][0]}: {first['msg']}.") from error
    for field in fields(checked):
        value = getattr(checked, field.name)
        lowest_is_zero = field.name in {"dropout", "gcn_layers"}
        if not math.isfinite(value) or value < 0 or (value == 0 and not lowest_is_zero):
            raise ConfigError(f"parameters.{field.name}: must be a number greater than 0.")
    if not 0 <= checked.dropout < 1:
        raise ConfigError("parameters.dropout: must be a probability below 1.")
    if isinstance(checked, ALIGNNParameters) and checked.hidden_dim % checked.angle_dim:
        raise ConfigError(
            f"hidden_dim: {checked.hidden_dim} is no multiple of angle_dim, {checked.angle_dim}."
        )
    return checked


def parameters_from(model: str, document: Mapping[str, Any]) -> Parameters:
    """Hyper-parameters of ``model`` from a document that :func:`dataclasses.asdict` made."""
    return _PARAMETERS[model](**document)


def new_network(parameters: Parameters, targets: Sequence[str], *, seed: int) -> Network:
    """A network with random weights; the same seed gives the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(parameters, CGCNNParameters):
            return CGCNN(parameters, targets)
        return ALIGNN(parameters, targets)


def check_same_trunk(config: TrainingConfig, parameters: Parameters) -> Parameters:
    """The hyper-parameters to fine-tune with: the trunk's, with the dropout of ``config``.

    Args:
        config: What is asked for.
        parameters: Of the checkpoint to start from.

    Raises:
        ConfigError: another architecture, or a hyper-parameter that contradicts; names the key.
    """
    wanted = network_parameters(config)
    if type(wanted) is not type(parameters):
        have = next(name for name, kind in _PARAMETERS.items() if isinstance(parameters, kind))
        raise ConfigError(
            f"model: init_from is a {have}, not a {config.model}.", hint=f"Set model: {have}."
        )
    said = config.model_fields_set | set(config.parameters)
    if "num_layers" in said:
        said |= set(_DEPTHS[config.model])
    for field in fields(parameters):
        mine, given = getattr(parameters, field.name), getattr(wanted, field.name)
        if field.name != "dropout" and field.name in said and mine != given:
            raise ConfigError(
                f"{field.name}: {given} was asked for, but init_from has {mine}.",
                hint="Leave it out: the trunk decides.",
            )
    return replace(parameters, dropout=wanted.dropout)


def copy_weights(source: nn.Module, target: Network, *, heads: Sequence[str]) -> None:
    """Take over the trunk of ``source`` and its read-outs of ``heads``.

    Args:
        source: A network of the same architecture and size.
        target: Changed in place.
        heads: Targets that both have and whose read-out is to be kept.
    """
    state: dict[str, Tensor] = {
        name: value for name, value in source.state_dict().items() if not name.startswith("heads.")
    }
    theirs: Any = source
    for name in heads:
        old, new = theirs.targets.index(name), target.targets.index(name)
        for key, value in theirs.heads[old].state_dict().items():
            state[f"heads.{new}.{key}"] = value
    target.load_state_dict(target.state_dict() | state)


def freeze_trunk(network: Network) -> None:
    """Leave only the read-outs trainable."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("heads."))
