import sys

import pytest

from nanoos.cli import models
from nanoos.engines.espresso import program
from nanoos.potentials import POTENTIALS
from nanoos.services.doctor import check_tools
from nanoos.tools import TOOLS, ToolSpec


@pytest.fixture
def probe():
    """A tool that every Python has, by a variable."""
    TOOLS.register(
        "probe",
        ToolSpec(
            name="probe",
            purpose="Tests.",
            requirements=("pip",),
            distribution="pip",
            imports=("pip",),
            license="MIT",
            size_mb=1,
        ),
    )
    yield
    TOOLS.unregister("probe")


def test_list_says_what_installs_it(run):
    listed = run("tools", "list", "--json")
    assert listed.code == 0
    (mace,) = [tool for tool in listed.document["tools"] if tool["name"] == "MACE"]
    assert mace["available"] is False
    assert mace["command"] == "nanoos tools install MACE"
    assert mace["license"] == "MIT"
    shown = run("tools", "list")
    assert "MACE" in shown.out
    assert "nanoos tools install MACE" in shown.err


def test_one_of_the_users_own_is_checked(run, probe, monkeypatch):
    monkeypatch.setenv("NANO_OS_PROBE_PYTHON", sys.executable)
    checked = run("tools", "doctor", "--json")
    assert checked.code == 0
    by_name = {tool["name"]: tool for tool in checked.document["tools"]}
    assert by_name["probe"]["status"] == "ok"
    assert by_name["probe"]["version"]
    assert by_name["MACE"]["status"] == "warning"
    assert by_name["MACE"]["hint"] == "nanoos tools install MACE"
    there = run("tools", "install", "probe", "--json")
    assert there.code == 0
    assert there.document["origin"] == "variable"

    monkeypatch.setenv("NANO_OS_PROBE_PYTHON", "/nowhere/python")
    broken = run("tools", "doctor", "--json")
    assert broken.code == 8
    assert broken.document["failed"] == 1


def test_install_failure_is_one_error(run, probe, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    failed = run("tools", "install", "probe", "--json")
    assert failed.code == 8
    assert failed.document["error"]["code"] == "install_failed"
    assert "No matching distribution" in failed.document["error"]["message"]


def test_remove_what_is_not_there(run):
    assert run("tools", "remove", "mace", "--yes").code == 5
    assert run("tools", "remove", "mase").code == 5


def test_doctor_of_everything_has_tools(tmp_path):
    (mace,) = [check for check in check_tools(tmp_path) if check.name == "MACE"]
    assert mace.area == "tools"
    assert mace.status == "warning"
    assert mace.hint == "nanoos tools install MACE"
    assert not list(tmp_path.iterdir()), "looking makes nothing"


def test_models_list_says_what_mace_lacks(monkeypatch):
    monkeypatch.setattr(POTENTIALS, "names", lambda: ["MACE"])  # the others load torch
    (mace,) = models._potentials()
    assert mace["available"] is False
    assert mace["missing"] == "MACE needs the tool MACE (not installed) and weights."
    assert mace["install_command"] == (
        "nanoos tools install MACE, then nanoos models add FILE.model --as MACE"
    )


def test_a_model_file_is_read_only_by_who_trusts_it(run, tmp_path):
    file = tmp_path / "x.model"
    file.write_bytes(b"")
    asked = run("models", "add", file, "--as", "mace", "--json")
    assert asked.code == 2
    assert asked.document["error"]["code"] == "not_confirmed"
    assert run("models", "add", file, "--as", "MACE", stdin="n\n").code == 1
    trusted = run("models", "add", file, "--as", "MACE", "--yes", "--json")
    assert trusted.code == 8
    assert trusted.document["error"]["hint"] == "nanoos tools install MACE"


def test_a_pw_x_of_ones_own_makes_the_tool_unneeded(run, monkeypatch, tmp_path):
    monkeypatch.setattr(program, "_command", program._command)  # put back afterwards
    own = tmp_path / "pw.x"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("NANO_OS_QE_COMMAND", f"{own} -nk 1")
    expected = f"not needed: {own} -nk 1 is run"
    checked = run("tools", "doctor", "--json")
    assert checked.code == 0
    by_name = {tool["name"]: tool for tool in checked.document["tools"]}
    assert by_name["QE"]["status"] == "ok"
    assert by_name["QE"]["message"] == expected
    (of_all,) = [check for check in check_tools(tmp_path) if check.name == "QE"]
    assert of_all.message == expected
    assert of_all.hint is None
    assert "not needed" in run("tools", "list").err
