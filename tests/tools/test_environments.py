"""Installing into an environment of its own: whole or not at all."""

import json
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from nanoos.core.errors import ConflictError, NotFoundError, UnavailableError
from nanoos.core.folders import set_data_dir
from nanoos.tools import TOOLS, ToolEnvironments, tool_environments, tool_process
from nanoos.tools.sharing import shared_packages

TESTS = Path(__file__).parent


def homes(environments: ToolEnvironments, name: str = "probe") -> list[str]:
    folder = environments.root / name
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def run_inside(python: Path, code: str) -> str:
    done = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_nothing_is_there_at_first(environments):
    state = environments.state("Probe")
    assert not state.available
    assert state.problem == "not installed"
    assert state.command == "nanoos tools install probe"
    assert state.python is None
    with pytest.raises(UnavailableError, match="not installed") as caught:
        environments.python("probe")
    assert caught.value.hint == "nanoos tools install probe"
    assert not environments.root.exists(), "looking makes nothing"


def test_no_such_tool(environments):
    with pytest.raises(NotFoundError, match="no tool named 'prob'") as caught:
        environments.install("prob")
    assert "probe" in caught.value.hint


def test_install_replace_and_remove(environments, tmp_path, monkeypatch):
    told = []
    state = environments.install("probe", progress=lambda *given: told.append(given))
    assert state.available
    assert state.version == "1.0"
    assert state.origin == "nanoos"
    assert 0 < state.size_mb < 5
    assert [f for f, _ in told] == sorted(f for f, _ in told)
    assert any("nanoos-probe" in message for _, message in told)
    python = environments.python("probe")
    assert run_inside(python, "import nanoos_probe; print(nanoos_probe.ANSWER)") == "42"
    seen = run_inside(
        python, "import importlib.util as u; print([u.find_spec(n) for n in ('numpy', 'nanoos')])"
    )
    assert seen == "[None, None]", "nothing of the main environment is seen"
    assert "Successfully installed" in environments.log_file("probe", "install").read_text()
    assert environments.check("probe").version == "1.0"

    again = environments.install("probe", progress=lambda *_: pytest.fail("it was there"))
    assert again == state
    other = environments.install("probe", force=True)
    assert other.python != state.python
    assert len(homes(environments)) == 2, "tool.json and one environment"

    set_data_dir(tmp_path / "data")
    try:
        assert tool_environments().root == environments.root
        with tool_process("probe") as process:
            assert process is tool_process("PROBE")
            assert process.request("echo", {"a": 1}).fields == {"a": 1}
    finally:
        set_data_dir(None)

    assert environments.remove("probe") > 0
    assert homes(environments) == []
    assert not environments.state("probe").available
    with pytest.raises(NotFoundError, match="not installed"):
        environments.remove("probe")


def test_a_package_of_the_main_environment_is_shared_and_nothing_else(environments, register):
    register("sharer", shares=("jinja2",))
    state = environments.install("sharer")
    assert state.shared == ("jinja2", "markupsafe")
    code = (
        "import jinja2, markupsafe, os, importlib.util as u, importlib.metadata as m\n"
        "print(os.path.realpath(jinja2.__file__)); print(m.version('jinja2'))\n"
        "print(u.find_spec('numpy'))"
    )
    file, version, other = run_inside(state.python, code).splitlines()
    import jinja2

    assert file == os.path.realpath(jinja2.__file__)
    assert version == jinja2.__version__
    assert other == "None"

    manifest = environments.root / "sharer" / "tool.json"
    document = json.loads(manifest.read_text())
    document["shared"][0]["version"] = "0.1"
    manifest.write_text(json.dumps(document))
    changed = environments.state("sharer")
    assert not changed.available
    assert "jinja2" in changed.problem
    assert changed.command == "nanoos tools install sharer --force"
    assert environments.install("sharer").available, "it is made again without --force, too"
    environments.remove("sharer")
    assert Path(file).exists(), "what was shared is left alone"


def test_what_torch_needs_is_shared_with_it():
    if find_spec("torch") is None:
        pytest.skip("torch is not installed")
    names = {package.name for package in shared_packages(["torch"])}
    assert {"torch", "sympy", "networkx", "typing-extensions"} <= names
    assert "numpy" not in names


def test_sharing_what_is_not_here(environments, register):
    register("needy", shares=("nanoos-is-not-published",))
    with pytest.raises(UnavailableError, match="nanoos-is-not-published"):
        environments.install("needy")


