"""Running ``nanoos`` inside the test process, on an embedded database of its own."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nanoos.cli import main
from nanoos.config import Settings
from nanoos.structures import write_structures
from nanoos.testing.crystals import rocksalt, wurtzite


@dataclass(frozen=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No width is wished for: running tests in parallel sets one."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line: ``run("jobs", "list")``."""

    def run_nanoos(*arguments: object, stdin: str = "") -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_nanoos


@pytest.fixture
def lab(settings: Settings, run: Run) -> Run:
    """The same over a database that is there already, which saves migrating it."""
    assert settings.data_dir.is_dir()
    return run


@pytest.fixture
def crystals(tmp_path: Path) -> Path:
    """A folder: MgO, ZnO, a broken file between them, two frames of NaCl and MgO."""
    folder = tmp_path / "crystals"
    folder.mkdir()
    write_structures([rocksalt()], folder / "a_MgO.cif")
    (folder / "b_broken.cif").write_text("data_x\n_cell_length_a 3\n")
    write_structures([wurtzite()], folder / "c_ZnO.cif")
    frames = [rocksalt(5.6, "Na", "Cl"), rocksalt(4.2)]
    write_structures(frames, folder / "d_two.extxyz", names=["salt", "oxide"])
    return folder
