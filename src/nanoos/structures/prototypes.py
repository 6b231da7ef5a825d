"""Crystal prototypes as data: which element goes where, in a cell whose length is still free.

Every prototype is a primitive cell in units of its lattice constant ``a``: the vectors, and for
each site its role and fractional coordinates. Ratios and free coordinates are those of the
compound that names the prototype. Ref: AFLOW prototype library, DOI 10.1016/j.commatsci.2017.01.017.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from types import MappingProxyType
from typing import Final, Literal

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

_SC: Final[Matrix] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_FCC: Final[Matrix] = ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))


def _hexagonal(c_over_a: float) -> Matrix:
    return ((1, 0, 0), (-0.5, sqrt(3) / 2, 0), (0, 0, c_over_a))


def _tetragonal(c_over_a: float) -> Matrix:
    return ((1, 0, 0), (0, 1, 0), (0, 0, c_over_a))


def _body_centred(c_over_a: float) -> Matrix:
    h = c_over_a / 2
    return ((-0.5, 0.5, h), (0.5, -0.5, h), (0.5, 0.5, -h))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prototype:
    """A crystal structure type with the elements left open.

    Attributes:
        name: Key in :data:`PROTOTYPES`.
        title: Strukturbericht or common name with the compound that names it.
        space_group: International number of every structure built from it whose roles are
            filled with different elements.
        lattice: Primitive vectors (rows) in units of ``a``.
        sites: (role, fractional coordinates) for each site.
        contacts: Pairs of roles whose shortest distance is a bond; they set ``a``.
        combine: ``max``: the contact that needs the largest cell sets ``a``; ``mean``: their mean.
        radii: Which tabulated radii are added for a contact: ``atomic`` (Slater), ``metallic``
            or ``mixed``, their mean.
        volume_factor: Correction to the cell volume so obtained. Median over the crystals of
            this type in the Materials Project (PBE), DOI 10.1063/1.4812323.
        ionic: Charge neutrality is a sensible requirement.
        ionic_volume_factor: The same correction where Shannon radii are used instead; None where
            they describe this type worse than ``radii``.
        equivalent: Groups of roles that may be exchanged and give the same crystal.
    """

    name: str
    title: str
    space_group: int
    lattice: Matrix
    sites: tuple[tuple[str, Vector], ...]
    contacts: tuple[tuple[str, str], ...]
    combine: Literal["max", "mean"] = "mean"
    radii: Literal["atomic", "metallic", "mixed"] = "atomic"
    volume_factor: float = 1.0
    ionic: bool = False
    ionic_volume_factor: float | None = None
    equivalent: tuple[tuple[str, ...], ...] = field(default=())

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles in order of first appearance."""
        return tuple(dict.fromkeys(role for role, _ in self.sites))

    @property
    def counts(self) -> dict[str, int]:
        """Role to number of sites in the primitive cell."""
        return {role: sum(r == role for r, _ in self.sites) for role in self.roles}


Q: Final = 0.25
T: Final = 1 / 3
_ORIGIN: Final[Vector] = (0, 0, 0)
_CENTRE: Final[Vector] = (0.5, 0.5, 0.5)
_QUARTER: Final[Vector] = (Q, Q, Q)
_THREE_QUARTERS: Final[Vector] = (0.75, 0.75, 0.75)
_EDGES: Final[tuple[Vector, ...]] = ((0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5))
_FACES: Final[tuple[Vector, ...]] = ((0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))
# 16c/16d and 8a positions of Fd-3m (origin choice 2) in the primitive cell
_KAGOME: Final[tuple[Vector, ...]] = (_CENTRE, (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))
_DIAMOND: Final[tuple[Vector, ...]] = ((0.125, 0.125, 0.125), (0.875, 0.875, 0.875))


def _all(role: str, *positions: Vector) -> tuple[tuple[str, Vector], ...]:
    return tuple((role, position) for position in positions)


def _spinel_anions(u: float) -> tuple[Vector, ...]:
    v = 0.5 - 3 * u
    first = ((u, u, u), (u, u, v), (u, v, u), (v, u, u))
    return first + tuple((-x, -y, -z) for x, y, z in first)


