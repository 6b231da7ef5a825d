"""A tiny tool: a wheel made here, found by pip without a network."""

import zipfile
from pathlib import Path

import pytest

from nanoos.tools import TOOLS, ToolEnvironments, ToolSpec

PROGRAM = Path(__file__).parent / "probe_program.py"


def make_wheel(folder: Path, name: str, code: str) -> None:
    """A wheel of one module."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)


def spec(name: str, **changes) -> ToolSpec:
    """A tool of one module, ``nanoos_probe`` unless said otherwise."""
    fields = {
        "name": name,
        "purpose": "Tests.",
        "requirements": ("nanoos-probe==1.0",),
        "distribution": "nanoos-probe",
        "imports": ("nanoos_probe",),
        "license": "MIT",
        "size_mb": 1,
        "program": PROGRAM,
    }
    return ToolSpec(**(fields | changes))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "nanoos_probe", "ANSWER = 42\n")
    make_wheel(folder, "nanoos_broken", "raise RuntimeError('it never worked')\n")
    return folder


@pytest.fixture
def register(wheels, monkeypatch):
    """Adds tools for one test, with an index that holds the two wheels and nothing else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    added = []

    def add(name: str, **changes) -> ToolSpec:
        made = spec(name, **changes)
        TOOLS.register(name, made)
        added.append(name)
        return made

    yield add
    for name in added:
        TOOLS.unregister(name)


@pytest.fixture
def environments(tmp_path, register) -> ToolEnvironments:
    """An empty place for tools, and the tool ``probe``."""
    register("probe")
    return ToolEnvironments(tmp_path / "data" / "tools")
