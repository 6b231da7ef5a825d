"""Writing structures: CIF, POSCAR, extended XYZ, JSON, and zip files of these.

Files hold full double precision. Left-handed cells are written as the same crystal in a
right-handed cell (all vectors and coordinates inverted): VASP stops on left-handed ones and CIF
has no way to say it. CIF and POSCAR have no place for (collinear) magnetic moments and POSCAR
none for charges; extended XYZ and JSON keep both.
"""

import io
import json
import os
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from nanoos.core.errors import InvalidInputError
from nanoos.structures.structure import Structure

MEDIA_TYPES: Final = {
    "cif": "chemical/x-cif",
    "poscar": "text/plain",
    "extxyz": "chemical/x-xyz",
    "json": "application/json",
    "zip": "application/zip",
}
"""Formats that can be written, with the media type each is served as."""

_SUFFIXES: Final = {
    "cif": ".cif",
    "poscar": ".vasp",
    "extxyz": ".extxyz",
    "json": ".json",
    "zip": ".zip",
}
_FORMAT_OF_SUFFIX: Final = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".json": "json",
    ".zip": "zip",
}
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""Time of zip members: the same structures give the same bytes."""


class Export(NamedTuple):
    """A file ready to be sent: content, media type, suggested name."""

    data: bytes
    media_type: str
    filename: str


def export_bytes(
    structures: Sequence[Structure],
    format: str,  # noqa: A002 - the name of the option everywhere else
    *,
    names: Sequence[str] | None = None,
    inner_format: str = "cif",
) -> Export:
    """Structures as the content of one file.

    Args:
        structures: At least one; exactly one for ``poscar``.
        format: ``cif``, ``poscar``, ``extxyz``, ``json`` or ``zip``.
        names: A name for each structure (CIF data name, extxyz ``id``, file name in a zip);
            default are labels, then formulas.
        inner_format: Format of the files in a zip.

    Raises:
        InvalidInputError: unknown format, no structures, names that do not fit, or several
            structures for a format that holds one.
    """
    kind = _known_format(format)
    items = list(structures)
    if not items:
        raise InvalidInputError("There are no structures to write.", hint="Choose some.")
    if names is not None and len(names) != len(items):
        raise InvalidInputError(f"{len(names)} names for {len(items)} structures.")
    given = list(names) if names is not None else [s.label or s.formula for s in items]
    pairs = list(zip([s.right_handed() for s in items], given, strict=True))
    if kind == "zip":
        data = _zip_bytes(pairs, _known_format(inner_format))
    else:
        data = _text(pairs, kind).encode()
    stem = file_stem(given[0]) if len(items) == 1 else "structures"
    return Export(data, MEDIA_TYPES[kind], stem + _SUFFIXES[kind])


def write_structures(
    structures: Iterable[Structure],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the name of the option everywhere else
    names: Sequence[str] | None = None,
    inner_format: str = "cif",
) -> Path:
    """Write a file in one step: it is there complete, or not at all.

    Args:
        structures: At least one.
        path: Where; an existing file is replaced.
        format: As in :func:`export_bytes`; by default what the name ends with.
        names: As in :func:`export_bytes`.
        inner_format: As in :func:`export_bytes`.

    Returns:
        The path written.

    Raises:
        InvalidInputError: as in :func:`export_bytes`, or a name that shows no format.
    """
    target = Path(path)
    kind = format or _FORMAT_OF_SUFFIX.get(target.suffix.lower())
    if kind is None and target.name.upper().startswith(("POSCAR", "CONTCAR")):
        kind = "poscar"
    if kind is None:
        raise InvalidInputError(
            f"The name {target.name} does not say which format to write.",
            hint=f"Give a format: {', '.join(MEDIA_TYPES)}.",
        )
    export = export_bytes(list(structures), kind, names=names, inner_format=inner_format)
    write_atomically(target, export.data)
    return target


def write_atomically(target: Path, data: bytes) -> None:
    """Write beside the target, then rename: a reader never sees half a file.

    Raises:
        OSError: the folder is missing or not writable; nothing is left behind.
    """
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes private files; an export has the permissions of any other new file
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def file_stem(name: str) -> str:
    """A name that is safe as a file name on every system."""
    stem = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("._")
    return stem[:80] or "structure"


def _known_format(name: str) -> str:
    if name not in MEDIA_TYPES:
        raise InvalidInputError(
            f"Structures cannot be written as {name!r}.",
            hint=f"Known formats: {', '.join(MEDIA_TYPES)}.",
        )
    return name


Named = tuple[Structure, str]


def _text(pairs: Sequence[Named], kind: str) -> str:
    if kind == "json":
        documents = [{"id": name, **structure.as_dict()} for structure, name in pairs]
        return json.dumps(documents if len(documents) > 1 else documents[0], indent=1) + "\n"
    if kind == "poscar" and len(pairs) > 1:
        raise InvalidInputError(
            "A POSCAR holds one structure.", hint="Write extxyz, or a zip of POSCAR files."
        )
    if kind not in _WRITERS:
        raise InvalidInputError(f"A zip cannot hold {kind} files.", hint="Use cif or poscar.")
    return "".join(_WRITERS[kind](structure, name) for structure, name in pairs)


def _zip_bytes(pairs: Sequence[Named], inner: str) -> bytes:
    buffer = io.BytesIO()
    used: Counter[str] = Counter()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for structure, name in pairs:
            stem = file_stem(name)
            # names that differ only in case would overwrite each other on some systems
            used[stem.lower()] += 1
            count = used[stem.lower()]
            while count > 1 and used[f"{stem}-{count}".lower()]:
                count += 1
            if count > 1:
                stem = f"{stem}-{count}"
                used[stem.lower()] += 1
            info = zipfile.ZipInfo(stem + _SUFFIXES[inner], _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, _text([(structure, name)], inner))
    return buffer.getvalue()


# -- formats -----------------------------------------------------------------------------------


def _row(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _one_line(name: str) -> str:
    return " ".join(name.split()) or "structure"


def _cif(structure: Structure, name: str) -> str:
    """A P1 block; formal charges as oxidation numbers."""
    kinds = _cif_kinds(structure)
    data_name = re.sub(r"[^\x21-\x7e]+", "_", name)[:70] or "structure"
    a, b, c = structure.lengths
    alpha, beta, gamma = structure.angles
    lines = [
        f"data_{data_name}",
        f"_chemical_formula_structural '{structure.formula}'",
        *(f"_cell_length_{key} {value!r}" for key, value in zip("abc", (a, b, c), strict=True)),
        f"_cell_angle_alpha {alpha!r}",
        f"_cell_angle_beta {beta!r}",
        f"_cell_angle_gamma {gamma!r}",
        f"_cell_volume {structure.volume!r}",
        "_space_group_name_H-M_alt 'P 1'",
        "_space_group_IT_number 1",
        "loop_",
        "_space_group_symop_operation_xyz",
        "'x, y, z'",
    ]
    if structure.charges is not None:
        lines += ["loop_", "_atom_type_symbol", "_atom_type_oxidation_number"]
        charge_of = dict(zip(kinds, structure.charges, strict=True))
        lines += [f"{kind} {charge!r}" for kind, charge in charge_of.items()]
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_fract_{axis}" for axis in "xyz"] + ["_atom_site_occupancy"]
    rows = zip(structure.species, kinds, structure.frac_coords, strict=True)
    lines += [
        f"{symbol}{number} {kind} {_row(xyz)} 1"
        for number, (symbol, kind, xyz) in enumerate(rows, start=1)
    ]
    return "\n".join(lines) + "\n\n"


def _cif_kinds(structure: Structure) -> list[str]:
    """A type symbol for each site: one for each element and charge."""
    if structure.charges is None:
        return list(structure.species)
    signs = zip(structure.species, structure.charges, strict=True)
    return [f"{symbol}{abs(charge):g}{'-' if charge < 0 else '+'}" for symbol, charge in signs]


def _poscar(structure: Structure, name: str) -> str:
    """VASP 5 format; sites keep their order, so an element may occur twice in the symbol line."""
    runs: list[tuple[str, int]] = []
    for symbol in structure.species:
        if runs and runs[-1][0] == symbol:
            runs[-1] = (symbol, runs[-1][1] + 1)
        else:
            runs.append((symbol, 1))
    lines = [
        _one_line(name),
        "1.0",
        *(_row(vector) for vector in structure.lattice),
        " ".join(symbol for symbol, _ in runs),
        " ".join(str(count) for _, count in runs),
        "Direct",
        *(_row(xyz) for xyz in structure.frac_coords),
    ]
    return "\n".join(lines) + "\n"


def _extxyz(structure: Structure, name: str) -> str:
    properties = "species:S:1:pos:R:3"
    columns: list[tuple[float, ...]] = [tuple(xyz) for xyz in structure.cart_coords]
    for column, values in (
        ("initial_charges", structure.charges),
        ("initial_magmoms", structure.spins),
    ):
        if values is not None:
            properties += f":{column}:R:1"
            columns = [(*row, value) for row, value in zip(columns, values, strict=True)]
    escaped = _one_line(name).replace("\\", "\\\\").replace('"', '\\"')
    comment = (
        f'Lattice="{_row(structure.lattice.ravel())}" Properties={properties} '
        f'id="{escaped}" pbc="T T T"'
    )
    rows = zip(structure.species, columns, strict=True)
    return "\n".join(
        [str(structure.n_sites), comment, *(f"{symbol} {_row(row)}" for symbol, row in rows), ""]
    )


_WRITERS: Final[dict[str, Callable[[Structure, str], str]]] = {
    "cif": _cif,
    "poscar": _poscar,
    "extxyz": _extxyz,
}
