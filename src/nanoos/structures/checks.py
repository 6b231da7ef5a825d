"""Is this structure physically possible? Every structure passes here before it is used."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.elements import ATOMIC_NUMBERS
from nanoos.structures.structure import MAX_SITES, MIN_DISTANCE_A, FloatArray, Structure

MIN_VOLUME_A3 = 0.1
"""A cell with less volume (Å^3) than this is flat; one hydrogen atom takes more at any pressure."""

MAX_LENGTH_A = 1e5
"""Longest lattice vector (Å) that is still a crystal and not a damaged number."""

MAX_FRACTIONAL = 1e6
"""Largest fractional coordinate; beyond it nothing is left of the position inside the cell."""

_FEW_PAIRS = 50_000
"""Up to so many pairs of a site and a point all distances are computed."""


def check_structure(structure: Structure) -> None:
    """Refuse what cannot be a crystal.

    Left-handed lattice vectors are allowed: they describe a crystal like any others.

    Args:
        structure: Any structure, however it was made.

    Raises:
        StructureRefusedError: with ``error_code`` ``empty_structure``, ``too_many_sites``,
            ``not_finite``, ``zero_volume``, ``unknown_element`` or ``overlapping_atoms``.
    """
    _check_size(structure)
    _check_numbers(structure)
    check_species(structure.species)
    _check_volume(structure.lattice)
    _check_distances(structure)


def check_n_sites(n_sites: int, *, max_sites: int = MAX_SITES) -> None:
    """Refuse a number of sites that is 0 or above the limit; cheap, so readers call it early.

    Raises:
        StructureRefusedError: ``empty_structure`` or ``too_many_sites``.
    """
    if n_sites < 1:
        raise StructureRefusedError(
            "The structure has no atoms.",
            hint="Give at least one site.",
            code="empty_structure",
        )
    if n_sites > max_sites:
        raise StructureRefusedError(
            f"The structure has {n_sites:,} sites; the limit is {max_sites:,}.",
            hint="Use the primitive cell or a smaller supercell.",
            details={"n_sites": n_sites, "max_sites": max_sites},
            code="too_many_sites",
        )


def check_species(species: tuple[str, ...]) -> None:
    """Refuse symbols that are not elements; the message names the first such site.

    Raises:
        StructureRefusedError: ``unknown_element``.
    """
    for index, symbol in enumerate(species):
        if symbol not in ATOMIC_NUMBERS:
            raise unknown_element(symbol, where=f"site {index + 1}")


def unknown_element(symbol: str, *, where: str) -> StructureRefusedError:
    """The refusal of a symbol that is not an element, with what to write instead."""
    if symbol in {"D", "T"}:
        name = {"D": "deuterium", "T": "tritium"}[symbol]
        hint = f"Isotopes are not distinguished: write H for {name}."
    elif symbol in {"X", "Xx", "Vac", "vacancy", "Q"}:
        hint = "Placeholder and vacancy sites cannot be simulated: remove them."
    else:
        hint = "Use the symbols of the periodic table, for example Na, Cl, Fe."
    return StructureRefusedError(
        f"{symbol[:40]!r} at {where} is not an element.",
        hint=hint,
        details={"symbol": symbol[:40], "where": where},
        code="unknown_element",
    )


def _check_size(structure: Structure) -> None:
    check_n_sites(structure.n_sites)


def _not_finite(what: str, hint: str) -> StructureRefusedError:
    return StructureRefusedError(what, hint=hint, code="not_finite")


def _check_numbers(structure: Structure) -> None:
    lattice, coords = structure.lattice, structure.frac_coords
    if not np.isfinite(lattice).all() or np.abs(lattice).max() > MAX_LENGTH_A:
        row = int(np.argmax((~np.isfinite(lattice) | (np.abs(lattice) > MAX_LENGTH_A)).any(axis=1)))
        raise _not_finite(
            f"Lattice vector {row + 1} is {lattice[row].tolist()}: not a finite length in Å.",
            f"Give three finite vectors, none longer than {MAX_LENGTH_A:g} Å.",
        )
    bad = (~np.isfinite(coords) | (np.abs(np.nan_to_num(coords)) > MAX_FRACTIONAL)).any(axis=1)
    if bad.any():
        site = int(np.argmax(bad))
        raise _not_finite(
            f"Site {site + 1} ({structure.species[site]}) has the coordinates "
            f"{coords[site].tolist()}: not usable numbers.",
            "The file is damaged or comes from a run that failed; give finite coordinates.",
        )
    for name in ("charges", "spins"):
        values = getattr(structure, name)
        if values is not None and not np.isfinite(values).all():
            site = int(np.argmin(np.isfinite(values)))
            raise _not_finite(
                f"Site {site + 1} ({structure.species[site]}) has {values[site]} in {name}.",
                f"Give finite {name} or none.",
            )


def _check_volume(lattice: FloatArray) -> None:
    lengths = np.linalg.norm(lattice, axis=1)
    volume = abs(float(np.linalg.det(lattice)))
    # the ratio to the box of the same lengths catches vectors that lie in one plane
    if volume < MIN_VOLUME_A3 or volume < 1e-6 * float(np.prod(lengths)):
        rounded = ", ".join(f"{length:.4g}" for length in lengths)
        raise StructureRefusedError(
            f"The cell has a volume of {volume:.3g} Å^3 (vectors of {rounded} Å): it is flat.",
            hint="Give three lattice vectors that span a cell; add vacuum to slabs and molecules.",
            details={"volume_a3": volume},
            code="zero_volume",
        )


def _check_distances(structure: Structure) -> None:
    found = nearest_pair(structure.lattice, structure.frac_coords, cutoff_a=MIN_DISTANCE_A)
    if found is None:
        return
    first, second, distance = found
    names = [f"{i + 1} ({structure.species[i]})" for i in (first, second)]
    if first == second:
        message = f"Site {names[0]} is {distance:.3f} Å from its own periodic image: the cell is too small."
        hint = "Check the unit of the lattice (Å) and the scaling factor."
    else:
        message = f"Sites {names[0]} and {names[1]} are {distance:.3f} Å apart."
        hint = (
            f"Atoms nearer than {MIN_DISTANCE_A} Å overlap: remove the double, or check whether "
            "coordinates are fractional or Cartesian."
        )
    raise StructureRefusedError(
        message,
        hint=hint,
        details={"sites": [first + 1, second + 1], "distance_a": distance},
        code="overlapping_atoms",
    )


def fractional_coords(positions: npt.ArrayLike, lattice: FloatArray) -> FloatArray:
    """Cartesian positions (n_sites, 3), Å, as fractional coordinates of the lattice.

    Raises:
        StructureRefusedError: ``zero_volume``: the vectors lie in one plane.
    """
    _check_volume(lattice)
    return np.asarray(np.asarray(positions) @ np.linalg.inv(lattice), dtype=np.float64)


def nearest_pair(
    lattice: FloatArray, frac_coords: FloatArray, *, cutoff_a: float
) -> tuple[int, int, float] | None:
    """The two nearest sites below a cutoff, periodic images counted.

    Args:
        lattice: (3, 3), rows in Å, with a volume.
        frac_coords: (n_sites, 3), fractional.
        cutoff_a: Only distances below this (Å) count.

    Returns:
        Indices of the two sites (equal: a site and its own image) and their distance in Å, or
        None where no two are that near.
    """
    cell, wrapped = _compact_cell(lattice, frac_coords, cutoff_a)
    # the tree below cannot split sites at one place and would be quadratic in their number
    order = np.lexsort(wrapped.T)
    repeated = (wrapped[order[1:]] == wrapped[order[:-1]]).all(axis=1)
    if repeated.any():
        at = int(np.argmax(repeated))
        first, second = sorted((int(order[at]), int(order[at + 1])))
        return first, second, 0.0
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    padding = cutoff_a / heights
    points, owners = _with_images(wrapped, padding)
    search = _all_compared if len(wrapped) * len(points) <= _FEW_PAIRS else _searched
    nearest, other, distance = search(wrapped @ cell, points @ cell, cutoff_a)
    if not distance < cutoff_a:
        return None
    first, second = sorted((nearest, int(owners[other])))
    return first, second, distance


def _all_compared(
    sites: FloatArray, points: FloatArray, _cutoff_a: float
) -> tuple[int, int, float]:
    """Site, other point and distance (Å) of the nearest two; the sites are the first points.

    For small cells: the search below loads a package that takes longer than any of them.
    """
    squares = ((points[None, :, :] - sites[:, None, :]) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    nearest, other = divmod(int(np.argmin(squares)), len(points))
    return nearest, other, float(np.sqrt(squares[nearest, other]))


def _searched(sites: FloatArray, points: FloatArray, cutoff_a: float) -> tuple[int, int, float]:
    """As :func:`_all_compared`; an infinite distance where none is below the cutoff."""
    from scipy.spatial import cKDTree

    below = float(np.nextafter(cutoff_a, 0))
    found: Any = cKDTree(points).query(sites, k=2, distance_upper_bound=below)
    distances, neighbours = found
    # the first neighbour is the site itself or, at distance 0, its double
    nearest = int(np.argmin(distances[:, 1]))
    own = neighbours[nearest]
    other = int(own[0]) if own[0] != nearest else int(own[1])
    return nearest, other if other < len(points) else nearest, float(distances[nearest, 1])


def _compact_cell(
    lattice: FloatArray, frac_coords: FloatArray, cutoff_a: float
) -> tuple[FloatArray, FloatArray]:
    """The same crystal in a cell that is not thinner than need be, sites wrapped into it.

    A very oblique cell has planes far nearer to each other than its shortest vector is long and
    would need many images.
    """
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    if heights.min() < 4 * cutoff_a:
        from ase.geometry import minkowski_reduce

        reduce_cell: Any = minkowski_reduce  # not annotated in ASE
        cell = np.asarray(reduce_cell(lattice)[0], dtype=np.float64)
        frac_coords = frac_coords @ lattice @ np.linalg.inv(cell)
    else:
        cell = lattice
    return cell, frac_coords - np.floor(frac_coords)


def _with_images(
    wrapped: FloatArray, padding: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Sites and those images that lie within ``padding`` (fractional) of the cell.

    Axis by axis: images along the second are made of the sites and their images along the first.
    """
    points, owners = wrapped, np.arange(len(wrapped))
    for axis, reach in enumerate(padding.tolist()):
        all_points, all_owners = [points], [owners]
        for steps in range(1, int(np.ceil(reach)) + 1):
            for shift in (steps, -steps):
                moved = points[:, axis] + shift
                near = np.flatnonzero((moved >= -reach) & (moved <= 1 + reach))
                if near.size:
                    images = points[near]
                    images[:, axis] = moved[near]
                    all_points.append(images)
                    all_owners.append(owners[near])
        points, owners = np.concatenate(all_points), np.concatenate(all_owners)
    return points, owners
