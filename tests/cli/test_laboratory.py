"""``init``, ``config``, ``db``, ``users``, ``keys``, ``doctor``, ``models``, ``relax``, campaigns."""

import pytest

from nanoos.structures import read_structure

PASSWORD = "correct horse battery"


def test_init_says_what_it_made_and_may_be_repeated(run, tmp_path):
    first = run("init", "--json").document
    assert first["created"] == ["data folder", "secret key", "database"]
    assert first["data_dir"] == str(tmp_path / "data")
    assert run("init", "--json").document["created"] == []
    assert "schema" in run("init").out


def test_config_shows_values_and_origins_and_hides_secrets(run, monkeypatch):
    monkeypatch.setenv("NANO_OS_DATABASE_URL", "postgresql://ana:hunter2@db/lab")
    monkeypatch.setenv("NANO_OS_SECRET_KEY", "hunter2")
    ran = run("config", "show", "--json")
    assert "hunter2" not in ran.out
    settings = ran.document["settings"]
    assert settings["database_url"]["origin"] == "environment (NANO_OS_DATABASE_URL)"
    assert settings["port"] == {"value": 8000, "origin": "default"}
    assert "hunter2" not in run("config", "show").out


def test_db_up_and_down(lab):
    state = lab("db", "current", "--json").document
    assert state["up_to_date"]
    assert lab("db", "downgrade", "base", stdin="n\n").code == 1
    down = lab("db", "downgrade", "base", "--yes", "--json").document
    assert (down["current"], down["up_to_date"]) == (None, False)
    assert lab("db", "upgrade", "--json").document == state
    assert lab("db", "upgrade", "nowhere").code == 5


def test_an_unreachable_database_is_a_clear_error(run, monkeypatch):
    monkeypatch.setenv("NANO_OS_DATABASE_URL", "postgresql://a:hunter2@127.0.0.1:1/x")
    for command in (("jobs", "list"), ("db", "current")):
        ran = run(*command)
        assert ran.code == 8
        assert "did not answer" in ran.err
        assert "hunter2" not in ran.err


def test_users_from_creation_to_the_locked_door(lab):
    made = lab("users", "create", "ana", "--admin", "--password-stdin", "--json", stdin=PASSWORD)
    assert made.document["role"] == "admin"
    assert PASSWORD not in made.out
    assert lab("users", "create", "ana", "--password-stdin", stdin=PASSWORD).code == 6
    assert lab("users", "create", "bob", "--password-stdin", stdin=PASSWORD).code == 0
    assert lab("users", "passwd", "bob", "--password-stdin", stdin="short").code == 2
    assert lab("users", "disable", "bob", "--json").document["is_active"] is False
    assert lab("users", "enable", "bob", "--json").document["is_active"] is True
    names = {user["username"] for user in lab("users", "list", "--json").document["items"]}
    assert {"ana", "bob"} <= names
    assert lab("users", "disable", "carl").code == 5


def test_a_password_is_never_asked_for_without_a_terminal(lab):
    ran = lab("users", "create", "ana")
    assert ran.code == 2
    assert "--password-stdin" in ran.err


def test_keys_are_shown_once_and_can_be_revoked(lab):
    made = lab("keys", "create", "robot", "--scope", "read", "--expires-days", "3", "--json")
    key = made.document["key"]
    assert made.document["scopes"] == ["read"]
    listed = lab("keys", "list", "--json")
    assert key not in listed.out
    assert listed.document["items"][0]["id"] == made.document["id"]
    assert lab("keys", "revoke", "robot", "--json").document == {"revoked": made.document["id"]}
    assert lab("keys", "revoke", "robot").code == 5
    assert lab("keys", "create", "x", "--scope", "everything").code == 2


