"""Networks that run together say what each of them says alone, atom by atom."""

import numpy as np
import pytest
import torch

from nanoos.features import PackedGraphs
from nanoos.models.networks.alignn import ALIGNN, ALIGNNParameters
from nanoos.models.networks.arithmetic import denormals_as_zero
from nanoos.models.networks.batch import GraphBatch
from nanoos.models.networks.cgcnn import CGCNN, CGCNNParameters
from nanoos.models.networks.together import NetworksTogether
from nanoos.structures import Structure


def crystals() -> list[Structure]:
    """A symmetric cell, a disordered one, one with missing neighbours, a lone atom."""
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    symmetric = Structure(
        lattice=5.6 * np.eye(3),
        species=("Na",) * 4 + ("Cl",) * 4,
        frac_coords=np.vstack([corners, corners + np.array([0.5, 0, 0])]),
    )
    rng = np.random.default_rng(5)
    coords = symmetric.frac_coords + rng.normal(scale=0.02, size=(8, 3))
    return [
        symmetric,
        Structure(lattice=symmetric.lattice, species=symmetric.species, frac_coords=coords),
        Structure(
            lattice=25.0 * np.eye(3),
            species=("H", "O", "H"),
            frac_coords=np.array([[0.0, 0, 0], [0.04, 0, 0], [0.05, 0.03, 0]]),
        ),
        Structure(lattice=30.0 * np.eye(3), species=("Ar",), frac_coords=np.zeros((1, 3))),
    ]


def networks() -> list[CGCNN | ALIGNN]:
    """Of several shapes, with normalisations that do something."""
    torch.manual_seed(3)
    small = CGCNNParameters(hidden_dim=16, head_dim=24, num_layers=2)
    wide = CGCNNParameters(hidden_dim=32, head_dim=24)
    found: list[CGCNN | ALIGNN] = [
        CGCNN(small, ["a", "b"]),
        ALIGNN(ALIGNNParameters(hidden_dim=16, angle_dim=4, head_dim=24), ["a"]),
        CGCNN(small, ["c"]),
        CGCNN(wide, ["a"]),
        CGCNN(small, ["a"]),
    ]
    for network in found:
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                for values, low, high in (
                    (module.running_mean, -1, 1),
                    (module.running_var, 0.5, 2),
                    (module.weight.data, -1, 2),
                    (module.bias.data, -1, 1),
                ):
                    values.uniform_(low, high)
        network.eval()
    return found


def alone(network: CGCNN | ALIGNN, graphs: PackedGraphs) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled vectors and outputs by the module itself."""
    with denormals_as_zero(), torch.inference_mode():
        batch = GraphBatch.from_graphs(graphs)
        pooled = batch.mean_over_atoms(network.atom_vectors(batch))
        return pooled, network.read_out(pooled)


@pytest.mark.parametrize("limit", [2**19, 64], ids=["one batch", "many batches"])
def test_the_answers_are_those_of_each_module(monkeypatch, limit):
    monkeypatch.setattr("nanoos.models.networks.together._NUMBERS", limit)
    monkeypatch.setattr("nanoos.models.networks.together._BATCH_ATOMS", max(1, limit // 64))
    graphs = PackedGraphs.from_structures(crystals())
    members = networks()
    for network, answer in zip(members, NetworksTogether(members).run(graphs), strict=True):
        pooled, outputs = alone(network, graphs)
        torch.testing.assert_close(answer.pooled, pooled, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(answer.outputs, outputs, rtol=1e-5, atol=1e-5)


def test_the_last_layer_of_a_read_out_takes_what_is_hidden():
    graphs = PackedGraphs.from_structures(crystals())
    network = networks()[0]
    (answer,) = NetworksTogether([network]).run(graphs)
    with torch.inference_mode():
        for target, head in enumerate(network.heads):
            again = head[-1](answer.hidden[target])[:, 0]
            torch.testing.assert_close(again, answer.outputs[:, target], rtol=1e-5, atol=1e-6)


def test_large_messages_neither_overflow_nor_saturate():
    graphs = PackedGraphs.from_structures(crystals())
    network = CGCNN(CGCNNParameters(hidden_dim=8, head_dim=8, num_layers=1), ["a"]).eval()
    with torch.no_grad():
        network.convolutions[0].atom.bias.fill_(150.0)
    (answer,) = NetworksTogether([network]).run(graphs)
    pooled, _ = alone(network, graphs)
    assert float(pooled.max()) > 100
    torch.testing.assert_close(answer.pooled, pooled, rtol=1e-5, atol=1e-4)
