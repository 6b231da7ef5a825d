"""Crystals of the elements: the ground state of each, and what competes with it.

The ground state is the experimental structure at ambient pressure and low temperature, with
these conventions: Li and Na bcc (their martensitic phases lie within 1 meV/atom), B as
alpha-B12, P black, Sn grey (diamond), Ce alpha (fcc), Yb alpha (hcp), F2 as alpha, He hcp (it
is a solid under pressure only). Ref: Villars and Daams, ASM Alloy Phase Diagrams; Donohue, The
Structures of the Elements (1974); Young, Phase Diagrams of the Elements (1991).
"""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from nanoos.structures import Structure

Sites = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementalCrystal:
    """A crystal of one element as the literature writes it down.

    Attributes:
        label: Common name and Strukturbericht or prototype: ``"bcc (A2)"``.
        space_group: Hermann-Mauguin symbol, standard setting, origin choice 1.
        lengths: a, b, c in Å.
        sites: Fractional coordinates of one atom of each orbit.
        angles: alpha, beta, gamma in degrees.
    """

    label: str
    space_group: str
    lengths: tuple[float, float, float]
    sites: Sites
    angles: tuple[float, float, float] = (90.0, 90.0, 90.0)

    def structure(self, element: str) -> Structure:
        """The primitive cell, filled with ``element``."""
        import spglib
        from pymatgen.core.lattice import Lattice
        from pymatgen.core.structure import Structure as PymatgenStructure

        full = PymatgenStructure.from_spacegroup(
            self.space_group,
            Lattice.from_parameters(*self.lengths, *self.angles),
            [element] * len(self.sites),
            [list(site) for site in self.sites],
            tol=1e-3,
        )
        cell: Any = (full.lattice.matrix, full.frac_coords, np.ones(len(full)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # spglib's own error handling
            primitive: Any = spglib.find_primitive(cell, symprec=1e-3)
        lattice, coords, _ = primitive
        return Structure(
            lattice=lattice, species=(element,) * len(coords), frac_coords=coords, label=self.label
        )


_HEX: Final = (90.0, 90.0, 120.0)
_ORIGIN: Final[Sites] = ((0.0, 0.0, 0.0),)


def _simple(kind: str, a: float, c: float = 0.0) -> ElementalCrystal:
    """The common structures by short name; ``a`` and ``c`` in Å."""
    label, group, sites, angles = _KINDS[kind]
    return ElementalCrystal(
        label=label, space_group=group, lengths=(a, a, c or a), sites=sites, angles=angles
    )


_CUBIC: Final = (90.0, 90.0, 90.0)
_KINDS: Final[dict[str, tuple[str, str, Sites, tuple[float, float, float]]]] = {
    "fcc": ("fcc (A1)", "Fm-3m", _ORIGIN, _CUBIC),
    "bcc": ("bcc (A2)", "Im-3m", _ORIGIN, _CUBIC),
    "sc": ("simple cubic (Ah)", "Pm-3m", _ORIGIN, _CUBIC),
    "diamond": ("diamond (A4)", "Fd-3m", _ORIGIN, _CUBIC),
    "bct": ("body-centred tetragonal (A6)", "I4/mmm", _ORIGIN, _CUBIC),
    "betasn": ("beta-Sn (A5)", "I4_1/amd", _ORIGIN, _CUBIC),
    "hcp": ("hcp (A3)", "P6_3/mmc", ((1 / 3, 2 / 3, 0.25),), _HEX),
    "dhcp": ("dhcp (A3')", "P6_3/mmc", ((0.0, 0.0, 0.0), (1 / 3, 2 / 3, 0.25)), _HEX),
    "sm": ("alpha-Sm (C19)", "R-3m", ((0.0, 0.0, 0.0), (0.0, 0.0, 2 / 9)), _HEX),
    "hg": ("alpha-Hg (A10)", "R-3m", _ORIGIN, _HEX),
    "graphite": ("graphite (A9)", "P6_3/mmc", ((0.0, 0.0, 0.25), (1 / 3, 2 / 3, 0.25)), _HEX),
}

_GROUND: Final = """
He hcp 3.570 5.830; Li bcc 3.510; Be hcp 2.286 3.584; C graphite 2.464 6.711; Ne fcc 4.430;
Na bcc 4.230; Mg hcp 3.209 5.211; Al fcc 4.050; Si diamond 5.431; Ar fcc 5.260; K bcc 5.230;
Ca fcc 5.580; Sc hcp 3.309 5.273; Ti hcp 2.951 4.684; V bcc 3.028; Cr bcc 2.885; Fe bcc 2.867;
Co hcp 2.507 4.069; Ni fcc 3.524; Cu fcc 3.615; Zn hcp 2.665 4.947; Ge diamond 5.658;
Kr fcc 5.720; Rb bcc 5.590; Sr fcc 6.080; Y hcp 3.647 5.731; Zr hcp 3.232 5.148; Nb bcc 3.301;
Mo bcc 3.147; Tc hcp 2.738 4.393; Ru hcp 2.706 4.282; Rh fcc 3.803; Pd fcc 3.890; Ag fcc 4.086;
Cd hcp 2.979 5.617; In bct 3.252 4.946; Sn diamond 6.489; Xe fcc 6.200; Cs bcc 6.050;
Ba bcc 5.020; La dhcp 3.774 12.171; Ce fcc 4.850; Pr dhcp 3.672 11.833; Nd dhcp 3.658 11.797;
Pm dhcp 3.650 11.650; Sm sm 3.629 26.207; Eu bcc 4.583; Gd hcp 3.634 5.781; Tb hcp 3.606 5.697;
Dy hcp 3.592 5.650; Ho hcp 3.578 5.618; Er hcp 3.559 5.585; Tm hcp 3.538 5.554;
Yb hcp 3.879 6.386; Lu hcp 3.505 5.549; Hf hcp 3.195 5.051; Ta bcc 3.303; W bcc 3.165;
Re hcp 2.761 4.456; Os hcp 2.734 4.320; Ir fcc 3.839; Pt fcc 3.924; Au fcc 4.078;
Hg hg 3.457 6.663; Tl hcp 3.456 5.525; Pb fcc 4.951; Ac fcc 5.670; Th fcc 5.084; Pa bct 3.925 3.238
"""


def _molecular(
    label: str, lengths: tuple[float, float, float], y: float, z: float
) -> "ElementalCrystal":
    return ElementalCrystal(label=label, space_group="Cmce", lengths=lengths, sites=((0.0, y, z),))


def _cubic_molecule(label: str, a: float, bond: float) -> ElementalCrystal:
    """Four molecules along the body diagonals (alpha-N2)."""
    x = bond / (2 * np.sqrt(3) * a)
    return ElementalCrystal(label=label, space_group="Pa-3", lengths=(a, a, a), sites=((x, x, x),))


def _layered_molecule(
    label: str, group: str, lengths: tuple[float, float, float], beta: float, bond: float
) -> ElementalCrystal:
    """Molecules upright on the ab plane of a monoclinic cell (alpha-O2, alpha-F2)."""
    a, _, c = lengths
    radians = np.radians(beta)
    tilt = np.radians(0.0 if group == "C2/m" else 18.0)
    height = 0.5 * bond * np.cos(tilt)
    z = height / (c * np.sin(radians))
    x = -z * c * np.cos(radians) / a
    y = 0.5 * bond * np.sin(tilt) / lengths[1]
    return ElementalCrystal(
        label=label,
        space_group=group,
        lengths=lengths,
        angles=(90.0, beta, 90.0),
        sites=((float(x), float(y), float(z)),),
    )


def _special() -> dict[str, ElementalCrystal]:
    """Ground states that need more than a name and two lengths."""
    found = {
        "H": _cubic_molecule("alpha-N2 type H2", 5.31, 0.75),
        "N": _cubic_molecule("alpha-N2", 5.66, 1.10),
        "O": _layered_molecule("alpha-O2", "C2/m", (5.403, 3.429, 5.086), 132.53, 1.21),
        "F": _layered_molecule("alpha-F2", "C2/c", (5.50, 3.28, 7.28), 102.17, 1.42),
        "Cl": _molecular("Cl2 (A14)", (6.145, 4.395, 8.154), 0.1173, 0.1016),
        "Br": _molecular("Br2 (A14)", (6.737, 4.548, 8.761), 0.135, 0.110),
        "I": _molecular("I2 (A14)", (7.137, 4.687, 9.784), 0.1541, 0.1174),
        "Ga": _molecular("alpha-Ga (A11)", (4.519, 7.659, 4.526), 0.1539, 0.0810),
        "P": _molecular("black P (A17)", (3.314, 10.478, 4.376), 0.1017, 0.0806),
        "B": ElementalCrystal(
            label="alpha-B12",
            space_group="R-3m",
            lengths=(4.908, 4.908, 12.567),
            angles=_HEX,
            sites=((0.1187, 0.8813, 0.8912), (0.1961, 0.8039, 0.0241)),
        ),
        "S": ElementalCrystal(
            label="alpha-S8 (A16)",
            space_group="Fddd",
            lengths=(10.4646, 12.8660, 24.4860),
            sites=(
                (0.26915, 0.17232, 0.17360),
                (0.41777, 0.35190, 0.37906),
                (0.34098, 0.40522, 0.45118),
                (0.33905, 0.28261, 0.50447),
            ),
        ),
        "Mn": ElementalCrystal(
            label="alpha-Mn (A12)",
            space_group="I-43m",
            lengths=(8.911, 8.911, 8.911),
            sites=(
                (0.0, 0.0, 0.0),
                (0.316, 0.316, 0.316),
                (0.356, 0.356, 0.034),
                (0.089, 0.089, 0.282),
            ),
        ),
        "U": ElementalCrystal(
            label="alpha-U (A20)",
            space_group="Cmcm",
            lengths=(2.854, 5.870, 4.955),
            sites=((0.0, 0.1025, 0.25),),
        ),
        "Np": ElementalCrystal(
            label="alpha-Np (Ac)",
            space_group="Pnma",
            lengths=(6.663, 4.723, 4.887),
            sites=((0.036, 0.25, 0.208), (0.319, 0.25, 0.842)),
        ),
        "Pu": ElementalCrystal(
            label="alpha-Pu",
            space_group="P2_1/m",
            lengths=(6.183, 4.822, 10.963),
            angles=(90.0, 101.79, 90.0),
            sites=(
                (0.345, 0.25, 0.162),
                (0.767, 0.25, 0.168),
                (0.128, 0.25, 0.340),
                (0.657, 0.25, 0.457),
                (0.025, 0.25, 0.618),
                (0.473, 0.25, 0.653),
                (0.328, 0.25, 0.926),
                (0.884, 0.25, 0.894),
            ),
        ),
    }
    for element, (a, c, z) in {
        "As": (3.760, 10.548, 0.2271),
        "Sb": (4.307, 11.273, 0.2335),
        "Bi": (4.546, 11.862, 0.2339),
    }.items():
        found[element] = ElementalCrystal(
            label="alpha-As (A7)",
            space_group="R-3m",
            lengths=(a, a, c),
            angles=_HEX,
            sites=((0.0, 0.0, z),),
        )
    for element, (a, c, x) in {"Se": (4.366, 4.954, 0.2254), "Te": (4.457, 5.929, 0.2636)}.items():
        found[element] = ElementalCrystal(
            label="gamma-Se (A8)",
            space_group="P3_121",
            lengths=(a, a, c),
            angles=_HEX,
            sites=((x, 0.0, 1 / 3),),
        )
    return found


@cache
def ground_states() -> dict[str, ElementalCrystal]:
    """Element to the crystal that formation energies are measured from, 89 of them."""
    found = _special()
    for entry in _GROUND.replace("\n", " ").split(";"):
        element, kind, *lengths = entry.split()
        found[element] = _simple(kind, *(float(length) for length in lengths))
    return found


_MOLECULAR: Final = frozenset({"H", "N", "O", "F", "Cl", "Br", "I"})

DISPERSION_BOUND: Final = _MOLECULAR | {"He", "Ne", "Ar", "Kr", "Xe", "S", "C"}
"""Elements whose ground state is held together by dispersion, between molecules, atoms or
sheets. PBE lacks it and the potentials learned from PBE let such cells run away, some to
spurious minima (CHGNet's F2 at three times the volume, 0.18 eV/atom too low), so they keep the
experimental cell and only their atoms are relaxed; the energy hardly depends on the cell."""


def candidates(element: str) -> list[ElementalCrystal]:
    """The ground state of ``element`` first, then what might compete with it.

    Competitors start at the volume per atom of the ground state, metals in all close-packed
    structures and bcc, the rest in what their neighbours in the periodic table do.
    """
    ground = ground_states()[element]
    if element in _MOLECULAR:
        return [ground]
    cell = ground.structure(element)
    volume = cell.volume / cell.n_sites
    others = [
        _simple("fcc", (4 * volume) ** (1 / 3)),
        _simple("bcc", (2 * volume) ** (1 / 3)),
        _close_packed("hcp", volume, layers=2),
    ]
    if element in {"La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Yb", "Ac", "Am"}:
        others.append(_close_packed("dhcp", volume, layers=4))
    if element in {"C", "Si", "Ge", "Sn"}:
        others = [_simple("diamond", 3.567)] if element == "C" else [others[0]]
        if element != "C":
            tetragonal = (4 * volume * 0.76 / 0.546) ** (1 / 3)
            others.append(_simple("betasn", tetragonal, 0.546 * tetragonal))
    elif element in {"B", "P", "S", "As", "Sb", "Bi", "Se", "Te"}:
        others = [_simple("sc", volume ** (1 / 3))]
        if element in {"P", "As"}:
            others += [ground_states()["As" if element == "P" else "P"]]
        if element == "S":
            others += [ground_states()["Se"]]
    return [ground, *(c for c in others if c.label != ground.label)]


def _close_packed(kind: str, volume: float, *, layers: int) -> ElementalCrystal:
    """Ideal c/a at ``volume`` Å^3 per atom."""
    a = float((np.sqrt(2) * volume) ** (1 / 3))
    return _simple(kind, a, float(layers * a * np.sqrt(2 / 3)))
