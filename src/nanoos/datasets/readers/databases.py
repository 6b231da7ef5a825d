"""The open databases: matbench, JARVIS-DFT and the Materials Project."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nanoos.core.errors import NotFoundError, UnauthorizedError, UnavailableError
from nanoos.core.records import LevelOfTheory
from nanoos.datasets.property_columns import PROPERTY_UNITS, TargetColumn
from nanoos.datasets.readers.downloads import Report, download, get_json
from nanoos.datasets.readers.known_files import MATBENCH, known_columns
from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.readers.tables import Table, json_table, table_rows
from nanoos.datasets.rows import RowStream

MATBENCH_URL: Final = "https://ml.materialsproject.org/projects/"
JARVIS_URL: Final = "https://ndownloader.figshare.com/files/"
MATERIALS_PROJECT_URL: Final = "https://api.materialsproject.org/"

JARVIS_FILES: Final[Mapping[str, tuple[str, str]]] = {
    "dft_3d": ("38521619", "jdft_3d-12-12-2022.json.zip"),
    "dft_2d": ("26808917", "d2-3-12-2021.json.zip"),
}
"""Data set to the number of its file on figshare and the file's name."""

_PAGE: Final = 500
_MP_LEVEL: Final = LevelOfTheory(
    functional="PBE/PBE+U or r2SCAN", corrections="MP mixing", reference="none"
)
_MP_ENERGY: Final = LevelOfTheory(
    functional="PBE/PBE+U or r2SCAN", corrections="MP mixing", reference="elements"
)
_MP_COLUMNS: Final[Mapping[str, tuple[str, LevelOfTheory]]] = {
    "formation_energy": ("formation_energy_per_atom", _MP_ENERGY),
    "bandgap": ("band_gap", _MP_LEVEL),
    "e_above_hull": ("energy_above_hull", _MP_ENERGY),
    "fermi_energy": ("efermi", _MP_LEVEL),
    "is_metal": ("is_metal", _MP_LEVEL),
    "bulk_modulus": ("bulk_modulus", _MP_LEVEL),
    "shear_modulus": ("shear_modulus", _MP_LEVEL),
    "poisson_ratio": ("homogeneous_poisson", _MP_LEVEL),
    "refractive_index": ("n", _MP_LEVEL),
}
_MP_DEFAULT: Final = ("formation_energy", "bandgap", "e_above_hull")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAccess:
    """How the databases are reached.

    Attributes:
        mp_api_key: Key of the Materials Project, empty where there is none.
        matbench_url: Where the files of matbench are.
        jarvis_url: Where figshare's files are.
        materials_project_url: Of the API.
    """

    mp_api_key: str = ""
    matbench_url: str = MATBENCH_URL
    jarvis_url: str = JARVIS_URL
    materials_project_url: str = MATERIALS_PROJECT_URL


def database_rows(
    name: str,
    options: ReadOptions,
    access: DatabaseAccess,
    *,
    folder: Path,
    report: Report | None = None,
) -> RowStream:
    """Rows of an open database.

    Args:
        name: ``matbench:matbench_phonons`` (or ``matbench:phonons``), ``jarvis:dft_3d``,
            ``mp:CONDITIONS`` with conditions of the summary endpoint
            (``mp:chemsys=Li-O&energy_above_hull_max=0.1``).
        options: As of files; for ``mp`` its targets are names of properties.
        access: Addresses and key.
        folder: Downloaded files go there, and are taken from there if they are there already.
        report: Told how far the download is.

    Raises:
        NotFoundError: no such database or data set; the hint lists them.
        UnavailableError: no network (``no_network``): says what to do instead.
        UnauthorizedError: the Materials Project needs a key, or does not accept it.
    """
    service, _, rest = name.partition(":")
    if service == "matbench":
        return _matbench(rest, options, access, folder, report)
    if service == "jarvis":
        return _jarvis(rest, options, access, folder, report)
    if service == "mp":
        return _materials_project(rest, options, access)
    raise NotFoundError(
        f"There is no database {service!r}.",
        hint="Known: matbench:TASK, jarvis:dft_3d, mp:CONDITIONS.",
    )


def is_database(text: str) -> bool:
    """Whether a text names an open database rather than a file."""
    return text.partition(":")[0] in {"matbench", "jarvis", "mp"} and ":" in text


def _matbench(
    task: str,
    options: ReadOptions,
    access: DatabaseAccess,
    folder: Path,
    report: Report | None,
) -> RowStream:
    full = task if task.startswith("matbench_") else f"matbench_{task}"
    if full not in MATBENCH:
        raise NotFoundError(
            f"matbench has no task {task!r} on structures.", hint=f"Tasks: {', '.join(MATBENCH)}."
        )
    file = f"{full}.json.gz"
    path = _fetched(access.matbench_url + file, folder / file, "matbench", report)
    return _file_rows(path, options, kind="matbench")


