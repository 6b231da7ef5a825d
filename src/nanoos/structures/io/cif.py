"""CIF: cell, symmetry operations and sites to a structure, nothing rounded or merged silently."""

import re
from collections.abc import Iterator

import numpy as np

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.checks import check_n_sites, unknown_element
from nanoos.structures.conversions import OCCUPANCY_TOLERANCE, partial_occupancy
from nanoos.structures.elements import ATOMIC_NUMBERS
from nanoos.structures.io.cif_symmetry import Operations, block_operations
from nanoos.structures.io.cif_syntax import (
    Block,
    Loop,
    count_atom_rows,
    parse_block,
    split_blocks,
)
from nanoos.structures.io.outcome import Entry, ReadLimits
from nanoos.structures.io.text import malformed, missing_lattice, number, shown
from nanoos.structures.structure import FloatArray, Structure

SAME_SITE_A = 0.05
"""Images of one site nearer than this (Å) are one atom on a special position."""

_LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
_ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
_FRACT = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_SYMBOL = "_atom_site_type_symbol"
_LABEL = "_atom_site_label"
_TYPE = re.compile(r"([A-Za-z]{1,2})(?:(\d*\.?\d*)([+-])(\d*))?$")
_LEADING_LETTERS = re.compile(r"[A-Za-z]+")


def cif_entries(text: str, limits: ReadLimits) -> Iterator[Entry]:
    """One entry for each data block with a structure; ``source_id`` is the data name.

    Blocks without cell and atoms (journal data) are skipped when another block has them.
    """
    blocks = list(split_blocks(text))
    with_atoms = [b for b in blocks if any("_atom_site" in line.lower() for line in b[2])]
    for name, line, lines in with_atoms or blocks:
        yield Entry(
            build=lambda name=name, line=line, lines=lines: _block_structure(  # type: ignore[misc]
                name, line, lines, limits
            ),
            source_id=name or None,
        )


def _block_structure(name: str, line: int, lines: list[str], limits: ReadLimits) -> Structure:
    n_rows = count_atom_rows(lines)
    if n_rows > limits.max_sites:
        check_n_sites(n_rows, max_sites=limits.max_sites)
    block = parse_block(name, line, lines)
    lattice = _lattice(block)
    sites = _site_loop(block)
    check_n_sites(sites.n_rows, max_sites=limits.max_sites)
    species, charges = _species(sites, block)
    _refuse_disorder(sites, species)
    _refuse_magnetic(block)
    coords = _coordinates(sites)
    owners, expanded = _expand(coords, lattice, block_operations(block, lattice), limits)
    return Structure(
        lattice=lattice,
        species=tuple(species[i] for i in owners),
        frac_coords=expanded,
        charges=None if charges is None else tuple(charges[i] for i in owners),
    )


# -- cell ----------------------------------------------------------------------------------


def _cell_number(block: Block, tag: str) -> float:
    found = block.value(tag)
    if found is None:
        raise missing_lattice(
            f"The block {shown(block.name)} (line {block.line}) has no {tag}.",
            "A CIF needs _cell_length_a, _b, _c and _cell_angle_alpha, _beta, _gamma.",
        )
    return number(without_uncertainty(found[0]), line=found[1], what=tag)


def without_uncertainty(token: str) -> str:
    """``5.431(2)`` as ``5.431``."""
    return token.partition("(")[0]


def _lattice(block: Block) -> FloatArray:
    lengths = [_cell_number(block, tag) for tag in _LENGTHS]
    angles = [_cell_number(block, tag) for tag in _ANGLES]
    given = block.value("_cell_volume")
    negative = next((v for v in lengths if v < 0), None)
    if given is not None and negative is None:
        volume = number(without_uncertainty(given[0]), line=given[1], what="_cell_volume")
        negative = volume if volume < 0 else None
    if negative is not None:
        raise StructureRefusedError(
            f"The block {shown(block.name)} (line {block.line}) has a negative cell length or "
            f"volume: {negative:g}.",
            hint="Lengths are in Å and positive.",
            code="negative_volume",
        )
    # exact zeros for right angles keep cubic cells cubic in floating point
    cosines = [0.0 if angle == 90 else float(np.cos(np.radians(angle))) for angle in angles]  # noqa: PLR2004
    ca, cb, cg = cosines
    sg = 1.0 if cg == 0 else float(np.sqrt(max(0.0, 1 - cg * cg)))
    spanned = 1 - ca * ca - cb * cb - cg * cg + 2 * ca * cb * cg
    if min(lengths) == 0 or spanned <= 0 or sg == 0 or not all(0 < a < 180 for a in angles):  # noqa: PLR2004
        raise StructureRefusedError(
            f"The cell of block {shown(block.name)} (line {block.line}) has no volume: lengths "
            f"{lengths} Å, angles {angles}°.",
            hint="Check the cell; each angle must be smaller than the sum of the other two.",
            code="zero_volume",
        )
    a, b, c = lengths
    cy = (ca - cb * cg) / sg
    return np.array(
        [[a, 0, 0], [b * cg, b * sg, 0], [c * cb, c * cy, c * float(np.sqrt(spanned)) / sg]]
    )


