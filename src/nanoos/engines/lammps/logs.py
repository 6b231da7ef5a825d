"""What LAMMPS prints: samples of the thermodynamic state, warnings and errors."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nanoos.engines.lammps.script import THERMO_COLUMNS

FloatArray = npt.NDArray[np.float64]


@dataclass(slots=True)
class ThermoReader:
    """Reads a log line by line, while it is written or afterwards.

    Attributes:
        rows: Samples, in the order of :data:`THERMO_COLUMNS`.
        warnings: Each text once.
        errors: Lines that say why the program stopped.
        stopping_criteria: Why each minimisation ended.
    """

    rows: list[tuple[float, ...]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stopping_criteria: list[str] = field(default_factory=list)
    _in_table: bool = False
    _rest: str = ""

    def feed(self, text: str) -> None:
        """Read more of the log; an unfinished last line waits for its end."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._read(line)

    def _read(self, line: str) -> None:
        words = line.split()
        if not words:
            return
        if words[0] == "Step":
            self._in_table = True
        elif line.startswith("Loop time"):
            self._in_table = False
        elif line.startswith("WARNING:"):
            text = line.removeprefix("WARNING:").split(" (src/")[0].strip()
            if text not in self.warnings:
                self.warnings.append(text)
        elif line.startswith("ERROR"):
            self.errors.append(line.split(" (src/", maxsplit=1)[0].strip())
        elif words[0] == "Stopping" and "=" in line:
            self.stopping_criteria.append(line.partition("=")[2].strip())
        elif self._in_table and len(words) == len(THERMO_COLUMNS):
            try:
                self.rows.append(tuple(float(word) for word in words))
            except ValueError:
                return  # a message between two samples

    @property
    def step(self) -> int:
        """The last step that was seen."""
        return int(self.rows[-1][0]) if self.rows else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThermoTable:
    """Samples of a whole run, in the units of the script.

    Attributes:
        columns: Name to (n_samples,), steps ascending, each once.
    """

    columns: dict[str, FloatArray]

    def __getitem__(self, name: str) -> FloatArray:
        """One column."""
        return self.columns[name]

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.columns["step"])

    @property
    def last(self) -> dict[str, float]:
        """The last sample."""
        return {name: float(values[-1]) for name, values in self.columns.items()}


def read_log(path: Path) -> ThermoReader:
    """Read a finished log."""
    reader = ThermoReader()
    reader.feed(path.read_text(encoding="utf-8", errors="replace"))
    return reader


def joined(parts: Iterable[ThermoReader], *, every: int = 1) -> ThermoTable:
    """Samples of consecutive parts of a run; where two overlap, the later one counts.

    Args:
        parts: In their order.
        every: Steps between two samples. Each part begins with one; where that is no multiple and
            the part before has none there, it is left out: the whole run would not have it.
    """
    rows: dict[int, tuple[float, ...]] = {}
    for part in parts:
        if not part.rows:
            continue
        first = int(part.rows[0][0])
        asked = first % every == 0 or first in rows or len(part.rows) == 1
        rows = {step: row for step, row in rows.items() if step < first}
        rows.update((int(row[0]), row) for row in part.rows[0 if asked else 1 :])
    array = np.array([rows[step] for step in sorted(rows)], dtype=np.float64)
    array = array.reshape(-1, len(THERMO_COLUMNS))
    return ThermoTable(columns={name: array[:, i] for i, name in enumerate(THERMO_COLUMNS)})
