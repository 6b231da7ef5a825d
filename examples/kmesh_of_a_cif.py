"""The k-point mesh of your own crystal: python examples/kmesh_of_a_cif.py YOUR.cif [CONFIDENCE]

CONFIDENCE is 0.85, 0.9 or 0.95. Seconds; needs no DFT program. The same on the command line:
nanoos kpoints YOUR.cif --write-input, and by calculation: nanoos converge YOUR.cif
"""

import sys
from pathlib import Path

from nanoos.kpoints import kpoint_model, length_from_kdist
from nanoos.structures import read_structure

DEFAULT = Path(__file__).parent / "cifs" / "TiC.cif"


def main(path: Path, confidence: float) -> None:
    """Say which mesh, how sure that is and what it costs."""
    structure = read_structure(path)
    (found,) = kpoint_model("RF").predict([structure], confidence=confidence)
    mesh, middle = found.mesh, found.mesh_median
    print(f"{structure.formula}: {' x '.join(str(n) for n in mesh.divisions)} through Gamma")
    print(
        f"spacing {found.kdist:.3f} Å^-1, at {confidence:g} between {found.kdist_lower:.3f} and "
        f"{found.kdist_upper:.3f}; the mesh is that of the lower bound"
    )
    print(
        f"as a length: {length_from_kdist(found.kdist):.0f} Å; converged means: {found.criterion}"
    )
    print(f"the most likely mesh has {middle.n_points} points, this one {mesh.n_points}")
    if found.coverage is not None:
        print(f"such intervals held for {found.coverage.observed:.1%} of other compositions")
    for reason in found.reasons:
        print(f"outside what the model learnt from: {reason}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT,
        float(sys.argv[2]) if len(sys.argv) > 2 else 0.95,  # noqa: PLR2004
    )
