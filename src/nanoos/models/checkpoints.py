"""Checkpoints of our networks: one safetensors file, no code inside.

A file holds one or more networks (the members of an ensemble), of one architecture or of several
that take the same graphs, each with one read-out for each target, and a JSON header with
everything needed to use and to judge them. The header can be read without PyTorch. An older format
is upgraded on reading by a chain of small functions, one for each version.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory
from nanoos.structures.io import write_atomically

if TYPE_CHECKING:
    import torch

    from nanoos.models.networks.alignn import ALIGNN
    from nanoos.models.networks.cgcnn import CGCNN

FORMAT_VERSION: Final = 1
ENSEMBLE: Final = "ENSEMBLE"
"""Family of a checkpoint with networks of several architectures."""

_HEADER_KEY: Final = "nanoos"
_ARRAYS: Final = "array"
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 50_000_000

_UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""Format version to the function that makes the next version's header of it."""

NetworkState = Mapping[str, "torch.Tensor"]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One output of a network and how its number becomes a property.

    Attributes:
        name: Property, ``bandgap``.
        unit: ``eV``.
        kind: ``regression``, or ``classification`` for a logit that gives a probability.
        mean: Subtracted in training, in ``unit`` (or its log10).
        std: Divided by in training.
        log10: Whether the network learnt log10 of the value.
        lower: Smallest value that makes sense, None where there is none.
        level_of_theory: What the labels mean.
    """

    name: str
    unit: str
    kind: str = "regression"
    mean: float = 0.0
    std: float = 1.0
    log10: bool = False
    lower: float | None = None
    level_of_theory: LevelOfTheory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What a network is before it has weights.

    Attributes:
        family: ``CGCNN`` or ``ALIGNN``.
        parameters: Hyper-parameters.
    """

    family: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Everything in a checkpoint but the arrays.

    Attributes:
        family: ``CGCNN`` or ``ALIGNN``; ``ENSEMBLE`` where there are ``networks``.
        name: Of the checkpoint, ``cgcnn_mp``.
        version: Of the weights, ``1``.
        parameters: Hyper-parameters of the networks; those that all share for an ``ENSEMBLE``.
        targets: One for each output, in order.
        n_members: Networks in the file.
        networks: Architecture of each member; empty where all have that of ``family``.
        dataset: Name, hash, number of rows, source and attribution of the training data.
        split: How rows were held out.
        training: Configuration, epochs, seeds, what it started from.
        metrics: Target to what was measured on held-out compositions.
        calibration: Target to its ``models.target_uncertainty``, empty where not calibrated.
        domain: What the domain check needs beside its arrays.
        notes: Sentences to read beside the numbers.
        license: Of the weights.
        code_version: Of nanoos when it was made.
        created: ISO date.
    """

    family: str
    name: str
    version: str
    parameters: Mapping[str, Any]
    targets: tuple[Target, ...]
    n_members: int = 1
    networks: tuple[Architecture, ...] = ()
    dataset: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    domain: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    license: str = "MIT"
    code_version: str = ""
    created: str = ""

    def architectures(self) -> tuple[Architecture, ...]:
        """Of each member."""
        own = Architecture(family=self.family, parameters=self.parameters)
        return self.networks or (own,) * self.n_members

    def target(self, name: str) -> Target:
        """The target called ``name``.

        Raises:
            InvalidInputError: there is none; code ``unknown_target``.
        """
        for target in self.targets:
            if target.name == name:
                return target
        raise InvalidInputError(
            f"The checkpoint {self.name} does not predict {name!r}.",
            hint=f"It predicts {', '.join(t.name for t in self.targets)}.",
            code="unknown_target",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A header, the weights of each member and what else needs arrays.

    Attributes:
        header: Everything but arrays.
        members: One state dict for each network.
        arrays: Name to array: of the sigma models and of the domain check.
        sha256: Of the file; empty before it is written.
    """

    header: Header
    members: tuple[NetworkState, ...]
    arrays: Arrays = field(default_factory=dict)
    sha256: str = ""

    def network(self, member: int = 0) -> "CGCNN | ALIGNN":
        """The network of one member, in evaluation mode, on the CPU."""
        from nanoos.models.networks.layers import weights_follow

        kind = self.header.architectures()[member]
        with weights_follow():
            network = new_network(
                kind.family, kind.parameters, [t.name for t in self.header.targets]
            )
        network.load_state_dict(dict(self.members[member]))
        return network.eval()

    def with_header(self, **changes: Any) -> "Checkpoint":
        """The same weights under a changed header."""
        return replace(self, header=replace(self.header, **changes), sha256="")


def new_network(
    family: str, parameters: Mapping[str, Any], targets: Sequence[str]
) -> "CGCNN | ALIGNN":
    """An untrained network.

    Raises:
        InvalidInputError: no such family (code ``unknown_architecture``) or hyper-parameter
            (code ``unknown_parameter``).
    """
    from nanoos.models.networks.alignn import ALIGNN, ALIGNNParameters
    from nanoos.models.networks.cgcnn import CGCNN, CGCNNParameters

    try:
        if family == "CGCNN":
            return CGCNN(CGCNNParameters(**parameters), targets)
        if family == "ALIGNN":
            return ALIGNN(ALIGNNParameters(**parameters), targets)
    except TypeError as error:
        raise InvalidInputError(
            f"{family} has no such hyper-parameter: {error}.",
            hint="The hyper-parameters of each network stand in docs/training.md.",
            code="unknown_parameter",
        ) from error
    raise InvalidInputError(
        f"There is no network called {family!r}.",
        hint="Use CGCNN or ALIGNN.",
        code="unknown_architecture",
    )


