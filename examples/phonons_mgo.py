"""Phonons of MgO with CHGNet: bands, density of states, heat capacity.

Writes tables, plots and phonopy's own file: python examples/phonons_mgo.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

from nanoos.engines import get_engine
from nanoos.structures import Structure


def magnesia(a: float = 4.25) -> Structure:
    """The primitive cell, ``a`` in Å."""
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    return Structure(lattice=lattice, species=("Mg", "O"), frac_coords=sites)


def main(folder: Path) -> None:
    """Run it and say what came out."""
    result = get_engine("MLIP")().run(
        magnesia(),
        {"workflow": "phonons", "potential": "CHGNet", "min_length": 8.0},
        folder,
        progress=lambda fraction, message: print(f"{100 * fraction:3.0f} % {message}"),
    )
    values = result.values
    print(f"supercell: {values['n_supercell_atoms']:.0f} atoms")
    print(f"path: {result.labels['band_path']}")
    print(
        f"frequencies: {values['lowest_frequency_thz']:.2f} to "
        f"{values['highest_frequency_thz']:.2f} THz"
    )
    print(
        "heat capacity at 300 K: "
        f"{values['heat_capacity_300_k_j_mol_k_per_atom']:.1f} J/(mol K) for each atom"
    )
    for warning in result.warnings:
        print(f"note: {warning}")
    print(f"plots and tables: {folder / 'output'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("phonons_mgo"))
