"""The rows that k-point models are made from, in their splits."""

import hashlib
import json
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from nanoos.features.packed import PackedGraphs
from nanoos.kpoints.descriptors import ELEMENT_COLUMNS, kpoint_descriptors
from nanoos.kpoints.studies import StudyFile
from nanoos.models.checkpoints import shipped_checkpoints
from nanoos.structures import Structure
from nanoos.structures.elements import SYMBOLS
from nanoos.structures.structure import reduced_formula
from nanoos.training.data import load_graphs, save_graphs


@dataclass(frozen=True, kw_only=True)
class Data:
    """All rows."""

    table: pd.DataFrame
    path: Path
    structures: list[Structure]
    graphs: PackedGraphs
    elements: np.ndarray
    descriptors: np.ndarray
    lengths: np.ndarray

    def rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.table["split"] == split)

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of ``val`` that choose, and that calibrate."""
        val = self.rows("val")
        half = np.array([half_of(f) for f in self.table["reduced_formula"].iloc[val]])
        return val[half == 0], val[half == 1]


def half_of(formula: str) -> int:
    return int(hashlib.sha256(formula.encode()).hexdigest(), 16) % 2


def structure_of(text: str) -> Structure:
    raw = json.loads(text)
    return Structure(
        lattice=np.array(raw["lattice"]),
        species=tuple(SYMBOLS[z] for z in raw["atomic_numbers"]),
        frac_coords=np.array(raw["frac_coords"]),
    )


def element_rows() -> np.ndarray:
    """(104, len(ELEMENT_COLUMNS)), gaps filled with medians."""
    from pymatgen.core.periodic_table import Element

    from nanoos.features.composition import element_table

    more = (
        "mendeleev_no",
        "electron_affinity",
        "ionization_energy",
        "molar_volume",
        "bulk_modulus",
        "boiling_point",
        "thermal_conductivity",
        "electrical_resistivity",
    )
    rows = np.full((104, len(ELEMENT_COLUMNS)), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for symbol, row in element_table().items():
            element = Element(symbol)
            found = [getattr(element, name, None) for name in more]
            rows[element.Z] = [*row, *(np.nan if v is None else float(v) for v in found)]
    rows[0] = 0
    filled = np.where(np.isnan(rows), np.nanmedian(rows[1:], axis=0), rows)
    return filled.astype(np.float32)


def load_data(folder: Path, cache: Path) -> Data:
    path = folder / "kpoints" / "jarvis_kpoints.parquet"
    table = pd.read_parquet(path)
    structures = [structure_of(text) for text in table["structure"]]
    elements = element_rows()
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / "descriptors.npy"
    if not file.exists():
        np.save(file, kpoint_descriptors(structures, elements))
    packed = cache / "shared_graphs"
    if not packed.exists():
        save_graphs(PackedGraphs.from_structures(structures, k=12, cutoff=8.0), packed)
    return Data(
        table=table,
        path=path,
        structures=structures,
        graphs=load_graphs(packed),
        elements=elements,
        descriptors=np.load(file),
        lengths=table["kpoint_length_A"].to_numpy(float),
    )


def shipped(name: str) -> Path:
    return next(path for path in shipped_checkpoints() if path.stem == name)


def with_studies(data: Data, path: Path) -> tuple[Data, dict[str, int]]:
    """The rows and, after them, the studies of ``path`` to learn from (``nanoos converge --export``).

    Those whose composition chooses, calibrates or tests are left out. Returns how many studies of
    each program and setting were added, too.
    """
    held = {
        reduced_formula(one.composition)
        for one, split in zip(data.structures, data.table["split"], strict=True)
        if split != "train"
    }
    labelled = StudyFile(path).labelled()
    new = [one for one in labelled if reduced_formula(one.structure.composition) not in held]
    print(f"{len(new)} of {len(labelled)} studies added to the rows to learn from")
    if not new:
        return data, {}
    structures = [one.structure for one in new]
    rows = {
        "reduced_formula": [reduced_formula(one.composition) for one in structures],
        "split": ["train"] * len(new),
        "kpoint_length_A": [one.converged_length for one in new],
    }
    graphs = PackedGraphs.from_structures(structures, k=12, cutoff=8.0)
    more = replace(
        data,
        table=pd.concat([data.table, pd.DataFrame(rows)], ignore_index=True),
        structures=[*data.structures, *structures],
        graphs=PackedGraphs.concatenate([data.graphs, graphs]),
        descriptors=np.vstack([data.descriptors, kpoint_descriptors(structures, data.elements)]),
        lengths=np.append(data.lengths, rows["kpoint_length_A"]),
    )
    return more, dict(Counter(one.code for one in new))
