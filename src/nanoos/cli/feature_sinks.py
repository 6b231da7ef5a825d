"""Where features go: JSON lines, a table for people, a parquet file, a folder of npz files."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from nanoos.cli.documents import print_document
from nanoos.cli.output import make_folder, writable, write_bytes
from nanoos.cli.render import Column, print_table, say
from nanoos.core.errors import NanoosError, UnavailableError

if TYPE_CHECKING:
    from nanoos.features import CrystalGraph, FeatureParameters, StructureScalars
    from nanoos.structures import ReadOutcome, Structure

TABLE_ROWS: Final = 200
ROWS_PER_GROUP: Final = 256
BONDS_PER_GROUP: Final = 1_000_000
"""A part of the parquet file is written at either: memory stays flat for any input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLine:
    """What became of one structure; ``graph`` and ``scalars`` are None where there is an error."""

    read: "ReadOutcome"
    graph: "CrystalGraph | None"
    scalars: "StructureScalars | None"
    error: NanoosError | None


def feature_lines(
    outcomes: "Iterable[ReadOutcome]", parameters: "FeatureParameters"
) -> Iterator[FeatureLine]:
    """A line for each structure read, in order; one that fails never fails the rest."""
    for outcome in outcomes:
        if outcome.structure is None:
            yield FeatureLine(read=outcome, graph=None, scalars=None, error=outcome.error)
        else:
            yield _line(outcome, outcome.structure, parameters)


def _line(
    outcome: "ReadOutcome", structure: "Structure", parameters: "FeatureParameters"
) -> FeatureLine:
    from nanoos.features import iter_features

    (found,) = iter_features([structure], parameters)
    return FeatureLine(read=outcome, graph=found.graph, scalars=found.scalars, error=found.error)


def line_document(line: FeatureLine) -> dict[str, Any]:
    """The line as ``nanoos features --json`` prints it."""
    read, graph, error = line.read, line.graph, line.error
    return {
        "file": read.file,
        "index": read.index,
        "id": read.source_id,
        "formula": None if read.structure is None else read.structure.formula,
        "n_atoms": None if graph is None else graph.n_atoms,
        "n_bonds": None if graph is None else graph.n_bonds,
        "isolated_atoms": None if graph is None else len(graph.isolated_atoms),
        "scalars": None if line.scalars is None else line.scalars.as_dict(),
        "output": None,
        "error": error and {"code": error.error_code, "message": error.message},
    }


class Sink(Protocol):
    """Takes lines in order; a context manager. May note in the document what it wrote."""

    def write(self, document: dict[str, Any], line: FeatureLine) -> None:
        """Take one line, as its document and as it was."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: object, /) -> None: ...


class JsonSink:
    """One JSON object on each line of standard output."""

    def write(self, document: dict[str, Any], line: FeatureLine) -> None:
        """Write it at once."""
        del line
        print_document(document)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


def _file_text(row: dict[str, Any]) -> str:
    name = Path(row["file"]).name
    return f"{name} [{row['index']}]" if row["index"] else name


def _scalar(name: str, title: str) -> Column:
    return Column(title=title, of=lambda row: row["scalars"][name], right=True)


_COLUMNS: Final = (
    Column(title="file", of=_file_text, shrinks=True),
    Column(title="formula", of=lambda row: row["formula"]),
    Column(title="atoms", of=lambda row: row["n_atoms"], right=True),
    Column(title="bonds", of=lambda row: row["n_bonds"], right=True),
    _scalar("volume_per_atom_a3", "volume, Å³/atom"),
    _scalar("density_g_cm3", "density, g/cm³"),
    _scalar("packing_fraction", "packing"),
    _scalar("mean_electronegativity", "electronegativity"),
)


class TableSink:
    """A table on standard output, refusals beside it on standard error."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def write(self, document: dict[str, Any], line: FeatureLine) -> None:
        """Keep a row for the next table; tell a refusal at once."""
        if line.error is not None:
            say(f"{line.read.file} [{line.read.index}]: {line.error.message}")
            if line.error.hint:
                say(f"    {line.error.hint}")
            return
        if document["isolated_atoms"]:
            say(
                f"{line.read.file} [{line.read.index}]: {document['isolated_atoms']} atoms have no "
                "neighbour within the cutoff."
            )
        self._rows.append(document)
        if len(self._rows) >= TABLE_ROWS:
            self._print()

    def _print(self) -> None:
        if self._rows:
            print_table(_COLUMNS, self._rows, empty="")
            self._rows.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        if kind is None:
            self._print()