def test_pip_without_the_package_gives_its_own_last_lines(environments, register):
    register("absent", requirements=("nanoos-is-not-published==3",))
    with pytest.raises(UnavailableError) as caught:
        environments.install("absent")
    assert caught.value.error_code == "install_failed"
    assert "No matching distribution found for nanoos-is-not-published==3" in caught.value.message
    assert "network" in caught.value.hint
    assert homes(environments, "absent") == []
    assert "nanoos-is-not-published" in environments.log_file("absent", "install").read_text()


def test_what_does_not_import_is_not_installed(environments, register):
    register(
        "broken",
        requirements=("nanoos-broken==1.0",),
        distribution="nanoos-broken",
        imports=("nanoos_broken",),
    )
    with pytest.raises(UnavailableError, match="it never worked") as caught:
        environments.install("broken")
    assert caught.value.error_code == "tool_broken"
    assert homes(environments, "broken") == []


def test_a_failed_replacement_leaves_what_was_there(environments, monkeypatch, tmp_path):
    before = environments.install("probe")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UnavailableError):
        environments.install("probe", force=True)
    assert environments.state("probe") == before
    assert len(homes(environments)) == 2
    assert environments.check("probe").version == "1.0"


def test_ctrl_c_leaves_nothing(environments):
    def interrupt(fraction, _message):
        if fraction > 0.05:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environments.install("probe", progress=interrupt)
    assert homes(environments) == []


def test_what_a_killed_installation_left_is_no_tool(environments, tmp_path):
    code = (
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(TESTS)!r})\n"
        "from pathlib import Path\n"
        "from conftest import spec\n"
        "from nanoos.tools import TOOLS, ToolEnvironments\n"
        "TOOLS.register('probe', spec('probe'))\n"
        "def kill(fraction, message):\n"
        "    if fraction > 0.9: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"ToolEnvironments(Path({str(environments.root)!r})).install('probe', progress=kill)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -9
    (left,) = homes(environments)
    assert left.startswith("environment-")
    assert environments.state("probe").problem == "not installed"
    assert environments.install("probe").available, "its lock is free again"
    assert left not in homes(environments)
    assert len(homes(environments)) == 2


def test_two_at_once_install_it_once(environments):
    states, waited = [], []

    def install():
        states.append(
            environments.install(
                "probe", progress=lambda _, m: waited.append(m) if "waiting" in m else None
            )
        )

    threads = [threading.Thread(target=install) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states[0] == states[1]
    assert waited
    assert len(homes(environments)) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', '{"format": 1, "shared": []}'])
def test_a_damaged_record_is_no_installation(environments, text):
    home = environments.root / "probe"
    home.mkdir(parents=True)
    (home / "tool.json").write_text(text)
    assert environments.state("probe").problem == "not installed"


def test_an_installation_that_lost_its_python_or_its_version_says_so(environments, register):
    state = environments.install("probe")
    TOOLS.unregister("probe")
    register("probe", requirements=("nanoos-probe==2.0",))
    assert "another version" in environments.state("probe").problem
    state.python.unlink()
    assert environments.state("probe").problem == "its Python is gone"
    TOOLS.unregister("probe")


def test_a_python_of_the_users_own(environments, monkeypatch, tmp_path):
    monkeypatch.setenv("NANO_OS_PROBE_PYTHON", sys.executable)
    state = environments.state("probe")
    assert state.available
    assert state.origin == "variable"
    assert environments.python("probe") == Path(sys.executable)
    with pytest.raises(UnavailableError, match="nanoos_probe"):
        environments.check("probe")
    with pytest.raises(ConflictError, match="NANO_OS_PROBE_PYTHON"):
        environments.install("probe")
    monkeypatch.setenv("NANO_OS_PROBE_PYTHON", str(tmp_path / "absent"))
    with pytest.raises(UnavailableError, match="which is no program"):
        environments.python("probe")


def test_what_cannot_work_is_refused_before_anything_is_made(environments, register):
    register("future", python=">=99")
    with pytest.raises(UnavailableError, match="needs Python >=99") as caught:
        environments.install("future")
    assert "NANO_OS_FUTURE_PYTHON" in caught.value.hint
    register("vast", size_mb=10**12)
    with pytest.raises(UnavailableError) as caught:
        environments.install("vast")
    assert caught.value.error_code == "no_space"
    assert not (environments.root / "vast").exists()