def test_doctor_on_a_healthy_laboratory(lab, monkeypatch):
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.setenv("NANO_OS_VASP_COMMAND", "absent_vasp")
    ran = lab("doctor", "--json")
    assert ran.code == 0, ran.out
    checks = {(check["area"], check["name"]): check for check in ran.document["checks"]}
    assert checks["database", "schema"]["status"] == "ok"
    assert checks["models", "potential CHGNet"]["status"] == "ok"
    assert checks["models", "engine LJ"]["status"] == "ok"
    vasp = checks["models", "engine VASP"]
    assert vasp["status"] == "warning"
    assert "'absent_vasp'" in vasp["message"]
    assert "NANO_OS_VASP_COMMAND" in vasp["hint"]
    assert checks["jobs", "queues"]["status"] == "ok"
    assert "torch" in checks["packages", "ml"]["message"]


def test_doctor_fails_where_something_is_broken_and_says_what_mends_it(lab, monkeypatch):
    lab("db", "downgrade", "base", "--yes")
    monkeypatch.setenv("NANO_OS_BROKER_URL", "redis://:hunter2@127.0.0.1:1/0")
    ran = lab("doctor")
    assert ran.code == 8
    assert "nanoos db upgrade" in ran.err
    assert "NANO_OS_BROKER_URL" in ran.err
    assert "hunter2" not in ran.out + ran.err


def test_models_list_and_show(run):
    document = run("models", "list", "--json").document
    names = {model["name"] for model in document["models"]}
    assert {"CHGNet", "STUB"} <= names
    assert "STUB" not in document["default"].values()
    assert {row["name"] for row in document["potentials"]} >= {"CHGNet", "LJ", "SevenNet"}
    assert run("models", "show", "CHGNet", "--json").document["test_error"]["formation_energy"]
    assert "level of theory" in run("models", "show", "CHGNet").out
    assert "'CHGNet'" in run("models", "show", "chgnt").err


def test_references_are_built_for_what_is_asked(run, tmp_path):
    target = tmp_path / "refs.json"
    ran = run("models", "references", "build", "LJ", "--element", "Cu", "-o", target, "--json")
    assert ran.code == 0, ran.err
    assert [row["element"] for row in ran.document["references"]] == ["Cu"]
    assert target.is_file()


def test_relax_writes_the_crystal_and_says_what_moved(run, crystals, tmp_path):
    target = tmp_path / "relaxed.cif"
    file = crystals / "a_MgO.cif"
    ran = run("relax", file, "-o", target, "--potential", "LJ", "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert document["energy_ev_per_atom"]["after"] < document["energy_ev_per_atom"]["before"]
    assert document["max_force_ev_a"] <= 0.01
    assert document["space_group"]["before"] == document["space_group"]["after"]
    written = read_structure(target)
    assert written.volume == pytest.approx(document["volume_a3"]["after"])
    table = run("relax", file, "--potential", "LJ", "--fix-cell")
    assert "volume, Å³" in table.out
    assert "Not written" in table.err


def test_relax_refuses_before_it_computes(run, crystals, tmp_path):
    assert run("relax", crystals / "a_MgO.cif", "-o", tmp_path / "x.unknown").code == 2
    assert run("relax", crystals / "b_broken.cif", "-p", "LJ").code == 3
    assert run("relax", crystals / "d_two.extxyz", "-p", "LJ").code == 3
    assert run("relax", tmp_path / "absent.cif", "-p", "LJ").code == 5


def test_relax_takes_many_and_lists_what_failed(run, crystals, tmp_path):
    target = tmp_path / "relaxed.extxyz"
    good, broken = crystals / "a_MgO.cif", crystals / "b_broken.cif"
    ran = run("relax", good, broken, "-o", target, "--potential", "LJ", "--json")
    assert ran.code == 3, ran.err
    first, second = ran.document["items"]
    assert first["error"] is None
    assert first["steps"] > 0
    assert second["structure"] is None
    assert second["error"]["message"]
    assert read_structure(target).volume == pytest.approx(first["volume_a3"], rel=1e-5)
    table = run("relax", good, broken, "--potential", "LJ")
    assert "why not" in table.out


def test_campaigns_where_there_are_none(lab):
    assert lab("campaigns", "list", "--json").document == {"items": [], "total": 0, "next": None}
    assert lab("campaigns", "show", "abcdef").code == 5
    assert lab("campaigns", "pause", "abcdef").code == 5
