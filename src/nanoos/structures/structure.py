"""The structure of a crystal as a frozen value."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.elements import ATOMIC_NUMBERS, SYMBOLS

FloatArray = npt.NDArray[np.float64]

MAX_SITES = 20_000
"""Structures with more sites than this are refused: nothing in the platform can use them."""

MIN_DISTANCE_A = 0.4
"""Two atoms nearer than this (Å) overlap; the shortest bond in nature, H-H, is 0.74 Å."""

_HASH_DECIMALS = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """A periodic arrangement of atoms; immutable, hashable, comparable by content.

    Attributes:
        lattice: (3, 3), rows are the lattice vectors in Å.
        species: Element symbols, one for each site.
        frac_coords: (n_sites, 3), fractional, as given (not wrapped).
        charges: Optional formal charge for each site, in units of e.
        spins: Optional magnetic moment for each site, in Bohr magnetons.
        label: A name for people; no part of the identity.
    """

    lattice: FloatArray
    species: tuple[str, ...]
    frac_coords: FloatArray
    charges: tuple[float, ...] | None = None
    spins: tuple[float, ...] | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        lattice = np.array(self.lattice, dtype=np.float64)
        coords = np.array(self.frac_coords, dtype=np.float64)
        if lattice.shape != (3, 3):
            raise StructureRefusedError(
                f"The lattice has shape {lattice.shape}, expected (3, 3).",
                hint="Give three lattice vectors as rows, in Å.",
                code="invalid_lattice",
            )
        coords = coords.reshape(-1, 3) if coords.size % 3 == 0 else coords
        if coords.ndim != 2 or coords.shape != (len(self.species), 3):  # noqa: PLR2004
            raise StructureRefusedError(
                f"{len(self.species)} species but coordinates of shape {coords.shape}.",
                hint="Give three fractional coordinates for each site.",
                code="invalid_sites",
            )
        lattice.flags.writeable = False
        coords.flags.writeable = False
        object.__setattr__(self, "lattice", lattice)
        object.__setattr__(self, "frac_coords", coords)
        object.__setattr__(self, "species", tuple(self.species))
        for name in ("charges", "spins"):
            values = getattr(self, name)
            if values is not None:
                if len(values) != len(self.species):
                    raise StructureRefusedError(
                        f"{len(values)} {name} for {len(self.species)} sites.",
                        hint=f"Give {name} for each site or none.",
                        code="invalid_sites",
                    )
                object.__setattr__(self, name, tuple(float(v) for v in values))

    # -- identity -----------------------------------------------------------------------

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of lattice, species, coordinates, charges and spins, rounded to 1e-6.

        The same file read twice gives the same hash; the label is not part of it.
        """
        digest = hashlib.sha256()
        digest.update(",".join(self.species).encode())
        for array in (self.lattice, np.mod(np.round(self.frac_coords, _HASH_DECIMALS), 1.0)):
            rounded = np.round(array, _HASH_DECIMALS) + 0.0
            digest.update(np.ascontiguousarray(rounded).tobytes())
        for name in ("charges", "spins"):
            values = getattr(self, name)
            if values is not None:
                digest.update(name.encode())
                digest.update((np.round(np.array(values), _HASH_DECIMALS) + 0.0).tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.content_hash == other.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def __repr__(self) -> str:
        a, b, c = self.lengths
        return f"Structure({self.formula}, {self.n_sites} sites, a={a:.3f} b={b:.3f} c={c:.3f} Å)"

    # -- derived ------------------------------------------------------------------------

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.species)

    @property
    def volume(self) -> float:
        """Cell volume, Å^3, positive for either handedness of the vectors."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def is_left_handed(self) -> bool:
        """Whether the lattice vectors are left-handed (negative triple product)."""
        return float(np.linalg.det(self.lattice)) < 0

    @property
    def lengths(self) -> tuple[float, float, float]:
        """Lengths of the lattice vectors, Å."""
        a, b, c = np.linalg.norm(self.lattice, axis=1)
        return float(a), float(b), float(c)

    @property
    def angles(self) -> tuple[float, float, float]:
        """Angles alpha (b, c), beta (a, c), gamma (a, b), degrees."""
        unit = self.lattice / np.linalg.norm(self.lattice, axis=1)[:, None]
        cosines = [unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]
        alpha, beta, gamma = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
        return float(alpha), float(beta), float(gamma)

    @property
    def cart_coords(self) -> FloatArray:
        """(n_sites, 3), Cartesian coordinates, Å."""
        return np.asarray(self.frac_coords @ self.lattice)

    @property
    def atomic_numbers(self) -> npt.NDArray[np.int64]:
        """(n_sites,), atomic numbers."""
        return np.array([ATOMIC_NUMBERS[s] for s in self.species], dtype=np.int64)

    @property
    def elements(self) -> tuple[str, ...]:
        """The distinct elements, by atomic number."""
        return tuple(sorted(set(self.species), key=ATOMIC_NUMBERS.__getitem__))

    @property
    def composition(self) -> dict[str, int]:
        """Element to number of atoms in the cell."""
        return dict(Counter(self.species))

    @cached_property
    def formula(self) -> str:
        """Reduced formula, elements ordered by electronegativity (``MgO``, ``SrTiO3``)."""
        return reduced_formula(self.composition)

    @property
    def density(self) -> float:
        """Mass density, g/cm^3."""
        from nanoos.structures.elements import ATOMIC_MASSES

        mass = sum(ATOMIC_MASSES[s] * n for s, n in self.composition.items())
        return mass * 1.66053906660 / self.volume

    # -- checks -------------------------------------------------------------------------

    def validated(self) -> Self:
        """This structure, if it is physically possible.

        Raises:
            StructureRefusedError: with code ``empty_structure``, ``too_many_sites``,
                ``not_finite``, ``zero_volume``, ``unknown_element`` or ``overlapping_atoms``.
        """
        from nanoos.structures.checks import check_structure

        check_structure(self)
        return self

    # -- new values from this one ---------------------------------------------------------

    def with_lattice(self, lattice: npt.ArrayLike) -> "Structure":
        """The same fractional coordinates in another cell ((3, 3), Å)."""
        return replace(self, lattice=np.asarray(lattice, dtype=np.float64))

    def with_label(self, label: str | None) -> "Structure":
        """The same structure under another name."""
        return replace(self, label=label)

    def right_handed(self) -> "Structure":
        """The same crystal in a right-handed cell: all vectors inverted where they are not."""
        if not self.is_left_handed:
            return self
        return replace(self, lattice=-self.lattice, frac_coords=-self.frac_coords)

    def scaled_to_volume(self, volume: float) -> "Structure":
        """The same shape of cell with another volume (Å^3)."""
        return self.with_lattice(self.lattice * (volume / self.volume) ** (1 / 3))

    # -- conversions ----------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """JSON types: lattice (Å), species, frac_coords and, where given, charges, spins."""
        data: dict[str, Any] = {
            "lattice": self.lattice.tolist(),
            "species": list(self.species),
            "frac_coords": self.frac_coords.tolist(),
        }
        for name in ("charges", "spins"):
            values = getattr(self, name)
            if values is not None:
                data[name] = list(values)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Structure":
        """The inverse of :meth:`as_dict`; ``atomic_numbers`` is accepted for ``species``.

        Raises:
            StructureRefusedError: a key is missing or does not fit the others.
        """
        try:
            species: Sequence[str] = data.get("species") or [
                SYMBOLS[int(z)] if z > 0 else "X" for z in data["atomic_numbers"]
            ]
            return cls(
                lattice=np.array(data["lattice"], dtype=np.float64),
                species=tuple(str(s) for s in species),
                frac_coords=np.array(data["frac_coords"], dtype=np.float64),
                charges=tuple(data["charges"]) if data.get("charges") else None,
                spins=tuple(data["spins"]) if data.get("spins") else None,
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise StructureRefusedError(
                f"This is not a structure: {type(error).__name__} at {error}.",
                hint="Expected keys: lattice (3x3, Å), species, frac_coords.",
                code="invalid_json",
            ) from error

    def to_ase(self) -> Any:
        """An ``ase.Atoms`` with the same cell, periodic in all directions."""
        from nanoos.structures.conversions import to_ase

        return to_ase(self)

    @classmethod
    def from_ase(cls, atoms: Any) -> "Structure":
        """From an ``ase.Atoms`` (initial charges and magnetic moments are kept)."""
        from nanoos.structures.conversions import from_ase

        return from_ase(atoms)

    def to_pymatgen(self) -> Any:
        """A ``pymatgen.core.Structure``."""
        from nanoos.structures.conversions import to_pymatgen

        return to_pymatgen(self)

    @classmethod
    def from_pymatgen(cls, structure: Any) -> "Structure":
        """From an ordered ``pymatgen.core.Structure``."""
        from nanoos.structures.conversions import from_pymatgen

        return from_pymatgen(structure)


def reduced_formula(composition: Mapping[str, int]) -> str:
    """Reduced formula of element counts, ordered by Pauling electronegativity, then symbol."""
    from nanoos.structures.elements import ELECTRONEGATIVITY

    divisor = gcd(*composition.values()) if composition else 1
    if set(composition) in ({"H"}, {"N"}, {"O"}, {"F"}, {"Cl"}):
        divisor = max(1, divisor // 2) if divisor % 2 == 0 else divisor
    ordered = sorted(composition, key=lambda s: (ELECTRONEGATIVITY.get(s, 10.0), s))
    parts = ((s, composition[s] // divisor) for s in ordered)
    return "".join(s if n == 1 else f"{s}{n}" for s, n in parts)
