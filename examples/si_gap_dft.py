"""The band gap of silicon by density functional theory: relaxed cell, bands, gap.

Minutes on one core: python examples/si_gap_dft.py [FOLDER] [--quick]

Needs once: nanoos tools install QE (or a pw.x), nanoos pseudos install PseudoDojo-0.4.1-PBE-SR-standard.
`--quick` takes cutoffs that are too low, to see that everything is installed.
"""

import sys
from pathlib import Path

import numpy as np

from nanoos.config import load_settings
from nanoos.core.folders import set_data_dir
from nanoos.engines import get_engine
from nanoos.engines.espresso.program import set_command
from nanoos.pseudopotentials import set_pseudo_folder
from nanoos.structures import Structure

QUICK = {"ecutwfc_ry": 12, "kmesh": (2, 2, 2), "conv_thr_ry_per_atom": 1e-7}
COARSE = {"pressure_tolerance_gpa": 2.0, "energy_tolerance_ev": 0.01}


def silicon(a: float = 5.43) -> Structure:
    """The primitive cell, ``a`` in Å."""
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    sites = np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]])
    return Structure(lattice=lattice, species=("Si", "Si"), frac_coords=sites)


def use_settings() -> None:
    """pw.x and pseudopotentials as the settings say."""
    settings = load_settings()
    set_data_dir(settings.data_dir)
    set_command(settings.qe_command)
    set_pseudo_folder(settings.resolved_pseudo_dir)


def main(folder: Path, *, quick: bool) -> None:
    """Relax the cell, then compute the bands of what came out."""
    use_settings()
    common = QUICK if quick else {}
    tolerances = COARSE if quick else {}
    engine = get_engine("QE")()

    def tell(fraction: float, message: str) -> None:
        print(f"\r{100 * fraction:3.0f} % {message:60.60}", end="", flush=True)

    relaxed = engine.run(
        silicon(),
        {"workflow": "vc_relax", **common, **tolerances},
        folder / "relax",
        progress=tell,
    )
    edge = (4 * relaxed.structure.volume) ** (1 / 3)
    print(f"\nlattice constant {edge:.3f} Å (PBE: 5.47, measured: 5.43)")
    bands = engine.run(
        relaxed.structure,
        {"workflow": "bands", "band_points": 30 if quick else 80, **common},
        folder / "bands",
        progress=tell,
    )
    found = bands.values
    print(f"\nband gap {found['band_gap_ev']:.2f} eV (PBE: 0.6, measured: 1.17)")
    print(
        f"from {bands.labels['valence_top_at']} to {bands.labels['conduction_bottom_at']}; "
        f"direct gap {found['direct_gap_ev']:.2f} eV"
    )
    print(f"bands: {folder / 'bands' / 'output' / 'bands.csv'}")
    for choice in ("mesh", "smearing", "ecutwfc_ry"):
        print(f"{choice}: {bands.labels[f'why_{choice}']}")
    for warning in (*relaxed.warnings, *bands.warnings):
        print(f"note: {warning}")


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--quick"]
    main(Path(words[0]) if words else Path("si_gap"), quick="--quick" in sys.argv)
