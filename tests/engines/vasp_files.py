"""Files as VASP writes them, of a toy crystal, and a stand-in for ``vasp_std`` that writes them.

Written from scratch after the format that the manual describes; only what readers look at. The toy:
energy per atom -5 + (v/v0 - 1)^2 / 2 eV at v0 = 10 Å^3, one band filled for two electrons.
"""

import json
import os
import sys
import time
from pathlib import Path

V0 = 10.0
KBAR = 1602.1766339999996
POTCAR_HEAD = """  PAW_PBE {title} 01Jan2000
   {zval:.15f}
 parameters from PSCTR are:
   VRHFIN ={element}: s2p2
   LEXCH  = PE
   TITEL  = PAW_PBE {title} 01Jan2000
   POMASS =   28.085; ZVAL   =    {zval:.3f}    mass and valenz
   ENMAX  =  {enmax:.3f}; ENMIN  =  184.009 eV
 END of PSCTR-controll parameters
 no numbers: this is no potential
 End of Dataset
"""


def write_potcars(folder: Path, **titles: tuple[float, float]) -> None:
    """``Si=(4, 245.345)``: heads without potentials in a folder laid out as pymatgen's."""
    for title, (zval, enmax) in titles.items():
        place = folder / "POT_GGA_PAW_PBE_54" / title
        place.mkdir(parents=True)
        element = title.split("_")[0]
        head = POTCAR_HEAD.format(title=title, element=element, zval=zval, enmax=enmax)
        (place / "POTCAR").write_text(head)


def write_program(path: Path, **behaviour) -> Path:
    """A program that reads INCAR and POSCAR of its folder and writes what VASP would."""
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import vasp_files\nvasp_files.main({behaviour!r})\n"
    )
    path.chmod(0o755)
    return path


def main(behaviour: dict) -> None:
    incar = read_incar(Path("INCAR").read_text())
    if not Path("POTCAR").read_text().count("End of Dataset"):
        sys.exit("no POTCAR")
    if behaviour.get("sleep_s"):
        Path("OSZICAR").write_text("DAV:   1    -0.1E+02   -0.2E+01  -0.1E+00   120   0.1E+01\n")
        Path("child.json").write_text(json.dumps(os.getpid()))
        time.sleep(behaviour["sleep_s"])
    lattice, symbols, coords = read_poscar(Path("POSCAR").read_text())
    sys.stdout.write(" running on    1 total cores\n" + behaviour.get("says", "") + "\n")
    if behaviour.get("exit"):
        sys.exit(behaviour["exit"])
    frames = path_of(lattice, coords, incar)
    write_output(Path(), incar, symbols, frames, **behaviour.get("output", {}))


