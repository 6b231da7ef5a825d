"""Stands for MACE's program where what is sent is tested: half the sum of (cutoff - r)^3."""

import json

import numpy as np


def compute(fields, arrays, report):
    with open(fields["weights"], "rb") as file:  # noqa: PTH123
        metadata = json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]
    cutoff = json.loads(metadata["settings"])["r_max"]
    n = len(arrays["counts"])
    owner = np.repeat(np.arange(n), arrays["counts"])
    cells = arrays["cells"]
    i, j = arrays["centers"], arrays["neighbors"]
    shifts = np.einsum("ei,eij->ej", arrays["images"].astype(float), cells[owner[i]])
    vectors = arrays["positions"][j] - arrays["positions"][i] + shifts
    r = np.linalg.norm(vectors, axis=1)
    pull = (-3 * (cutoff - r) ** 2 / r)[:, None] * vectors
    answer = {"energies": np.bincount(owner[i], 0.5 * (cutoff - r) ** 3, minlength=n)}
    if fields["forces"]:
        forces = np.zeros((len(owner), 3))
        np.add.at(forces, i, pull)
        answer["forces"] = forces
    if fields["stress"]:
        tensors = np.zeros((n, 3, 3))
        np.add.at(tensors, owner[i], 0.5 * vectors[:, :, None] * pull[:, None, :])
        answer["stresses"] = tensors / np.abs(np.linalg.det(cells))[:, None, None]
    return {}, answer


REQUESTS = {"compute": compute}
