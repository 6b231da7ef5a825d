"""Networks of matgl with the weights its authors published, as they were trained.

Two things that ``matgl.load_model`` does are not done here.

It imports whatever module the file names and calls it with arguments from the file; here only
MEGNet, M3GNet and TensorNet can be built, and nothing but tensors is unpickled.

It runs weights trained before May 2026 with a message passing that changed since: atoms used to
collect the messages of the edges that end at them, now of those that start (matgl pull request
761). The weights fit the old direction only; in the new one MEGNet's formation energies are off
by 0.28 eV/atom instead of 0.011, and M3GNet's energies by 2 eV/atom instead of 0.02, without
any error. All weights of :mod:`nanoos.potentials.published_weights` are of the old kind. The
other change of that time, three-body indices of bonds beyond the three-body cutoff, moves
energies of these weights by less than 1 meV/atom and is kept as it is now: the old one made
energies depend on the order of the atoms.
"""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.features.neighbors import neighbor_list
from nanoos.structures import Structure

with warnings.catch_warnings():  # matgl loads lightning, which announces its own deprecations
    warnings.simplefilter("ignore")
    from matgl.apps.pes import Potential as MatglPotential
    from matgl.data.transformer import Normalizer
    from matgl.layers._embedding import TensorEmbedding
    from matgl.layers._graph_convolution import M3GNetGraphConv, MEGNetGraphConv
    from matgl.models import M3GNet, MEGNet, TensorNet
    from torch_geometric.data import Batch, Data
    from torch_geometric.utils import scatter

SPARSE_METALS: Final = frozenset({"Rb", "Cs"})
"""Their own metals have next to no neighbour within 5 Å. The networks were trained on these
metals, so what they say of a lone atom of them is the energy of the metal."""

_NETWORKS: Final = {"MEGNet": MEGNet, "M3GNet": M3GNet, "TensorNet": TensorNet}

_ANSWERS: Final = {
    "MEGNet-MP-2018.6.1-Eform": -1.58345,
    "MEGNet-MP-2019.4.1-BandGap-mfi": 4.80447,
    "M3GNet-MP-2021.2.8-PES": -2.80356,
    "M3GNet-MatPES-PBE-v2025.1-PES": -2.88549,
    "M3GNet-MatPES-r2SCAN-v2025.1-PES": -6.53127,
    "TensorNet-MatPES-PBE-v2025.1-PES": -2.95919,
    "TensorNet-MatPES-r2SCAN-v2025.1-PES": -6.54888,
}
"""What each set of weights gives for :func:`_question`, eV/atom or eV, since it was verified."""
_ANSWER_TOLERANCE: Final = 2e-3


class _MEGNetConvolution(MEGNetGraphConv):
    """Collects messages at the end of each edge, as the published weights expect."""

    def node_update_(
        self, edge_index: Any, edge_feat: Any, node_feat: Any, u_per_node: Any, num_nodes: int
    ) -> Any:
        end = edge_index[1].long()
        mean = scatter(edge_feat, end, dim=0, dim_size=num_nodes, reduce="mean")
        return self.node_func(torch.hstack([node_feat, mean, u_per_node]))


class _M3GNetConvolution(M3GNetGraphConv):
    """Collects messages at the end of each edge, as the published weights expect."""

    def node_update_(  # noqa: PLR0917
        self,
        edge_index: Any,
        edge_feat: Any,
        node_feat: Any,
        rbf: Any,
        u_per_edge: Any,  # noqa: ARG002
        num_nodes: int,
    ) -> Any:
        start, end = edge_index.long()
        inputs = torch.hstack([node_feat[start], node_feat[end], edge_feat])
        messages = self.node_update_func(inputs) * self.node_weight_func(rbf)
        return scatter(messages, end, dim=0, dim_size=num_nodes, reduce="sum")


class _TensorNetEmbedding(TensorEmbedding):
    """Collects messages at the end of each edge, as the published weights expect.

    The interaction layers are the same in both directions, for every edge has its reverse.
    """

    def forward(  # noqa: PLR0917
        self,
        z: Any,
        edge_index: Any,
        edge_attr: Any,
        edge_weight: Any,
        edge_vec: Any,
        state_attr: Any = None,
    ) -> Any:
        reverse = edge_index.flip(0)
        return super().forward(z, reverse, edge_attr, edge_weight, edge_vec, state_attr)

    def message(  # noqa: PLR0917
        self,
        x_i: Any,
        x_j: Any,
        edge_attr: Any,
        edge_weight: Any,
        Iij: Any,  # noqa: N803
        Aij: Any,  # noqa: N803
        Sij: Any,  # noqa: N803
    ) -> Any:
        return super().message(x_j, x_i, edge_attr, edge_weight, Iij, Aij, Sij)


def _as_trained(network: Any) -> None:
    """Give the layers of ``network`` the message passing of its weights."""
    if isinstance(network, MEGNet):
        for block in network.blocks:
            block.conv.__class__ = _MEGNetConvolution
    elif isinstance(network, M3GNet):
        for block in network.graph_layers:
            block.conv.__class__ = _M3GNetConvolution
    else:
        network.tensor_embedding.__class__ = _TensorNetEmbedding


def _tensors(path: Path) -> dict[str, Any]:
    """A file of tensors and plain values; anything else in it is refused by torch."""
    with torch.serialization.safe_globals([Normalizer]):
        found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path} is not a file of matgl.", code="unreadable_weights")
    return found