def _jarvis(
    dataset: str,
    options: ReadOptions,
    access: DatabaseAccess,
    folder: Path,
    report: Report | None,
) -> RowStream:
    if dataset not in JARVIS_FILES:
        raise NotFoundError(
            f"JARVIS has no data set {dataset!r} here.", hint=f"Known: {', '.join(JARVIS_FILES)}."
        )
    number, file = JARVIS_FILES[dataset]
    path = _fetched(access.jarvis_url + number, folder / file, "JARVIS (figshare)", report)
    return _file_rows(path, options, kind="jarvis")


def _fetched(url: str, target: Path, service: str, report: Report | None) -> Path:
    if target.is_file():
        return target
    instead = (
        f"Without a network, fetch {url} elsewhere and import that file under the name "
        f"{target.name}: nanoos datasets import {target.name} --name NAME."
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    return download(url, target, service=service, instead=instead, report=report)


def _file_rows(path: Path, options: ReadOptions, *, kind: str) -> RowStream:
    table = json_table(path, name=path.name)
    _, targets, levels = known_columns(path.name, table.columns)
    try:
        return table_rows(table, options, kind=kind, targets=targets, levels=levels)
    except BaseException:
        table.close()
        raise


# -- Materials Project -----------------------------------------------------------------------


def _materials_project(conditions: str, options: ReadOptions, access: DatabaseAccess) -> RowStream:
    """The summary endpoint, a page at a time. Ref: https://api.materialsproject.org/docs."""
    if not access.mp_api_key:
        raise UnauthorizedError(
            "The Materials Project needs an API key.",
            hint="Get one at https://next-gen.materialsproject.org/api and set NANO_OS_MP_API_KEY.",
            code="no_api_key",
        )
    wanted = options.targets or {name: _MP_COLUMNS[name][0] for name in _MP_DEFAULT}
    unknown = sorted(set(wanted) - set(_MP_COLUMNS))
    if unknown:
        raise NotFoundError(
            f"The Materials Project's summaries have no {unknown[0]!r} that is known here.",
            hint=f"Known: {', '.join(_MP_COLUMNS)}.",
        )
    columns = [_MP_COLUMNS[name][0] for name in wanted]
    filters = dict(part.partition("=")[::2] for part in conditions.split("&") if part)
    first = _page(access, filters, columns, skip=0)
    total = int(first["meta"]["total_doc"])

    def records() -> Iterator[Mapping[str, Any]]:
        page, taken = first, 0
        while page["data"]:
            yield from (_flat(record) for record in page["data"])
            taken += len(page["data"])
            if taken >= total:
                return
            page = _page(access, filters, columns, skip=taken)

    table = Table(
        name=f"Materials Project {conditions}".strip(),
        columns=["material_id", "structure", *columns],
        records=records(),
        total=total,
    )
    targets = [
        TargetColumn(target=name, column=_MP_COLUMNS[name][0], unit=PROPERTY_UNITS[name])
        for name in wanted
    ]
    levels = {name: _MP_COLUMNS[name][1] for name in wanted}
    plain = ReadOptions(where=options.where, level_of_theory=options.level_of_theory)
    return table_rows(table, plain, kind="materials_project", targets=targets, levels=levels)


def _page(
    access: DatabaseAccess, filters: Mapping[str, str], columns: list[str], *, skip: int
) -> dict[str, Any]:
    fields = ",".join(["material_id", "structure", *columns])
    answer = get_json(
        f"{access.materials_project_url}materials/summary/",
        {**filters, "_fields": fields, "_limit": _PAGE, "_skip": skip, "deprecated": "false"},
        headers={"X-API-KEY": access.mp_api_key, "Accept": "application/json"},
        service="The Materials Project",
        instead="Try again where there is a network, or import a file that was fetched elsewhere.",
    )
    if (
        not isinstance(answer, dict)
        or "data" not in answer
        or "total_doc" not in answer.get("meta", {})
    ):
        raise UnavailableError(
            "The Materials Project answered in a form that is not known.",
            hint="Its API may have changed: use a newer version of nanoos.",
            code="unknown_answer",
        )
    return answer


def _flat(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Moduli come as ``{voigt, reuss, vrh}``: the average is taken."""
    flat = dict(record)
    for name in ("bulk_modulus", "shear_modulus"):
        if isinstance(flat.get(name), Mapping):
            flat[name] = flat[name].get("vrh", math.nan)
    return flat