def _elpasolite_anions(x: float) -> tuple[Vector, ...]:
    return (
        (-x, x, x),
        (x, -x, -x),
        (x, -x, x),
        (-x, x, -x),
        (x, x, -x),
        (-x, -x, x),
    )


def _pyrite_anions(u: float) -> tuple[Vector, ...]:
    first = (
        (u, u, u),
        (0.5 - u, -u, 0.5 + u),
        (-u, 0.5 + u, 0.5 - u),
        (0.5 + u, 0.5 - u, -u),
    )
    return first + tuple((-x, -y, -z) for x, y, z in first)


def _rutile_anions(u: float) -> tuple[Vector, ...]:
    return (u, u, 0), (-u, -u, 0), (0.5 + u, 0.5 - u, 0.5), (0.5 - u, 0.5 + u, 0.5)


_CHALCOPYRITE_ANIONS: Final[tuple[Vector, ...]] = (
    # (u, 1/4, 1/8) and its images of I-42d with u = 1/4, in the vectors of _body_centred
    (0.375, 0.375, 0.5),
    (0.875, 0.875, 0.5),
    (0.125, 0.625, 0.0),
    (0.625, 0.125, 0.0),
)

_ALL: Final[tuple[Prototype, ...]] = (
    Prototype(
        name="rocksalt",
        title="B1, NaCl",
        space_group=225,
        lattice=_FCC,
        sites=(("A", _ORIGIN), ("X", _CENTRE)),
        contacts=(("A", "X"),),
        volume_factor=1.04,
        ionic=True,
        ionic_volume_factor=1.02,
        equivalent=(("A", "X"),),
    ),
    Prototype(
        name="zincblende",
        title="B3, ZnS",
        space_group=216,
        lattice=_FCC,
        sites=(("A", _ORIGIN), ("X", _QUARTER)),
        contacts=(("A", "X"),),
        radii="mixed",
        volume_factor=0.95,
        ionic=True,
        equivalent=(("A", "X"),),
    ),
    Prototype(
        name="wurtzite",
        title="B4, ZnO",
        space_group=186,
        lattice=_hexagonal(sqrt(8 / 3)),
        sites=_all("A", (T, 2 * T, 0), (2 * T, T, 0.5))
        + _all("X", (T, 2 * T, 0.375), (2 * T, T, 0.875)),
        contacts=(("A", "X"),),
        volume_factor=0.99,
        ionic=True,
        equivalent=(("A", "X"),),
    ),
    Prototype(
        name="cscl",
        title="B2, CsCl",
        space_group=221,
        lattice=_SC,
        sites=(("A", _ORIGIN), ("X", _CENTRE)),
        contacts=(("A", "X"),),
        radii="mixed",
        volume_factor=0.94,
        ionic=True,
        ionic_volume_factor=1.16,
        equivalent=(("A", "X"),),
    ),
    Prototype(
        name="nias",
        title="B8_1, NiAs",
        space_group=194,
        lattice=_hexagonal(1.45),
        sites=_all("A", _ORIGIN, (0, 0, 0.5)) + _all("X", (T, 2 * T, 0.25), (2 * T, T, 0.75)),
        contacts=(("A", "X"),),
        radii="mixed",
        volume_factor=1.05,
    ),
    Prototype(
        name="wc",
        title="B_h, hexagonal WC",
        space_group=187,
        lattice=_hexagonal(0.976),
        sites=(("A", _ORIGIN), ("X", (T, 2 * T, 0.5))),
        contacts=(("A", "X"),),
        radii="mixed",
        volume_factor=1.16,
        equivalent=(("A", "X"),),
    ),
    Prototype(
        name="fluorite",
        title="C1, CaF2: one A, two X",
        space_group=225,
        lattice=_FCC,
        sites=(("A", _ORIGIN), ("X", _QUARTER), ("X", _THREE_QUARTERS)),
        contacts=(("A", "X"),),
        volume_factor=1.06,
        ionic=True,
        ionic_volume_factor=1.05,
    ),
    Prototype(
        name="antifluorite",
        title="C1 with exchanged roles, Li2O: two A, one X",
        space_group=225,
        lattice=_FCC,
        sites=(("A", _QUARTER), ("A", _THREE_QUARTERS), ("X", _ORIGIN)),
        contacts=(("A", "X"),),
        volume_factor=1.06,
        ionic=True,
    ),
    Prototype(
        name="rutile",
        title="C4, TiO2",
        space_group=136,
        lattice=_tetragonal(0.644),
        sites=_all("A", _ORIGIN, _CENTRE) + _all("X", *_rutile_anions(0.305)),
        contacts=(("A", "X"),),
        volume_factor=1.03,
        ionic=True,
        ionic_volume_factor=0.94,
    ),
    Prototype(
        name="cdi2",
        title="C6, CdI2: layers",
        space_group=164,
        lattice=_hexagonal(1.615),
        sites=(("A", _ORIGIN), *_all("X", (T, 2 * T, 0.25), (2 * T, T, 0.75))),
        contacts=(("A", "X"),),
        volume_factor=0.97,
        ionic=True,
        ionic_volume_factor=0.95,
    ),
    Prototype(
        name="pyrite",
        title="C2, FeS2: X2 pairs",
        space_group=205,
        lattice=_SC,
        sites=_all("A", _ORIGIN, *_FACES) + _all("X", *_pyrite_anions(0.385)),
        contacts=(("A", "X"), ("X", "X")),
        combine="max",
        radii="mixed",
        volume_factor=1.02,
    ),
    Prototype(
        name="alb2",
        title="C32, AlB2",
        space_group=191,
        lattice=_hexagonal(1.08),
        sites=(("A", _ORIGIN), *_all("B", (T, 2 * T, 0.5), (2 * T, T, 0.5))),
        contacts=(("A", "B"), ("B", "B")),
        volume_factor=1.08,
    ),
    Prototype(
        name="mosi2",
        title="C11_b, MoSi2",
        space_group=139,
        lattice=_body_centred(2.45),
        sites=(("A", _ORIGIN), *_all("B", (T, T, 0), (2 * T, 2 * T, 0))),
        contacts=(("A", "B"),),
        radii="metallic",
        volume_factor=0.93,
    ),
    Prototype(
        name="laves",
        title="C15, MgCu2 (cubic Laves phase)",
        space_group=227,
        lattice=_FCC,
        sites=_all("A", *_DIAMOND) + _all("B", *_KAGOME),
        contacts=(("A", "A"), ("B", "B")),
        radii="metallic",
        volume_factor=0.89,
    ),
    Prototype(
        name="cacu5",
        title="D2_d, CaCu5",
        space_group=191,
        lattice=_hexagonal(0.805),
        sites=(
            ("A", _ORIGIN),
            *_all("B", (T, 2 * T, 0), (2 * T, T, 0)),
            *_all("B", (0.5, 0, 0.5), (0, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ),
        contacts=(("A", "B"), ("B", "B")),
        radii="metallic",
        volume_factor=0.89,
    ),
    Prototype(
        name="cu3au",
        title="L1_2, Cu3Au: one A, three B",
        space_group=221,
        lattice=_SC,
        sites=(("A", _ORIGIN), *_all("B", *_FACES)),
        contacts=(("A", "B"), ("B", "B")),
        combine="max",
        radii="metallic",
        volume_factor=0.92,
    ),
    Prototype(
        name="a15",
        title="A15, Cr3Si: one A, three B",
        space_group=223,
        lattice=_SC,
        sites=_all("A", _ORIGIN, _CENTRE)
        + _all("B", (Q, 0, 0.5), (0.75, 0, 0.5), (0.5, Q, 0), (0.5, 0.75, 0))
        + _all("B", (0, 0.5, Q), (0, 0.5, 0.75)),
        contacts=(("A", "B"), ("B", "B")),
        combine="max",
        radii="metallic",
        volume_factor=0.71,
    ),
    Prototype(
        name="reo3",
        title="D0_9, ReO3: perovskite without A",
        space_group=221,
        lattice=_SC,
        sites=(("B", _ORIGIN), *_all("X", *_EDGES)),
        contacts=(("B", "X"),),
        radii="mixed",
        volume_factor=0.97,
        ionic=True,
        ionic_volume_factor=0.94,
    ),
    Prototype(
        name="perovskite",
        title="E2_1, cubic perovskite SrTiO3",
        space_group=221,
        lattice=_SC,
        sites=(("A", _CENTRE), ("B", _ORIGIN), *_all("X", *_EDGES)),
        contacts=(("B", "X"), ("A", "X")),
        combine="max",
        radii="mixed",
        volume_factor=0.92,
        ionic=True,
        ionic_volume_factor=0.93,
    ),
    Prototype(
        name="antiperovskite",
        title="E2_1 with exchanged roles, Mn3GaN: A corner, B octahedron centre, three X",
        space_group=221,
        lattice=_SC,
        sites=(("A", _CENTRE), ("B", _ORIGIN), *_all("X", *_EDGES)),
        contacts=(("B", "X"), ("A", "X")),
        combine="max",
        radii="mixed",
        volume_factor=0.92,
    ),
    Prototype(
        name="double_perovskite",
        title="K2NaAlF6, elpasolite: A2 B C X6",
        space_group=225,
        lattice=_FCC,
        sites=(
            *_all("A", _QUARTER, _THREE_QUARTERS),
            ("B", _ORIGIN),
            ("C", _CENTRE),
            *_all("X", *_elpasolite_anions(0.25)),
        ),
        contacts=(("B", "X"), ("C", "X"), ("A", "X")),
        volume_factor=1.07,
        ionic=True,
        equivalent=(("B", "C"),),
    ),
    Prototype(
        name="spinel",
        title="H1_1, MgAl2O4: A tetrahedral, two B octahedral, four X",
        space_group=227,
        lattice=_FCC,
        sites=_all("A", *_DIAMOND) + _all("B", *_KAGOME) + _all("X", *_spinel_anions(0.2625)),
        contacts=(("A", "X"), ("B", "X")),
        volume_factor=1.02,
        ionic=True,
    ),
    Prototype(
        name="chalcopyrite",
        title="E1_1, CuFeS2: A B X2",
        space_group=122,
        lattice=_body_centred(2.0),
        sites=(
            *_all("A", _ORIGIN, (0.75, 0.25, 0.5)),
            *_all("B", (0.5, 0.5, 0), (0.25, 0.75, 0.5)),
            *_all("X", *_CHALCOPYRITE_ANIONS),
        ),
        contacts=(("A", "X"), ("B", "X")),
        radii="mixed",
        ionic=True,
        equivalent=(("A", "B"),),
    ),
    Prototype(
        name="half_heusler",
        title="C1_b, MgAgAs / TiNiSn: X in the tetrahedra, Y and Z as in rock salt",
        space_group=216,
        lattice=_FCC,
        sites=(("X", _QUARTER), ("Y", _CENTRE), ("Z", _ORIGIN)),
        contacts=(("X", "Y"), ("X", "Z")),
        radii="mixed",
        volume_factor=0.86,
        equivalent=(("Y", "Z"),),
    ),
    Prototype(
        name="full_heusler",
        title="L2_1, Cu2MnAl: X2 Y Z",
        space_group=225,
        lattice=_FCC,
        sites=(("X", _QUARTER), ("X", _THREE_QUARTERS), ("Y", _CENTRE), ("Z", _ORIGIN)),
        contacts=(("X", "Y"), ("X", "Z")),
        radii="mixed",
        volume_factor=0.89,
        equivalent=(("Y", "Z"),),
    ),
    Prototype(
        name="inverse_heusler",
        title="X_A, Hg2CuTi: X on two unlike sites, Y, Z",
        space_group=216,
        lattice=_FCC,
        sites=(("X", _ORIGIN), ("X", _QUARTER), ("Y", _CENTRE), ("Z", _THREE_QUARTERS)),
        contacts=(("X", "Y"), ("X", "Z"), ("X", "X")),
        radii="mixed",
        volume_factor=0.9,
    ),
)

PROTOTYPES: Final[Mapping[str, Prototype]] = MappingProxyType({p.name: p for p in _ALL})
"""Every known prototype by name."""