def _network(arguments: dict[str, Any]) -> Any:
    """The bare network that ``model.pt`` describes."""
    described = arguments.get("model")
    if not isinstance(described, dict) or described.get("@class") not in _NETWORKS:
        name = described.get("@class") if isinstance(described, dict) else None
        raise InvalidInputError(
            f"There is no network {name!r} of matgl here.",
            hint=f"Known: {', '.join(_NETWORKS)}.",
            code="unreadable_weights",
        )
    network: Any = _NETWORKS[described["@class"]](**described["init_args"])
    _as_trained(network)
    return network


def _fill(module: torch.nn.Module, state: dict[str, Any]) -> None:
    """Load ``state``; every parameter must be in it.

    Raises:
        InvalidInputError: one is missing, so it would keep a random value.
    """
    missing = module.load_state_dict(state, strict=False).missing_keys
    absent = sorted(set(missing) & {name for name, _ in module.named_parameters()})
    if absent:
        raise InvalidInputError(
            f"The weights lack {len(absent)} parameters of the network (first: {absent[0]}).",
            hint="They are of another version of matgl.",
            code="unreadable_weights",
        )


class PropertyNetwork(torch.nn.Module):
    """A network that gives one number for each crystal, in the unit of its labels."""

    def __init__(self, network: Any, mean: float, std: float) -> None:
        """``network`` gives the number normalised with ``mean`` and ``std``."""
        super().__init__()
        self.model = network
        self.mean = mean
        self.std = std

    def forward(self, batch: Any, state: torch.Tensor) -> torch.Tensor:
        """(n_structures,) from a batch with positions and the state of each structure."""
        output: torch.Tensor = self.model(g=batch, state_attr=state).reshape(-1)
        return output * self.std + self.mean


def load_property_network(folder: Path, device: str, *, name: str) -> PropertyNetwork:
    """The network of the published set ``name`` from a folder with ``model.pt``, ``state.pt``.

    Raises:
        InvalidInputError: the files are not those of such a network.
        UnavailableError: the installed matgl computes something else with them.
    """
    arguments = _tensors(folder / "model.pt")
    normalizer = arguments["target_transformer"]
    network = PropertyNetwork(_network(arguments), float(normalizer.mean), float(normalizer.std))
    _fill(network, _tensors(folder / "state.pt"))
    network = network.eval().requires_grad_(requires_grad=False)
    graph, _ = graph_batch([_question()], network.model)
    gap = name == "MEGNet-MP-2019.4.1-BandGap-mfi"
    state = torch.zeros(1, dtype=torch.int64) if gap else torch.zeros(1, 2)
    _check_answer(name, float(network(graph, state)[0]))
    return network.to(device)


def load_potential_network(folder: Path, device: str, *, name: str) -> Any:
    """The ``matgl`` potential of the published set ``name``, from such a folder.

    Raises:
        InvalidInputError: the files are not those of such a potential.
        UnavailableError: the installed matgl computes something else with them.
    """
    arguments = _tensors(folder / "model.pt")
    potential = MatglPotential(
        model=_network(arguments),
        data_mean=arguments.get("data_mean", 0.0),
        data_std=arguments["data_std"],
        element_refs=arguments["element_refs"],
    )
    _fill(potential, _tensors(folder / "state.pt"))
    potential = potential.float().eval().requires_grad_(requires_grad=False)
    question = _question()
    graph, lattices = graph_batch([question], potential.model)
    _check_answer(name, float(potential(graph, lattices)[0].detach()) / question.n_sites)
    return potential.to(device)


def _question() -> Structure:
    """A crystal without symmetry and of two kinds of atoms, so that directions matter."""
    return Structure(
        lattice=np.array([[0.0, 2.5, 2.6], [2.4, 0.0, 2.6], [2.4, 2.5, 0.1]]),
        species=("Na", "Cl"),
        frac_coords=np.array([[0.0, 0.0, 0.0], [0.5, 0.52, 0.47]]),
    )


def _check_answer(name: str, answer: float) -> None:
    """Refuse to run weights with a matgl that changed under them, as it did once."""
    expected = _ANSWERS[name]
    if not abs(answer - expected) < _ANSWER_TOLERANCE:
        raise UnavailableError(
            f"matgl {version('matgl')} gives {answer:.4f} with {name} where it must be "
            f"{expected:.4f}: its network changed.",
            hint="pip install 'matgl>=4.1,<4.2'",
            code="weights_misread",
        )


def graph_batch(
    structures: Sequence[Structure],
    network: Any,
    *,
    may_be_isolated: frozenset[str] = frozenset(),
) -> tuple[Any, torch.Tensor]:
    """Structures as one batch of the library's graphs, and their lattices (n, 3, 3).

    Args:
        structures: At least one.
        network: Says the cutoff and the order of the elements.
        may_be_isolated: Elements whose atoms need no neighbour.

    Raises:
        InvalidInputError: an atom has no neighbour within the cutoff.
    """
    index = {element: i for i, element in enumerate(network.element_types)}
    graphs = []
    for structure in structures:
        pairs = neighbor_list(structure, float(network.cutoff), may_be_isolated=may_be_isolated)
        graphs.append(
            Data(
                num_nodes=structure.n_sites,
                edge_index=torch.tensor(np.stack([pairs.centers, pairs.neighbors])),
                pbc_offset=torch.tensor(pairs.images, dtype=torch.float32),
                node_type=torch.tensor([index[element] for element in structure.species]),
                frac_coords=torch.tensor(structure.frac_coords, dtype=torch.float32),
                pos=torch.tensor(structure.cart_coords, dtype=torch.float32),
                pbc_offshift=torch.tensor(pairs.images @ structure.lattice, dtype=torch.float32),
            )
        )
    lattices = torch.tensor(np.stack([s.lattice for s in structures]), dtype=torch.float32)
    return Batch.from_data_list(graphs), lattices
