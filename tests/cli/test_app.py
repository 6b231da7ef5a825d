"""The root command: what it loads, its errors, its exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanoos.cli import app as app_module
from nanoos.cli.app import COMMANDS, command_group, main
from nanoos.core.errors import NanoosError, NotFoundError

HEAVY = {"torch", "pymatgen", "sqlalchemy", "fastapi", "celery", "numpy", "ase", "botorch"}

NO_JSON = {"serve", "worker"}
"""Commands that run until they are stopped and answer nothing."""


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stderr.split()}


def test_help_loads_nothing_heavy():
    assert not loaded_by("from nanoos.cli import main\nassert main(['--help']) == 0") & HEAVY


def test_help_of_a_command_loads_nothing_heavy():
    code = "from nanoos.cli import main\nassert main(['predict', '--help']) == 0"
    assert not loaded_by(code) & HEAVY


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import nanoos") & HEAVY


def all_commands():
    """Name path and command of every leaf."""
    group = command_group()
    for name in group.commands:
        _, command, _ = group.resolve_command(None, [name])
        yield from leaves([name], command)


def leaves(path, command):
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from leaves([*path, name], child)
    else:
        yield path, command


def test_every_command_is_documented_and_speaks_json():
    seen = 0
    for path, command in all_commands():
        seen += 1
        assert command.help, path
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) is (path[0] not in NO_JSON), path
        for parameter in command.params:
            assert getattr(parameter, "help", None), (path, parameter.name)
    assert seen > 30


def test_every_line_of_the_table_is_in_the_help(run):
    shown = run("--help").out
    for command in COMMANDS:
        assert command.name in shown
        assert command.help in " ".join(shown.split())


def test_version(run):
    assert run("--version").out.startswith("nanoos 0.")


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["predikt"], "'predict'"),
        (["jobs", "lst"], "'list'"),
        (["jobs", "list", "--stat"], "--state"),
    ],
)
def test_a_misspelling_is_answered_with_the_nearest_name(run, arguments, nearest):
    ran = run(*arguments)
    assert ran.code == 2
    assert nearest in ran.err
    assert ran.out == ""


def test_usage_errors_are_json_where_json_is_asked_for(run):
    ran = run("jobs", "show", "--json")
    assert ran.code == 2
    assert ran.document["error"]["code"] == "usage"


def raising(error):
    def command_group():
        class Group:
            def main(self, **_kwargs):
                raise error

        return Group()

    return command_group


def test_an_error_of_the_tree_gives_message_hint_and_its_exit_code(run, monkeypatch):
    error = NotFoundError("It is not there.", hint="Look elsewhere.")
    monkeypatch.setattr(app_module, "command_group", raising(error))
    ran = run("x")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err == "Error: It is not there.\nHint: Look elsewhere.\n"
    assert run("x", "--json").document == {"error": error.as_dict()}


def test_a_defect_is_one_line_and_says_how_to_see_more(run, monkeypatch):
    monkeypatch.setattr(app_module, "command_group", raising(RuntimeError("two\nlines")))
    ran = run("x")
    assert ran.code == NanoosError.exit_code
    assert "Traceback" not in ran.err
    assert "RuntimeError: two" in ran.err
    assert "NANO_OS_DEBUG=1" in ran.err
    monkeypatch.setenv("NANO_OS_DEBUG", "1")
    assert "Traceback" in run("x").err


def test_interruption_is_130_without_a_traceback(run, monkeypatch):
    monkeypatch.setattr(app_module, "command_group", raising(KeyboardInterrupt()))
    ran = run("x")
    assert ran.code == 130
    assert "Traceback" not in ran.err


def test_interruption_inside_a_command_is_130(run, monkeypatch):
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("nanoos.config.load_settings", interrupted)
    assert run("config", "show").code == 130


def test_a_closed_pipe_is_quiet(tmp_path):
    command = f"{sys.executable} -m nanoos config show --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NANO_OS_DATA_DIR": str(tmp_path)},
    )
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}


def test_closed_pipe_inside_a_command(run, monkeypatch, tmp_path):
    def closed(*_args, **_kwargs):
        raise BrokenPipeError

    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr("nanoos.config.load_settings", closed)
        monkeypatch.setattr("sys.stdout", out)
        assert main(["config", "show"]) == 141


def test_a_bad_setting_names_itself(run, monkeypatch):
    monkeypatch.setenv("NANO_OS_PORT", "many")
    ran = run("config", "show")
    assert ran.code == 2
    assert "NANO_OS_PORT" in ran.err


def test_completion_knows_the_commands(tmp_path):
    done = subprocess.run(
        [Path(sys.executable).parent / "nanoos"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_NANOOS_COMPLETE": "complete_bash",
            "COMP_WORDS": "nanoos jobs ca",
            "COMP_CWORD": "2",
        },
    )
    assert done.stdout.split() == ["cancel"], done.stderr
