"""Makes a small MACE model in the tool's environment, trained for a few seconds."""

import importlib.util

import numpy as np
import torch
from mace import modules


def train(fields, arrays, report):
    """Fit energies (eV) and forces (eV/Å) of one batch and pickle the model as MACE does."""
    spec = importlib.util.spec_from_file_location("program", fields["program"])
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    torch.manual_seed(0)
    dtype = fields["dtype"]
    torch.set_default_dtype(getattr(torch, dtype))
    heads = fields["heads"]
    numbers = fields["atomic_numbers"]
    model = modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=6,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=modules.models.o3.Irreps("8x0e + 8x1o"),
        MLP_irreps=modules.models.o3.Irreps("8x0e"),
        atomic_energies=np.tile(np.linspace(-2.0, -1.0, len(numbers)), (len(heads), 1)),
        avg_num_neighbors=fields["neighbors"],
        atomic_numbers=numbers,
        correlation=2,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=[0.5] * len(heads),
        atomic_inter_shift=[0.0] * len(heads),
        heads=heads,
    )
    settings = {"dtype": dtype, "atomic_numbers": numbers}
    energies = torch.from_numpy(arrays.pop("energies")).to(torch.get_default_dtype())
    forces = torch.from_numpy(arrays.pop("forces")).to(torch.get_default_dtype())
    counts = torch.from_numpy(arrays["counts"])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(fields["steps"]):
        data = program._batch(arrays, settings, 0, "cpu")
        output = model(data, training=True)
        loss = ((output["energy"] - energies) / counts).pow(2).mean()
        loss = loss + 0.1 * (output["forces"] - forces).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report((step + 1) / fields["steps"], f"loss {float(loss):.4f}")
    torch.save(model, fields["target"])
    return {"loss": float(loss.detach())}, {}


REQUESTS = {"train": train}