class NpzSink:
    """One npz file for each structure, numbered in input order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        make_folder(folder)

    def write(self, document: dict[str, Any], line: FeatureLine) -> None:
        """Write the graph and note the file in the document."""
        from nanoos.features import graph_to_npz

        self._number += 1
        if line.graph is None:
            return
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(line.read.file).stem)[:100]
        path = self._folder / f"{self._number:06}_{stem}_{line.read.index}.npz"
        write_bytes(path, graph_to_npz(line.graph))
        document["output"] = str(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


class ParquetSink:
    """A parquet file with one row for each structure that has features.

    Columns: what the JSON lines say, the scalars under their own names, ``element_fractions`` as a
    map, and the graph as lists: ``atomic_numbers``, ``lattice`` (9, Å), ``sources``, ``targets``,
    ``images`` (3 for each bond), ``distances`` (Å).
    """

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            raise UnavailableError(
                "pyarrow is not installed, which writes parquet files.",
                hint="pip install 'nanoos[ml]', or give a folder for npz files.",
            ) from error
        self._pa = pa
        self._path = path
        self._schema = _schema(pa)
        self._rows: list[dict[str, Any]] = []
        self._bonds = 0
        self._part = path.with_name(f"{path.name}.part")
        with writable(path):
            self._writer = parquet.ParquetWriter(self._part, self._schema)

    def write(self, document: dict[str, Any], line: FeatureLine) -> None:
        """Keep a row for the next part of the file."""
        if line.graph is None or line.scalars is None:
            return
        document["output"] = str(self._path)
        self._rows.append(_parquet_row(document, line.graph))
        self._bonds += line.graph.n_bonds
        if len(self._rows) >= ROWS_PER_GROUP or self._bonds >= BONDS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        with writable(self._path):
            self._writer.write_table(self._pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
        self._bonds = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        """Complete the file; after an error nothing of it is left."""
        if kind is None:
            self._flush()
        with writable(self._path):
            self._writer.close()
            if kind is None:
                self._part.replace(self._path)
            else:
                self._part.unlink()


def _schema(pa: Any) -> Any:
    numbers = (
        "mean_mass_u",
        "mean_electronegativity",
        "mean_radius_a",
        "volume_per_atom_a3",
        "density_g_cm3",
        "packing_fraction",
    )
    return pa.schema(
        [
            ("file", pa.string()),
            ("index", pa.int64()),
            ("id", pa.string()),
            ("formula", pa.string()),
            ("n_atoms", pa.int64()),
            ("n_bonds", pa.int64()),
            ("isolated_atoms", pa.int64()),
            *((name, pa.float64()) for name in numbers),
            ("element_fractions", pa.map_(pa.string(), pa.float64())),
            ("atomic_numbers", pa.list_(pa.uint8())),
            ("lattice", pa.list_(pa.float64())),
            ("sources", pa.list_(pa.int32())),
            ("targets", pa.list_(pa.int32())),
            ("images", pa.list_(pa.int32())),
            ("distances", pa.list_(pa.float32())),
        ]
    )


def _parquet_row(document: dict[str, Any], graph: "CrystalGraph") -> dict[str, Any]:
    scalars = dict(document["scalars"])
    fractions = scalars.pop("element_fractions")
    kept = ("file", "index", "id", "formula", "n_atoms", "n_bonds", "isolated_atoms")
    return {
        **{name: document[name] for name in kept},
        **scalars,
        "element_fractions": list(fractions.items()),
        "atomic_numbers": graph.atomic_numbers,
        "lattice": graph.lattice.ravel(),
        "sources": graph.sources,
        "targets": graph.targets,
        "images": graph.images.ravel(),
        "distances": graph.distances,
    }
