"""Molecular dynamics of copper, and how its atoms are arranged at 300 K and molten.

Writes tables and plots beside itself: python examples/md_cu_rdf.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

from nanoos.engines import get_engine
from nanoos.engines.analysis.plots import curves
from nanoos.structures import Structure

POTENTIAL = "Cu_mishin1.eam.alloy"


def copper(a: float = 3.615) -> Structure:
    """The cubic cell, ``a`` in Å."""
    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    return Structure(
        lattice=a * np.eye(3), species=("Cu",) * 4, frac_coords=np.array(sites, dtype=float)
    )


def main(folder: Path) -> None:
    """Run both and say what came out."""
    engine = get_engine("LAMMPS")()
    runs = {
        "solid": {"workflow": "MD_NPT_LAMMPS", "temperature": 300, "num_steps": 5000},
        "liquid": {
            "workflow": "MD_ANNEAL_LAMMPS",
            "temperature": 3500,
            "anneal_temperature": 3500,
            "final_temperature": 1600,
            "pressure": 0,
            "num_steps": 24_000,
            "dump_interval": 60,
        },
    }
    found = {}
    for name, parameters in runs.items():
        result = engine.run(
            copper(),
            {"potential": POTENTIAL, "timestep": 2.0, **parameters},
            folder / name,
            progress=lambda fraction, message: print(f"{100 * fraction:3.0f} % {message}"),
        )
        values = result.values
        print(
            f"{name}: {values['avg_temperature_k']:.0f} K, {values['avg_density_g_cm3']:.2f} g/cm³, "
            f"{values['coordination_cu_cu']:.1f} neighbours at {values['first_peak_cu_cu_a']:.2f} Å"
        )
        print(f"  plots: {folder / name / 'output' / 'rdf.svg'}")
        for warning in result.warnings:
            print(f"  note: {warning}")
        found[name] = np.genfromtxt(folder / name / "output" / "rdf.csv", delimiter=",", names=True)
    picture = curves(
        found["solid"]["r_a"],
        {f"{name} copper": table["g_total"] for name, table in found.items()},
        x="r, Å",
        y="g(r)",
        level=1.0,
    )
    (folder / "rdf.svg").write_text(picture, encoding="utf-8")
    print(f"both in one: {folder / 'rdf.svg'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("md_cu"))
