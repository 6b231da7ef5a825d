"""``nanoos pseudos`` as a person and a script use it."""

import tarfile

import pytest

from nanoos.pseudopotentials import DEFAULT_FAMILY, set_pseudo_folder

HEADER = (
    b'<PP_HEADER element="Si" pseudo_type="NC" relativistic="scalar" functional="PBE" '
    b'z_valence="4.0" is_paw="F" is_ultrasoft="F" wfc_cutoff="30.0" />\n'
)


@pytest.fixture(autouse=True)
def _forget():
    yield
    set_pseudo_folder(None)


@pytest.fixture
def packed(tmp_path):
    (tmp_path / "Si.upf").write_bytes(HEADER)
    path = tmp_path / "mine.tar.gz"
    with tarfile.open(path, "w:gz") as out:
        out.add(tmp_path / "Si.upf", "Si.upf")
    return path


def test_list_says_what_can_be_installed(run):
    listed = run("pseudos", "list", "--json")
    assert listed.code == 0
    by_name = {family["name"]: family for family in listed.document["families"]}
    assert by_name[DEFAULT_FAMILY]["installed"] is False
    assert by_name[DEFAULT_FAMILY]["license"] == "CC-BY-4.0"
    assert "nanoos pseudos install" in run("pseudos", "list").err


def test_install_show_and_remove(run, packed, tmp_path):
    installed = run("pseudos", "install", packed, "--name", "mine", "--license", "MIT", "--json")
    assert installed.code == 0
    assert installed.document["name"] == "mine"
    assert installed.document["folder"] == str(tmp_path / "data" / "pseudos" / "mine")
    shown = run("pseudos", "list", "MINE", "--json").document
    assert shown["pseudos"]["Si"]["cutoffs"]["normal"] == {"wfc_ry": 30.0, "rho_ry": 120.0}
    assert "30 / 30 / 30" in run("pseudos", "list", "mine").out
    assert run("pseudos", "remove", "mine", "--json").document["name"] == "mine"
    assert run("pseudos", "remove", "mine", "--yes").code == 5


def test_the_setting_says_where(run, packed, monkeypatch, tmp_path):
    monkeypatch.setenv("NANO_OS_PSEUDO_DIR", str(tmp_path / "there"))
    run("pseudos", "install", packed, "--name", "mine", "--json")
    assert (tmp_path / "there" / "mine" / "family.json").is_file()


def test_a_wrong_name_is_one_error(run):
    failed = run("pseudos", "install", "PseudoDogo", "--json")
    assert failed.code == 5
    assert DEFAULT_FAMILY in failed.document["error"]["hint"]
