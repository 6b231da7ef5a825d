"""The network in numpy answers what the network in PyTorch answers."""

import numpy as np
import pytest
import torch

from nanoos.features.packed import PackedGraphs
from nanoos.kpoints.crystal_vectors import CrystalNetwork
from nanoos.models.networks.batch import GraphBatch
from nanoos.models.networks.cgcnn import CGCNN, CGCNNParameters
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt, wurtzite


def trained_alike() -> CGCNN:
    """A network whose normalisations are not the identity."""
    torch.manual_seed(0)
    network = CGCNN(CGCNNParameters(hidden_dim=16, head_dim=8), ("gap", "energy"))
    for name, buffer in network.named_buffers():
        if "running_mean" in name:
            buffer.normal_(std=0.3)
        if "running_var" in name:
            buffer.uniform_(0.5, 2.0)
    return network.eval()


@pytest.fixture(scope="module")
def structures() -> list[Structure]:
    lonely = Structure(
        lattice=20 * np.eye(3), species=("O", "H"), frac_coords=[[0, 0, 0], [0.05, 0, 0]]
    )
    return [rocksalt(4.2), wurtzite(), lonely]


def test_it_agrees_with_pytorch(structures):
    network = trained_alike()
    ours = CrystalNetwork.from_state(
        {name: tensor.numpy() for name, tensor in network.state_dict().items()},
        outputs=("gap", "energy"),
        cutoff=8.0,
        k=12,
        n_gaussians=41,
    )
    graphs = PackedGraphs.from_structures(structures, k=12, cutoff=8.0)
    with torch.inference_mode():
        batch = GraphBatch.from_graphs(graphs)
        pooled = batch.mean_over_atoms(network.atom_vectors(batch))
        expected = torch.cat([network.read_out(pooled), pooled], dim=1).numpy()
    assert ours.describe(graphs) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert len(ours.columns) == expected.shape[1]
    again = CrystalNetwork.from_arrays(ours.to_arrays(), ours.to_dict())
    assert np.array_equal(again.describe(graphs), ours.describe(graphs))