def join_checkpoints(parts: Sequence[Checkpoint], *, name: str) -> Checkpoint:
    """One checkpoint, not calibrated, with the members of all ``parts``.

    Args:
        parts: All of the same targets and graphs; their normalisation is that of the first.
        name: Of the new checkpoint.

    Raises:
        InvalidInputError: targets or graphs differ; code ``unlike_checkpoints``.
    """
    first = parts[0].header
    shared = {
        key: value
        for key, value in first.parameters.items()
        if all(part.header.parameters.get(key) == value for part in parts)
    }
    if any(part.header.targets != first.targets for part in parts) or not (
        shared.keys() >= {"max_neighbors", "cutoff", "hidden_dim"}
    ):
        raise InvalidInputError(
            "Checkpoints of different targets, graphs or vectors cannot be joined.",
            hint="Train them on the same rows with the same neighbours, cutoff and hidden_dim.",
            code="unlike_checkpoints",
        )
    networks = tuple(kind for part in parts for kind in part.header.architectures())
    alike = all(kind == networks[0] for kind in networks)
    header = replace(
        first,
        name=name,
        family=first.family if alike else ENSEMBLE,
        parameters=first.parameters if alike else shared,
        n_members=len(networks),
        networks=() if alike else networks,
        training=_trained([part.header for part in parts]),
        metrics={},
        calibration={},
        domain={},
    )
    return Checkpoint(header=header, members=tuple(m for part in parts for m in part.members))


def _trained(headers: Sequence[Header]) -> Mapping[str, Any]:
    """How the members of several checkpoints were trained; said once where it is the same."""
    shared = {
        key: value
        for key, value in headers[0].training.items()
        if all(header.training.get(key) == value for header in headers)
    }
    own = {}
    for number, header in enumerate(headers, start=1):
        differs = {k: v for k, v in header.training.items() if k not in shared}
        if differs:
            own[f"member {number}"] = ", ".join(f"{k}: {v}" for k, v in differs.items())
    return {**shared, **own}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> str:
    """Write ``checkpoint`` to ``path`` (never half a file) and return its SHA-256."""
    content = checkpoint_bytes(checkpoint)
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """The file's content; the same checkpoint gives the same bytes."""
    from safetensors.numpy import save

    arrays: dict[str, npt.NDArray[Any]] = {}
    for number, state in enumerate(checkpoint.members):
        for key, tensor in state.items():
            arrays[f"member{number}/{key}"] = np.ascontiguousarray(tensor.detach().cpu().numpy())
    for key, array in checkpoint.arrays.items():
        arrays[f"{_ARRAYS}/{key}"] = np.ascontiguousarray(array)
    header = asdict(checkpoint.header)
    header["format_version"] = FORMAT_VERSION
    return bytes(save(arrays, metadata={_HEADER_KEY: json.dumps(header, sort_keys=True)}))


def read_header(path: Path) -> Header:
    """The header alone, in a millisecond and without PyTorch.

    Raises:
        InvalidInputError: not a checkpoint of ours; code ``invalid_checkpoint``.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(_LENGTH_BYTES))
            described = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        return _header(json.loads(described["__metadata__"][_HEADER_KEY]))
    except (ValueError, KeyError, TypeError, struct.error, OSError) as error:
        raise _invalid(path, error) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is executed.

    Raises:
        InvalidInputError: not a checkpoint of ours, or cut short; code ``invalid_checkpoint``.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = read_header(path)
    content = path.read_bytes()
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise _invalid(path, error) from error
    members: list[dict[str, torch.Tensor]] = [{} for _ in range(header.n_members)]
    others: dict[str, npt.NDArray[Any]] = {}
    for key, array in arrays.items():
        kind, _, name = key.partition("/")
        if kind == _ARRAYS:
            others[name] = array
        else:
            members[int(kind.removeprefix("member"))][name] = torch.from_numpy(array)
    return Checkpoint(
        header=header,
        members=tuple(members),
        arrays=others,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def shipped_checkpoints() -> list[Path]:
    """The checkpoints inside the package, sorted by name."""
    return sorted((Path(__file__).parent / "weights").glob("*.safetensors"))


def _header(raw: dict[str, Any]) -> Header:
    version = raw.pop("format_version")
    while version in _UPGRADES:
        raw = _UPGRADES[version](raw)
        version += 1
    if version != FORMAT_VERSION:
        raise ValueError(
            f"format {version} is newer than this version of nanoos reads ({FORMAT_VERSION})"
        )
    targets = []
    for target in raw.pop("targets"):
        level = target.pop("level_of_theory")
        targets.append(
            Target(**target, level_of_theory=None if level is None else LevelOfTheory(**level))
        )
    networks = tuple(Architecture(**kind) for kind in raw.pop("networks", ()))
    return Header(targets=tuple(targets), networks=networks, notes=tuple(raw.pop("notes")), **raw)


def _invalid(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"{path.name} is not a usable checkpoint: {error}.",
        hint="Checkpoints are written by `nanoos train`; files of other programs are added with "
        "`nanoos models add`.",
        code="invalid_checkpoint",
    )