def read_incar(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def read_poscar(text: str):
    lines = text.splitlines()
    lattice = [[float(x) for x in line.split()[:3]] for line in lines[2:5]]
    kinds, counts = lines[5].split(), [int(n) for n in lines[6].split()]
    symbols = [s for s, n in zip(kinds, counts, strict=True) for _ in range(n)]
    assert lines[7].lower().startswith("d")
    coords = [[float(x) for x in line.split()[:3]] for line in lines[8 : 8 + len(symbols)]]
    return lattice, symbols, coords


def path_of(lattice, coords, incar):
    """Geometries of a run: one, or three on the way to the volume of lowest energy."""
    if int(incar.get("NSW", 0)) < 2:
        return [(lattice, coords)]
    if int(incar["ISIF"]) < 3:
        return [(lattice, coords)] * 3
    scale = (V0 * len(coords) / volume(lattice)) ** (1 / 3)
    steps = (0.0, 0.7, 1.0)
    return [([[x * (1 + s * (scale - 1)) for x in r] for r in lattice], coords) for s in steps]


def volume(m) -> float:
    (a, b, c), (d, e, f), (g, h, i) = m
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def energy_and_pressure(lattice, n):
    strain = volume(lattice) / n / V0 - 1
    return n * (-5 + strain**2 / 2), -strain / V0  # eV, eV/Å^3


def vectors(name: str, rows, width: int = 3) -> str:
    lines = "".join(f"<v>{' '.join(f'{x:.8f}' for x in row)}</v>\n" for row in rows)
    return f'<varray name="{name}">\n{lines}</varray>\n'


def structure(lattice, coords, name: str = "") -> str:
    label = f' name="{name}"' if name else ""
    inner = f'<crystal>\n{vectors("basis", lattice)}<i name="volume">{volume(lattice):.8f}</i>\n'
    inner += vectors("rec_basis", lattice) + "</crystal>\n" + vectors("positions", coords)
    return f"<structure{label}>\n{inner}</structure>\n"


def energies(free: float, ts: float) -> str:
    pairs = {"e_fr_energy": free, "e_wo_entrp": free - ts, "e_0_energy": free - ts / 2}
    return (
        "<energy>\n"
        + "".join(f'<i name="{k}">{v:.8f}</i>\n' for k, v in pairs.items())
        + "</energy>\n"
    )


def write_output(
    folder: Path,
    incar: dict[str, str],
    symbols: list[str],
    frames,
    *,
    iterations: int = 6,
    reached: bool = True,
    moment: float = 0.0,
    gap_ev: float = 1.2,
    ts_ev: float = -0.004,
    pstress_kbar: float = 0.0,
    forces=None,
    truncated: bool = False,
    words: str = "",
) -> None:
    """vasprun.xml, OUTCAR and OSZICAR of a run through ``frames``."""
    n = len(symbols)
    spins = int(incar.get("ISPIN", 1))
    electrons = 4 * n
    forces = forces or [[0.0, 0.0, 0.001 * i] for i in range(n)]
    kinds = list(dict.fromkeys(symbols))
    atoms = "".join(f"<rc><c>{s} </c><c>{kinds.index(s) + 1}</c></rc>\n" for s in symbols)
    types = "".join(
        f"<rc><c>{symbols.count(k)}</c><c>{k} </c><c>1.0</c><c>4.0</c><c> PAW_PBE {k} 01Jan2000 </c></rc>\n"
        for k in kinds
    )
    settings = {"PSTRESS": pstress_kbar, **{k: incar[k] for k in ("ENCUT", "EDIFF") if k in incar}}
    numbers = {"NELM": incar.get("NELM", 60), "NSW": incar.get("NSW", 0), "ISPIN": spins,
               "IBRION": incar.get("IBRION", -1), "ISIF": incar.get("ISIF", 2)}  # fmt: skip
    items = "".join(f'<i type="int" name="{k}">{v}</i>\n' for k, v in numbers.items())
    items += "".join(f'<i name="{k}">{v}</i>\n' for k, v in settings.items())
    items += f'<i name="NELECT">{electrons:.8f}</i>\n<i type="string" name="GGA">--</i>\n'
    items += '<i name="AEXX">0.0</i><i name="HFSCREEN">0.0</i><i type="logical" name="LHFCALC"> F </i><i type="logical" name="LDAU"> F </i>\n'
    tags = "".join(
        f'<i type="int" name="{k}">{incar[k]}</i>\n' for k in ("ISIF", "NSW") if k in incar
    )
    calculations, oszicar = "", ""
    for number, (lattice, coords) in enumerate(frames, 1):
        energy, pressure = energy_and_pressure(lattice, n)
        for i in range(1, iterations + 1):
            off = 10.0 ** (1 - i) if i < iterations else 0.0
            calculations += "<calculation>\n" if i == 1 else ""
            calculations += f"<scstep>\n{energies(energy + off, ts_ev)}</scstep>\n"
            oszicar += (
                f"DAV: {i:3d}    {energy + off:.8E}   {-9 * off:.5E}  -0.1E+00   120   0.1E+01\n"
            )
        outer = energy + pstress_kbar / KBAR * volume(lattice)
        stress = [[pressure * KBAR if r == c else 0.0 for c in range(3)] for r in range(3)]
        calculations += structure(lattice, coords) + vectors("forces", forces)
        calculations += vectors("stress", stress) + energies(outer, ts_ev)
        last = number == len(frames)
        calculations += bands(electrons, spins, moment, gap_ev) if last else ""
        calculations += "</calculation>\n"
        oszicar += f"   {number} F= {energy:.8E} E0= {energy - ts_ev / 2:.8E}  d E =0.0\n"
    xml = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
<generator><i name="program" type="string">vasp </i><i name="version" type="string">6.4.2  </i></generator>
<incar>\n{tags}</incar>
<kpoints><generation param="Gamma"><v type="int" name="divisions">2 1 1</v></generation>
{vectors("kpointlist", [[0, 0, 0], [0.5, 0, 0]])}{vectors("weights", [[0.25], [0.75]])}</kpoints>
<parameters>\n{items}</parameters>
<atominfo><atoms>{n}</atoms><types>{len(kinds)}</types>
<array name="atoms"><set>\n{atoms}</set></array>
<array name="atomtypes"><set>\n{types}</set></array></atominfo>
{structure(*frames[0], "initialpos")}{calculations}{structure(*frames[-1], "finalpos")}</modeling>
"""
    (folder / "vasprun.xml").write_text(xml[: len(xml) // 2] if truncated else xml)
    (folder / "OSZICAR").write_text(oszicar)
    (folder / "OUTCAR").write_text(outcar(n, spins, moment, electrons, reached, words))


def bands(electrons: int, spins: int, moment: float, gap_ev: float) -> str:
    """Flat bands but for the second k-point's valence band, which lies 0.5 eV lower."""
    text = ""
    for spin in range(spins):
        filled = round((electrons + (moment if spin == 0 else -moment) * (spins - 1)) / 2)
        text += f'<set comment="spin {spin + 1}">\n'
        for k in (1, 2):
            rows = []
            for b in range(electrons // 2 + 4):
                level = 5.0 - (0.5 if k == 2 else 0.0) if b < filled else 5.0 + gap_ev
                rows.append(f"<r>{level:.4f} {1.0 if b < filled else 0.0:.4f}</r>\n")
            text += f'<set comment="kpoint {k}">\n{"".join(rows)}</set>\n'
        text += "</set>\n"
    dos = "".join(
        f'<set comment="spin {s + 1}"><r>0.0 0.0 0.0</r><r>1.0 0.0 0.0</r></set>\n'
        for s in range(spins)
    )
    return (
        f"<eigenvalues><array><set>\n{text}</set></array></eigenvalues>\n"
        f'<dos><i name="efermi">5.10000000</i><total><array><set>\n{dos}</set></array></total></dos>\n'
    )


def outcar(n, spins, moment, electrons, reached, words) -> str:
    lines = [
        " running on    1 total cores",
        f"   ISPIN  =      {spins}    spin polarized calculation?",
    ]
    lines += [
        "   number of bands    NBANDS=     12",
        "   total plane-waves  NPLWV =   4096",
        words,
        "   IBRION =     -1    ionic relax",
    ]
    lines.append(f" number of electron  {electrons:.7f} magnetization {moment:.7f}")
    if spins == 2:
        lines += ["", " magnetization (x)", " ", "# of ion       s       p       d       tot",
                  "------------------------------------------"]  # fmt: skip
        lines += [f"{i + 1:5d}        0.000   0.000   {m:.3f}   {m:.3f}"
                  for i, m in enumerate([moment / n] * n)]  # fmt: skip
        lines += ["--------------------------------------------------",
                  f"tot          0.000   0.000   {moment:.3f}   {moment:.3f}"]  # fmt: skip
    if reached:
        lines.append(" reached required accuracy - stopping structural energy minimisation")
    lines += ["  Total CPU time used (sec):       12.500", "  Elapsed time (sec):       13.250", ""]
    return "\n".join(lines)
