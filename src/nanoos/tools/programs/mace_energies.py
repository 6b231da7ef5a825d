"""MACE in its own environment: convert a model file, and energies, forces, stresses of batches.

A MACE model file is a pickle: reading it runs whatever code stands in it. That happens once, in
``convert``, which rewrites it as numbers (safetensors) and the settings that rebuild the network
(JSON); everything else reads only that.
"""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

# The e3nn that MACE pins reads its own constants in a way that newer torch wants to be told of.
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from e3nn import o3
    from mace import modules
    from mace.tools.scripts_utils import extract_config_mace_model

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
torch.set_flush_denormal(True)

FORMAT = "nanoos-mace-1"
AGREE_EV_PER_ATOM = {"float32": 1e-5, "float64": 1e-9}
_CLASSES = ("interaction_cls", "interaction_cls_first")
_IRREPS = ("hidden_irreps", "edge_irreps", "MLP_irreps")
_LISTS = ("atomic_energies", "atomic_inter_scale", "atomic_inter_shift", "atomic_numbers")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}

_loaded: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}


def convert(
    fields: dict[str, Any], _arrays: Any, report: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the model file ``source`` (runs code in it) and write ``target``."""
    report(0.1, "reading the model file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.load(fields["source"], map_location="cpu", weights_only=False)
    if type(model).__name__ != "ScaleShiftMACE":
        raise ValueError(
            f"the file holds a {type(model).__name__}; only ScaleShiftMACE models, which is what "
            "MACE's own training writes, can be used"
        )
    settings = _settings(model)
    tensors = {name: t.detach().clone().contiguous() for name, t in model.state_dict().items()}
    report(0.5, "rebuilding the network from numbers")
    rebuilt = _build(settings, tensors)
    difference = _difference(model.eval(), rebuilt, settings)
    if difference > AGREE_EV_PER_ATOM[settings["dtype"]]:
        raise ValueError(
            f"the network rebuilt from the file differs from it by {difference:.1e} eV/atom: "
            f"mace-torch of this environment does not describe it"
        )
    metadata = {"format": FORMAT, "settings": json.dumps(settings)}
    save_file(tensors, fields["target"], metadata=metadata)
    return {"settings": settings, "difference_ev_per_atom": difference}, {}


def compute(
    fields: dict[str, Any], arrays: dict[str, Any], _report: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Energies (eV), and where asked for forces (eV/Å) and stresses (eV/Å^3, tension positive)."""
    model, settings = _model(fields["weights"], fields["sha256"], fields["device"])
    heads = settings["heads"]
    if fields["head"] not in heads:
        raise ValueError(f"the model has no head {fields['head']!r}, only {', '.join(heads)}")
    data = _batch(arrays, settings, heads.index(fields["head"]), fields["device"])
    torch.set_default_dtype(_DTYPES[settings["dtype"]])
    forces, stress = bool(fields["forces"]), bool(fields["stress"])
    with torch.set_grad_enabled(forces or stress):
        output = model(data, training=False, compute_force=forces, compute_stress=stress)
    answer = {"energies": _numbers(output["energy"])}
    if forces:
        answer["forces"] = _numbers(output["forces"])
    if stress:
        answer["stresses"] = _numbers(output["stress"])
    return {}, answer


def _settings(model: Any) -> dict[str, Any]:
    """What rebuilds the network, in JSON types."""
    config: dict[str, Any] = extract_config_mace_model(model)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise ValueError(f"models of {dtype} are not supported")
    if config.pop("embedding_specs") is not None:
        raise ValueError("models that take charge, spin or other inputs are not supported")
    config.pop("cueq_config")  # how it is computed, not what
    config.pop("use_embedding_readout")
    for name in _CLASSES:
        config[name] = config[name].__name__
    config["readout_cls"] = config["readout_cls"].__name__
    for name in _IRREPS:
        config[name] = None if config[name] is None else str(config[name])
    for name in _LISTS:
        config[name] = np.asarray(config[name]).tolist()
    gates = {function: name for name, function in modules.gate_dict.items()}
    if config["gate"] not in gates:
        raise ValueError(f"the gate {config['gate']!r} is not known")
    config["gate"] = gates[config["gate"]]
    config["radial_MLP"] = [int(n) for n in config["radial_MLP"]]
    config["avg_num_neighbors"] = float(config["avg_num_neighbors"])
    config["heads"] = list(config["heads"])
    config["distance_transform"] = config["distance_transform"] or "None"
    config["dtype"] = dtype
    json.dumps(config, allow_nan=False)
    return config


def _build(settings: dict[str, Any], tensors: dict[str, Any]) -> Any:
    """The network that ``settings`` describe, with the numbers ``tensors``."""
    config = dict(settings)
    torch.set_default_dtype(_DTYPES[config.pop("dtype")])
    for name in _CLASSES:
        config[name] = modules.interaction_classes[config[name]]
    config["readout_cls"] = modules.readout_classes[config["readout_cls"]]
    for name in _IRREPS:
        config[name] = None if config[name] is None else o3.Irreps(config[name])
    config["gate"] = modules.gate_dict[config["gate"]]
    for name in ("atomic_energies", "atomic_inter_scale", "atomic_inter_shift"):
        config[name] = np.array(config[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = modules.ScaleShiftMACE(**config)
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(requires_grad=False)


def _model(path: str, sha256: str, device: str) -> tuple[Any, dict[str, Any]]:
    """The network in the file, kept for the next request."""
    key = (sha256, device)
    if key not in _loaded:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path} holds no converted MACE model")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = json.loads(metadata["settings"])
        _loaded.clear()
        _loaded[key] = (_build(settings, tensors).to(device), settings)
    return _loaded[key]


def _batch(
    arrays: dict[str, Any], settings: dict[str, Any], head: int, device: str
) -> dict[str, torch.Tensor]:
    """A disjoint union of crystals, as the network takes it."""
    dtype = _DTYPES[settings["dtype"]]
    counts = torch.from_numpy(arrays["counts"])
    cells = torch.from_numpy(arrays["cells"])
    owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
    edges = torch.from_numpy(np.stack([arrays["centers"], arrays["neighbors"]]))
    images = torch.from_numpy(arrays["images"]).to(cells.dtype)
    shifts = torch.einsum("ei,eij->ej", images, cells[owner[edges[0]]])
    known = torch.tensor(settings["atomic_numbers"])
    kinds = torch.from_numpy(arrays["numbers"])[:, None] == known
    if not bool(kinds.any(dim=1).all()):
        raise ValueError("an element is not among those of the model")
    data = {
        "positions": torch.from_numpy(arrays["positions"]).to(dtype),
        "cell": cells.reshape(-1, 3).to(dtype),
        "shifts": shifts.to(dtype),
        "unit_shifts": images.to(dtype),
        "node_attrs": kinds.to(dtype),
        "edge_index": edges,
        "batch": owner,
        "ptr": torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)]),
        "head": torch.full((len(counts),), head, dtype=torch.int64),
    }
    return {name: tensor.to(device) for name, tensor in data.items()}


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _difference(one: Any, other: Any, settings: dict[str, Any]) -> float:
    """Largest difference of energy, eV/atom, over clusters of every element and head."""
    generator = np.random.default_rng(0)
    numbers = np.array(settings["atomic_numbers"])
    numbers = np.concatenate([numbers, numbers])
    n = len(numbers)
    positions = generator.uniform(0, 1, (n, 3)) * (15.0 * n) ** (1 / 3)
    pairs = np.array([(i, j) for i in range(n) for j in range(n) if i != j], dtype=np.int64)
    distances = np.linalg.norm(positions[pairs[:, 1]] - positions[pairs[:, 0]], axis=1)
    pairs = pairs[distances < settings["r_max"]]
    arrays = {
        "counts": np.array([n]),
        "cells": np.eye(3)[None] * 1000.0,
        "centers": pairs[:, 0],
        "neighbors": pairs[:, 1],
        "images": np.zeros((len(pairs), 3), dtype=np.int64),
        "numbers": numbers,
        "positions": positions,
    }
    worst = 0.0
    with torch.no_grad():
        for head in range(len(settings["heads"])):
            found = [
                m(_batch(arrays, settings, head, "cpu"), training=False, compute_force=False)
                for m in (one, other)
            ]
            energies = [float(output["energy"][0]) for output in found]
            worst = max(worst, abs(energies[0] - energies[1]) / n)
    return worst


REQUESTS = {"convert": convert, "compute": compute}
