"""``nanoos kpoints``: lines, a table, inputs; one bad structure stops nothing."""

from math import ceil, pi

import pytest

from nanoos.core.errors import NotFoundError
from nanoos.kpoints.forest_model import FILE, present_forest
from nanoos.potentials.installed_weights import set_weights_folder
from nanoos.pseudopotentials import get_family

KEYS = [
    "file",
    "index",
    "id",
    "formula",
    "model",
    "level",
    "kdist",
    "kdist_lower",
    "kdist_upper",
    "mesh",
    "out_of_domain",
    "error",
]


def test_json_has_one_line_for_each_structure_in_order(run, crystals, tmp_path):
    ran = run("kpoints", crystals, "--json", "--confidence", 0.9)
    assert ran.code == 3, ran.err
    assert [list(line)[: len(KEYS)] for line in ran.lines] == [KEYS] * 5
    assert [line["formula"] for line in ran.lines] == ["MgO", None, "ZnO", "NaCl", "MgO"]
    assert ran.lines[1]["error"]["code"]
    assert ran.lines[1]["mesh"] is None
    assert ran.lines[3]["id"] == "salt"
    oxide = ran.lines[0]
    assert oxide["error"] is None
    assert (oxide["model"], oxide["level"]) == ("RF", 0.9)
    height = 4.25 / 3**0.5
    assert oxide["mesh"] == [ceil(2 * pi / height / oxide["kdist_lower"] - 1e-9)] * 3
    assert not (tmp_path / "data").exists(), "no database is touched"


def test_table_says_what_converged_means_and_names_what_was_refused(run, crystals):
    ran = run("kpoints", crystals)
    assert ran.code == 3
    assert "b_broken.cif [0]:" in ran.err
    assert "ZnO" in ran.out
    assert "0.001 eV" in ran.err


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--confidence", 0.5), 2), (("--model", "RFF"), 5)],
    ids=["a level that was not calibrated", "no such model"],
)
def test_a_wrong_option_is_no_error_of_a_structure(run, crystals, options, code):
    ran = run("kpoints", crystals, "--json", *options)
    assert ran.code == code
    assert '"mesh"' not in ran.out


def test_without_pseudopotentials_the_input_is_refused_and_the_mesh_is_not(run, crystals, tmp_path):
    with pytest.raises(NotFoundError):
        get_family("absent")
    ran = run(
        "kpoints", crystals / "a_MgO.cif", "--json", "--write-input", "--family", "absent",
        "-o", tmp_path / "made",
    )  # fmt: skip
    assert ran.code == 3
    (line,) = ran.lines
    assert line["mesh"]
    assert "absent" in line["error"]["message"]
    assert line["input"] is None


@pytest.fixture
def pseudos(pseudo_folder, monkeypatch):
    monkeypatch.setenv("NANO_OS_PSEUDO_DIR", str(pseudo_folder))


def test_inputs_lie_beside_their_pseudopotentials_and_none_replaces_another(
    run, crystals, pseudos, tmp_path
):
    other = crystals / "other"
    other.mkdir()
    (other / "a_MgO.cif").write_bytes((crystals / "a_MgO.cif").read_bytes())
    made = tmp_path / "not" / "there"
    files = (crystals / "a_MgO.cif", other / "a_MgO.cif")
    ran = run("kpoints", *files, "--json", "--write-input", "-o", made)
    assert ran.code == 0, ran.err
    assert [line["input"] for line in ran.lines] == [
        str(made / "a_MgO_MgO.in"),
        str(made / "a_MgO_MgO_2.in"),
    ]
    text = (made / "a_MgO_MgO.in").read_text()
    assert "pseudo_dir" in text
    assert "./pseudos" in text
    for element in ("Mg", "O"):
        assert f"{element}.upf" in text
        assert (made / "pseudos" / f"{element}.upf").stat().st_size
    told = run("kpoints", *files, "--write-input", "-o", made)
    assert f"2 inputs written to {made}" in told.err
    assert str(other / "a_MgO.cif") in told.out, "files of one name are told apart"


def test_a_folder_that_cannot_be_made_is_the_error_of_each_line(run, crystals, pseudos, tmp_path):
    (tmp_path / "file").write_text("")
    ran = run("kpoints", crystals / "a_MgO.cif", crystals / "c_ZnO.cif", "--json",
              "--write-input", "-o", tmp_path / "file" / "in")  # fmt: skip
    assert ran.code == 3
    assert [line["error"]["code"] for line in ran.lines] == ["unwritable_file"] * 2
    assert all(line["mesh"] for line in ran.lines)


def test_help_keeps_the_brackets_of_json(run):
    assert '"mesh": [n1, n2, n3]' in " ".join(run("kpoints", "--help").out.split())


def test_the_card_is_of_the_weights_that_answer(run, tmp_path, monkeypatch):
    own = tmp_path / "weights"
    own.mkdir()
    (own / FILE).write_bytes(b"no weights")
    config = tmp_path / "nanoos.toml"
    config.write_text(f'models_dir = "{own}"\n')
    monkeypatch.setenv("NANO_OS_CONFIG_FILE", str(config))
    present_forest.cache_clear()
    try:
        shown = run("models", "show", "kpoints_rf")
        assert not shown.out, "the shipped one does not answer"
        assert FILE in shown.err
        (line,) = run("models", "list", "--json").document["kpoint_models"][:1]
        assert FILE in line["unavailable_reason"]
    finally:
        set_weights_folder(None)
        present_forest.cache_clear()


def test_weights_of_k_points_have_cards(run):
    shown = run("models", "show", "kpoints_rf")
    assert "# kpoints_rf, version" in shown.out
    assert run("models", "show", "kpoints_alignn", "--json").document["name"] == "ALIGNN"
    names = [one["name"] for one in run("models", "list", "--json").document["kpoint_models"]]
    assert names[:2] == ["RF", "ALIGNN"]
    refused = run("models", "pull", "kpoints-goldilocks-ALIGNNd")
    assert refused.code == 8
    assert "pickles" in refused.err
