"""The far end of a local pseudopotential, which is the Coulomb potential of the ion and nothing else.

Files of ONCVPSP tabulate the local potential to 10 Bohr and farther, where it should be -2 Z/r (Ry)
and is that plus the noise of unscreening, which r^2 makes large: pw.x, which integrates to 10 Bohr,
gives copper with the files of PseudoDojo a volume 2 % too large. ABINIT reads 6 Bohr; the ACWF study
trimmed the files there.

Ref: Bosoni et al., Nat. Rev. Phys. 6, 45 (2024), supplement S14.
"""

import re
from typing import Final

import numpy as np

COULOMB_FROM_BOHR: Final = 6.0
_PARTS: Final = {
    name: re.compile(rb"(<" + name + rb"\b[^>]*>)(.*?)(</" + name + rb">)", re.DOTALL)
    for name in (b"PP_R", b"PP_LOCAL")
}


def with_coulomb_tail(data: bytes, z_valence: float) -> bytes:
    """A UPF file whose local potential is the ion's Coulomb potential behind 6 Bohr.

    Args:
        data: The file.
        z_valence: Charge of the ion.

    Returns:
        The file with those numbers replaced; as it was where it is not one of ONCVPSP.
    """
    if b"ONCVPSP" not in data:
        return data
    radii, local = (part.search(data) for part in _PARTS.values())
    if radii is None or local is None:
        return data
    try:
        r, v = (np.array(part.group(2).split(), dtype=np.float64) for part in (radii, local))
    except ValueError:  # pw.x says what is wrong with it
        return data
    if len(r) != len(v):
        return data
    far = r >= COULOMB_FROM_BOHR
    v[far] = -2.0 * z_valence / r[far]
    numbers = [f"{x:22.12E}" for x in v]
    lines = "\n".join("".join(numbers[i : i + 4]) for i in range(0, len(numbers), 4))
    return data[: local.start(2)] + f"\n{lines}\n".encode() + data[local.end(2) :]