# -- sites ---------------------------------------------------------------------------------


def _site_loop(block: Block) -> Loop:
    """The atom-site table; a single site may stand there as plain tags."""
    found = block.loop_with(*_FRACT)
    if found is not None:
        return found[0]
    tags = [tag for tag in block.values if tag.startswith("_atom_site_")]
    if _FRACT[0] in tags:
        pairs = [block.values[tag] for tag in tags]
        return Loop(
            line=block.line,
            tags=tags,
            cells=[value for value, _ in pairs],
            lines=[line for _, line in pairs],
        )
    if block.loop_with("_atom_site_cartn_x") is not None:
        what = "gives Cartesian coordinates only"
    else:
        what = "has no atom sites with _atom_site_fract_x, _y, _z"
    raise StructureRefusedError(
        f"The block {shown(block.name)} (line {block.line}) {what}.",
        hint="Give fractional coordinates.",
        code="empty_structure",
    )


def _coordinates(sites: Loop) -> FloatArray:
    columns = []
    for tag in _FRACT:
        if tag not in sites.tags:
            raise malformed(
                f"the atom table has no column {tag}.",
                line=sites.line,
                hint="Give all three fractional coordinates.",
            )
        cells = sites.column(tag)
        for row, cell in enumerate(cells):
            if cell in {"?", "."}:
                raise malformed(
                    f"the site has no coordinate ({tag} is {cell!r}).",
                    line=sites.row_line(row),
                    hint="Give the coordinates or remove the site.",
                )
        columns.append(
            [
                number(without_uncertainty(cell), line=sites.row_line(row), what=tag)
                for row, cell in enumerate(cells)
            ]
        )
    return np.array(columns, dtype=np.float64).T


def _species(sites: Loop, block: Block) -> tuple[list[str], list[float] | None]:
    """Element of each row, and formal charges where all rows have one that is known."""
    by_symbol = _SYMBOL in sites.tags
    if not by_symbol and _LABEL not in sites.tags:
        raise malformed(
            "the atom table has neither _atom_site_type_symbol nor _atom_site_label.",
            line=sites.line,
            hint="Give the element of each site.",
        )
    cells = sites.column(_SYMBOL if by_symbol else _LABEL)
    labels = sites.column(_LABEL) if _LABEL in sites.tags else cells
    oxidation = _oxidation_numbers(block)
    species: list[str] = []
    charges: list[float | None] = []
    for row, cell in enumerate(cells):
        where = f"site {labels[row]} (line {sites.row_line(row)})"
        if by_symbol and cell not in {"?", "."}:
            element, charge = _from_type(cell, where)
        else:
            element, charge = _from_label(labels[row], where), None
        species.append(element)
        charges.append(oxidation.get(cell, charge))
    known = [charge for charge in charges if charge is not None]
    complete = len(known) == len(charges) and any(known)
    return species, known if complete else None


def _from_type(cell: str, where: str) -> tuple[str, float | None]:
    """``Fe3+`` as element and charge."""
    match = _TYPE.match(cell)
    symbol = match[1].capitalize() if match else cell
    if match is None or symbol not in ATOMIC_NUMBERS:
        raise unknown_element(symbol, where=where)
    if match[3] is None:
        return symbol, None
    size = match[2] or match[4] or "1"
    return symbol, float(size) if match[3] == "+" else -float(size)


