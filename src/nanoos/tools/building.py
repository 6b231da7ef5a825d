"""Making a tool's virtual environment in an empty folder: venv, links, pip, check."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

from packaging.specifiers import SpecifierSet

from nanoos.core.errors import UnavailableError
from nanoos.core.processes import start_bound
from nanoos.tools import sharing
from nanoos.tools.sharing import SharedPackage
from nanoos.tools.spec import ToolSpec

Progress = Callable[[float, str], None]

CHECK_TIMEOUT_S: Final = 300.0
_PIP_LINES_SHOWN: Final = 6
_NOT_FOR_PIP: Final = (
    "PIP_PREFIX",
    "PIP_PYTHON",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "PYTHONHOME",
    "PYTHONPATH",
)
"""Variables that would send packages elsewhere, or show the main environment's."""

_CHECK = """
import importlib, json, sys
from importlib import metadata
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
packages = {d.metadata["Name"]: d.version for d in metadata.distributions()}
print("\\n" + json.dumps({"packages": packages, "python": sys.version.split()[0]}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What an environment turned out to hold.

    Attributes:
        version: Of the tool's own distribution.
        packages: Every distribution it sees, name to version.
        python: Version of its Python.
        seconds: How long its modules took to import.
    """

    version: str
    packages: dict[str, str]
    python: str
    seconds: float


def check_possible(spec: ToolSpec, folder: Path) -> list[SharedPackage]:
    """Refuse what cannot work before anything is downloaded; returns what would be shared.

    Args:
        spec: The tool.
        folder: Where its environment would stand.

    Raises:
        UnavailableError: this Python, the room on disk or a shared package does not do.
    """
    here = ".".join(str(part) for part in sys.version_info[:3])
    if here not in SpecifierSet(spec.python):
        raise UnavailableError(
            f"{spec.name} needs Python {spec.python}; this one is {here}.",
            hint=f"Install it into a Python that fits, and set {spec.variable} to that Python.",
        )
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    if free < spec.size_mb * 1_000_000:
        raise UnavailableError(
            f"{spec.name} takes about {spec.size_mb} MB, and {folder} has {free / 1e6:.0f} MB.",
            hint="Make room, or set NANO_OS_DATA_DIR elsewhere.",
            code="no_space",
        )
    return sharing.shared_packages(spec.shares)


def build(
    spec: ToolSpec,
    folder: Path,
    shared: Sequence[SharedPackage],
    *,
    log: IO[str],
    progress: Progress,
) -> Checked:
    """Install ``spec`` into a new virtual environment at ``folder`` and check that it works.

    Raises:
        UnavailableError: pip did not get the packages, or they do not import; holds the last
            lines of what was said.
    """
    progress(0.02, "making the environment")
    pip_here = _own_pip()
    venv.EnvBuilder(symlinks=os.name != "nt", with_pip=pip_here is None).create(folder)
    site_configuration = Path(sys.prefix) / "pip.conf"
    if site_configuration.is_file():
        shutil.copy(site_configuration, folder / "pip.conf")
    if shared:
        sharing.link(shared, folder)
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{p.name}=={p.version}\n" for p in shared), encoding="utf-8")
    pip = ["-m", "pip"] if pip_here is None else [str(pip_here)]
    command = [
        str(python_of(folder)),
        *pip,
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--no-warn-script-location",
        "--constraint",
        str(constraints),
        *spec.requirements,
    ]
    _run_pip(spec, command, log, progress)
    progress(0.92, "checking that it works")
    return check(spec, python_of(folder))


def python_of(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def check(spec: ToolSpec, python: Path) -> Checked:
    """Import what the tool needs with its own Python.

    Raises:
        UnavailableError: it does not import; holds the last lines of what was said.
    """
    begun = time.monotonic()
    command = [str(python), "-I", "-c", _CHECK, json.dumps(spec.imports)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _broken(spec, [str(error)]) from error
    if done.returncode != 0:
        raise _broken(spec, done.stderr.splitlines()[-_PIP_LINES_SHOWN:])
    found = json.loads(done.stdout.splitlines()[-1])
    wanted = spec.distribution.replace("_", "-").casefold()
    named = {name.replace("_", "-").casefold(): v for name, v in found["packages"].items() if name}
    if wanted not in named:
        raise _broken(spec, [f"{spec.distribution} is not among its packages"])
    return Checked(
        version=named[wanted],
        packages=dict(sorted(found["packages"].items())),
        python=found["python"],
        seconds=time.monotonic() - begun,
    )


def _broken(spec: ToolSpec, lines: Sequence[str]) -> UnavailableError:
    said = "\n".join(lines)
    return UnavailableError(
        f"{spec.name} does not work in its environment: {said or 'it said nothing'}",
        hint=f"{spec.install_command} --force",
        details={"output": list(lines)},
        code="tool_broken",
    )


def _own_pip() -> Path | None:
    """This environment's pip in the form that another Python can run; None where it lacks one.

    It spares the tool's environment a pip of its own, works where Debian's ensurepip is absent,
    and is what ``pip --python`` does, without the process in between that would outlive us.
    """
    found = find_spec("pip")
    if found is None or found.origin is None:
        return None
    runner = Path(found.origin).parent / "__pip-runner__.py"
    return runner if runner.is_file() else None


def _run_pip(spec: ToolSpec, command: list[str], log: IO[str], progress: Progress) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_PIP}
    log.write(f"$ {' '.join(command)}\n")
    last: deque[str] = deque(maxlen=200)
    fraction = 0.1
    process = start_bound(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        own_group=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101  (asked for above)
        with process.stdout as output:
            for raw in output:
                line = raw.decode("utf-8", "replace").rstrip()
                log.write(line + "\n")
                last.append(line)
                if line.startswith("Installing collected packages"):
                    fraction = 0.7
                progress(fraction, line.strip())
        code = process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        errors = [line for line in last if "ERROR" in line] or list(last)
        shown = errors[-_PIP_LINES_SHOWN:]
        said = "\n".join(shown)
        raise UnavailableError(
            f"pip did not install {spec.name}:\n{said}",
            hint="It needs a network, or an index that has these packages: pip's own "
            "configuration decides (pip config, PIP_INDEX_URL, PIP_FIND_LINKS).",
            details={"pip": shown, "exit_code": code},
            code="install_failed",
        )
