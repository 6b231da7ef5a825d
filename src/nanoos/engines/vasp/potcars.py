"""POTCARs: licensed files, found in a folder of the user's own and never kept with a run.

Folders as pymatgen and as VASP's own archives lay them out are understood: ``SET/Si/POTCAR`` and
``SET/POTCAR.Si``, packed with gzip or not, and ``Si/POTCAR`` where the folder is that of one set.
"""

import gzip
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanoos.core.errors import InvalidInputError, UnavailableError

FOLDER_HINT: Final = (
    "Set NANO_OS_VASP_POTCAR_DIR (or pymatgen's PMG_VASP_PSP_DIR) to the folder of your licensed "
    "POTCARs. Without them inputs are written all the same: nanoos simulate ... --write-input DIR."
)

_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "PBE": ("POT_GGA_PAW_PBE", "potpaw_PBE"),
    "PBE_52": ("POT_GGA_PAW_PBE_52", "POTPAW_PBE_52", "potpaw_PBE.52", "potpaw_PBE_52"),
    "PBE_54": ("POT_GGA_PAW_PBE_54", "POTPAW_PBE_54", "potpaw_PBE.54", "potpaw_PBE_54"),
    "PBE_64": ("POT_PAW_PBE_64", "POTPAW_PBE_64", "potpaw_PBE.64", "potpaw_PBE_64"),
}
"""Release to the names that its folder goes by."""
_OLD: Final = ("PBE", "PBE_52")
_NUMBER: Final = r"\s*=\s*([-+.\dEe]+)"

_folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Potcar:
    """What the header of a POTCAR says.

    Attributes:
        title: Name of its folder: ``Si``, ``Fe_pv``.
        titel: What it calls itself: ``PAW_PBE Si 05Jan2001``.
        enmax_ev: Cutoff that it suggests, eV.
        z_valence: Electrons that it leaves.
        sha256: Of the unpacked file.
        path: Where it is.
    """

    title: str
    titel: str
    enmax_ev: float
    z_valence: float
    sha256: str
    path: Path

    def read(self) -> bytes:
        """The unpacked file."""
        return _bytes(self.path)


def set_potcar_folder(folder: str | None) -> None:
    """Say what the settings say; None or empty for what the environment says."""
    global _folder  # noqa: PLW0603  (a property of the process)
    _folder = folder or None


def potcar_folder() -> Path:
    """The folder of POTCARs.

    Raises:
        UnavailableError: code ``no_potcars``; none is named, or it is not there.
    """
    named = _folder or os.environ.get("NANO_OS_VASP_POTCAR_DIR", "") or _of_pymatgen()
    if not named:
        raise UnavailableError(
            "No folder of POTCARs is named.", hint=FOLDER_HINT, code="no_potcars"
        )
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise UnavailableError(
            f"The folder of POTCARs, {folder}, is not there.", hint=FOLDER_HINT, code="no_potcars"
        )
    return folder


def _of_pymatgen() -> str:
    named = os.environ.get("PMG_VASP_PSP_DIR", "")
    if not named:
        from pymatgen.core import SETTINGS

        named = str(SETTINGS.get("PMG_VASP_PSP_DIR") or "")
    return named


def titles_of(
    elements: Iterable[str], release: str, given: Mapping[str, str] | None
) -> dict[str, str]:
    """Element to the title of its POTCAR: what is given, else the Materials Project's choice.

    Raises:
        InvalidInputError: nothing is recommended for an element, or a title is of another one.
    """
    from pymatgen.io.vasp.sets import MPRelaxSet, MPScanRelaxSet

    known: Mapping[str, str] = (MPRelaxSet if release in _OLD else MPScanRelaxSet).CONFIG["POTCAR"]
    wanted = list(dict.fromkeys(elements))
    chosen = {**known, **(given or {})}
    for element in given or {}:
        if element not in wanted or chosen[element].split("_")[0] != element:
            raise InvalidInputError(
                f"The POTCAR {chosen[element]} is not one for {element} of this structure.",
                hint='Write potcar_titles as {"Fe": "Fe_pv"}.',
                code="invalid_parameter",
            )
    missing = [element for element in wanted if element not in chosen]
    if missing:
        raise InvalidInputError(
            f"No POTCAR of {release} is recommended for {', '.join(missing)}.",
            hint="Name one with potcar_titles, if VASP has it.",
            code="uncovered_elements",
        )
    return {element: chosen[element] for element in wanted}


def find_potcars(titles: Mapping[str, str], release: str) -> dict[str, Potcar]:
    """Element to its POTCAR.

    Raises:
        UnavailableError: code ``no_potcars``; there is no folder, or it lacks one of them.
    """
    folder = potcar_folder()
    found: dict[str, Potcar] = {}
    missing = []
    for element, title in titles.items():
        path = next((p for p in _places(folder, title, release) if p.is_file()), None)
        if path is None:
            missing.append(title)
        else:
            found[element] = _read(path, title)
    if missing:
        raise UnavailableError(
            f"{folder} has no POTCAR of {release} called {', '.join(missing)}.",
            hint=f"It is looked for as {_SETS[release][0]}/{missing[0]}/POTCAR. {FOLDER_HINT}",
            details={"missing": missing},
            code="no_potcars",
        )
    return found


def _places(folder: Path, title: str, release: str) -> Iterator[Path]:
    """A folder of one set is taken for the release that is asked for only by its name."""
    sets = [folder / name for name in _SETS[release]]
    others = {name.lower() for key, names in _SETS.items() if key != release for name in names}
    if folder.name.lower() not in others:
        sets.append(folder)
    for one in sets:
        for name in (f"{title}/POTCAR", f"POTCAR.{title}"):
            yield one / name
            yield one / f"{name}.gz"


def _read(path: Path, title: str) -> Potcar:
    try:
        data = _bytes(path)
        head = data.partition(b"END of PSCTR")[0].decode("ascii", errors="replace")
        titel = re.search(r"TITEL\s*=\s*(.+)", head)
        enmax, zval = (re.search(rf"\b{word}{_NUMBER}", head) for word in ("ENMAX", "ZVAL"))
        if titel is None or enmax is None or zval is None:
            raise ValueError("its header lacks TITEL, ENMAX or ZVAL")  # noqa: TRY301
        return Potcar(
            title=title,
            titel=titel.group(1).strip(),
            enmax_ev=float(enmax.group(1)),
            z_valence=float(zval.group(1)),
            sha256=hashlib.sha256(data).hexdigest(),
            path=path,
        )
    except (OSError, EOFError, ValueError) as error:
        raise UnavailableError(
            f"The POTCAR {title} cannot be read: {error}.", hint=FOLDER_HINT, code="no_potcars"
        ) from error


def _bytes(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data