def _from_label(label: str, where: str) -> str:
    """``Na1``, ``FE2`` or ``OW`` as the element they begin with."""
    match = _LEADING_LETTERS.match(label)
    letters = match[0] if match else label
    # a second capital may begin a word (OW, water) or be an old spelling (FE): the longer
    # symbol is meant where it exists, except for C, H, N and O, which organic labels begin with
    two = letters[:2].capitalize()
    one = letters[:1].upper()
    ambiguous = letters[1:2].isupper() and one in "CHNO"
    for candidate in (one, two) if ambiguous else (two, one):
        if candidate in ATOMIC_NUMBERS and (candidate == two or not letters[1:2].islower()):
            return candidate
    raise unknown_element(letters, where=where)


def _oxidation_numbers(block: Block) -> dict[str, float]:
    found = block.loop_with("_atom_type_oxidation_number")
    if found is None or "_atom_type_symbol" not in found[0].tags:
        return {}
    loop, tag = found
    pairs = zip(loop.column("_atom_type_symbol"), loop.column(tag), loop.lines, strict=False)
    return {
        symbol: number(without_uncertainty(cell), line=line, what=tag)
        for symbol, cell, line in pairs
        if cell not in {"?", "."}
    }


def _refuse_disorder(sites: Loop, species: list[str]) -> None:
    """Partial occupancy, hydrogens that are counted but not placed."""
    labels = sites.column(_LABEL) if _LABEL in sites.tags else species
    tag = "_atom_site_occupancy"
    for row, cell in enumerate(sites.column(tag) if tag in sites.tags else []):
        if cell in {"?", "."}:
            continue
        line = sites.row_line(row)
        occupancy = number(without_uncertainty(cell), line=line, what=tag)
        if abs(occupancy - 1) > OCCUPANCY_TOLERANCE:
            where = f"Site {labels[row]} (line {line})"
            raise partial_occupancy(species[row], occupancy, where=where)
    tag = "_atom_site_attached_hydrogens"
    for row, cell in enumerate(sites.column(tag) if tag in sites.tags else []):
        if cell not in {"?", ".", "0"}:
            raise StructureRefusedError(
                f"Site {labels[row]} (line {sites.row_line(row)}) has {cell} hydrogen atoms "
                "without coordinates.",
                hint="Add the hydrogen positions.",
                code="missing_atoms",
            )


def _refuse_magnetic(block: Block) -> None:
    if block.loop_with("_atom_site_moment_crystalaxis_x", "_atom_site_moment_cartn_x") is not None:
        raise StructureRefusedError(
            f"The block {shown(block.name)} is a magnetic CIF, whose moments are vectors.",
            hint="Use extended XYZ (initial_magmoms) or JSON (spins) for collinear moments.",
            code="noncollinear_spins",
        )


# -- symmetry ------------------------------------------------------------------------------


def _expand(
    coords: FloatArray, lattice: FloatArray, operations: Operations, limits: ReadLimits
) -> tuple[list[int], FloatArray]:
    """All sites of the cell: the row each comes from, and (n_sites, 3) coordinates."""
    rotations, translations = operations
    if len(rotations) == 1:
        return list(range(len(coords))), coords
    owners: list[int] = []
    found: list[FloatArray] = []
    for row, given in enumerate(coords):
        images = _orbit(given, lattice, rotations, translations)
        owners.extend([row] * len(images))
        found.append(images)
        if len(owners) > limits.max_sites:
            check_n_sites(len(owners), max_sites=limits.max_sites)
    return owners, np.concatenate(found)


def _orbit(
    given: FloatArray, lattice: FloatArray, rotations: FloatArray, translations: FloatArray
) -> FloatArray:
    """Distinct images of one site; on a special position it is first moved exactly there.

    Coordinates are rounded in files (0.3333), so the images under the operations that should
    leave the site in place differ a little: their mean is the special position.
    """
    images = rotations @ given + translations
    offsets = images - given
    offsets -= np.round(offsets)
    fixed = np.linalg.norm(offsets @ lattice, axis=1) < SAME_SITE_A
    exact = given + offsets[fixed].mean(axis=0) if fixed.any() else given
    images = rotations @ exact + translations
    images -= np.floor(images)
    # exact repetitions first: comparing all pairs is slow for the 192 operations of Fm-3m
    keys = np.round(images, 6) % 1.0
    images = images[np.sort(np.unique(keys, axis=0, return_index=True)[1])]
    between = images[:, None, :] - images[None, :, :]
    between -= np.round(between)
    same = np.linalg.norm(between @ lattice, axis=2) < SAME_SITE_A
    first_of_each = np.argmax(same, axis=1) == np.arange(len(images))
    return np.asarray(images[first_of_each], dtype=np.float64)
