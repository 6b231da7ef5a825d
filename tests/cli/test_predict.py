"""``nanoos predict``: lines, tables, files; one bad structure stops nothing."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from stored_models import add_model

from nanoos.cli.predictions import BATCH_STRUCTURES, predict_outcomes
from nanoos.core.errors import InvalidInputError
from nanoos.core.records import Prediction, PropertyValue, Provenance
from nanoos.models import MODEL_REGISTRY
from nanoos.structures import iter_structures, write_structures
from nanoos.testing.crystals import rocksalt

KEYS = ["file", "index", "id", "formula", "model", "model_version", "properties", "error"]


class Calibrated:
    """Predicts the volume of the cell; refuses zinc; breaks on salt."""

    name, version = "VOLUME", "2"

    def __init__(self):
        self.batches = []

    def info(self):
        from nanoos.models import ModelInfo

        return ModelInfo(
            name=self.name,
            version=self.version,
            available=True,
            description="",
            supported_properties=("cell_volume",),
            not_for_decisions=False,
        )

    def predict(self, structures, *, ids=None):
        self.batches.append(len(structures))
        if any("Zn" in structure.species for structure in structures):
            raise InvalidInputError("Zinc is not covered.", code="uncovered_element")
        if any("Cl" in structure.species for structure in structures):
            raise ZeroDivisionError("salt")
        return [self._one(structure) for structure in structures]

    def _one(self, structure):
        value = PropertyValue(
            value=structure.volume,
            unit="Å^3",
            sigma=1.5,
            quantiles={0.8: (1.0, 2.0), 0.9: (0.0, 4.0)},
            confidence=0.7,
            out_of_domain=True,
        )
        return Prediction(
            properties={"cell_volume": value},
            provenance=Provenance(producer=self.name, version=self.version),
        )


@pytest.fixture
def calibrated():
    """A model with intervals, registered for the test."""
    model = Calibrated()
    MODEL_REGISTRY.register("VOLUME", lambda: model)
    yield model
    MODEL_REGISTRY.unregister("VOLUME")


def test_lines_in_input_order_with_the_contracts_keys(run, crystals, calibrated):
    ran = run("predict", crystals, "--model", "volume", "--level", "0.85", "--json")
    assert ran.code == 3
    assert [list(line) for line in ran.lines] == [KEYS] * 5
    assert [line["formula"] for line in ran.lines] == ["MgO", None, "ZnO", "NaCl", "MgO"]
    assert [line["id"] for line in ran.lines[3:]] == ["salt", "oxide"]
    good = ran.lines[0]
    assert (good["model"], good["model_version"], good["error"]) == ("VOLUME", "2", None)
    value = good["properties"]["cell_volume"]
    assert value.pop("value") == pytest.approx(rocksalt().volume)
    assert value == {
        "unit": "Å^3",
        "sigma": 1.5,
        "lower": pytest.approx(0.5),
        "upper": pytest.approx(3.0),
        "level": 0.85,
        "confidence": 0.7,
        "out_of_domain": True,
    }
    codes = [line["error"] and line["error"]["code"] for line in ran.lines]
    assert codes == [None, "missing_lattice", "uncovered_element", "model_failed", None]
    assert all(set(line["error"]) == {"code", "message"} for line in ran.lines if line["error"])


def test_an_uncalibrated_level_gives_null_bounds(run, crystals, calibrated):
    line = run(
        "predict", crystals / "a_MgO.cif", "-m", "VOLUME", "--level", "0.99", "--json"
    ).document
    assert line["properties"]["cell_volume"]["lower"] is None


def test_without_a_refusal_the_exit_code_is_0_and_nothing_is_stored(
    run, crystals, tmp_path, monkeypatch
):
    monkeypatch.setenv("NANO_OS_DATA_DIR", str(tmp_path / "untouched"))
    ran = run("predict", crystals / "a_MgO.cif", "--model", "STUB", "--json")
    assert ran.code == 0
    assert ran.document["not_for_decisions"] is True
    assert not (tmp_path / "untouched").exists()


def test_the_table_names_units_uncertainty_and_flags(run, crystals, calibrated):
    ran = run("predict", crystals, "--model", "VOLUME")
    assert ran.code == 3
    assert "cell volume" in ran.out
    assert "Å^3" in ran.out
    assert "19.2 ± 1.5!" in ran.out  # as many digits as sigma supports, marked
    assert "! marks a number that is outside the domain of its model." in ran.err
    assert "b_broken.cif" in ran.err
    assert "ZeroDivisionError" in ran.err
    assert "\x1b" not in ran.out


class Verbose(Calibrated):
    """Predicts what a narrow terminal cannot show together, in an order of its own."""

    name = "VERBOSE"
    names = ("refractive_index", "last_phonon_peak", "shear_modulus", "bandgap", "is_metal")

    def info(self):
        return replace(super().info(), supported_properties=self.names)

    def predict(self, structures, *, ids=None):
        del ids
        values = {
            name: PropertyValue(value=100.0 + place, unit="1", sigma=0.0001, out_of_domain=False)
            for place, name in enumerate(self.names)
        }
        warned = tuple(f"Outside the domain (bandgap): reason {i}." for i in range(3))
        made_by = Provenance(producer=self.name, version=self.version)
        return [
            Prediction(properties=values, provenance=made_by, notes=(*warned, "Read this."))
            for _ in structures
        ]


@pytest.fixture
def verbose():
    """A model of five properties, registered for the test."""
    model = Verbose()
    MODEL_REGISTRY.register("VERBOSE", lambda: model)
    yield model
    MODEL_REGISTRY.unregister("VERBOSE")


def test_a_narrow_terminal_shows_what_is_asked_first_and_names_the_rest(
    run, crystals, verbose, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("predict", crystals / "a_MgO.cif", "-m", "VERBOSE")
    assert "bandgap" in ran.out
    assert "100.000 ± <0.001" not in ran.out  # the refractive index has to give way
    assert "103.000 ± <0.001" in ran.out
    assert ran.out.index("bandgap") < ran.out.index("modulus")
    assert "Not shown for want of room: is metal, refractive index, last phonon peak." in ran.err
    assert "a_MgO.cif: Outside the domain (bandgap): reason 2." in ran.err
    assert ran.err.count("Note: Read this.") == 1


def test_many_reasons_are_counted_and_stand_in_the_json(run, crystals, verbose):
    many = [crystals / "a_MgO.cif"] * 3
    ran = run("predict", *many, "-m", "VERBOSE")
    assert "9 reasons for that" in ran.err
    assert "reason 2" not in ran.err
    line = run("predict", many[0], "-m", "VERBOSE", "--json").document
    assert line["notes"][0] == "Outside the domain (bandgap): reason 0."
    assert list(line["properties"])[:2] == ["bandgap", "is_metal"]


def test_csv_and_json_files(run, crystals, calibrated, tmp_path):
    ran = run(
        "predict", crystals, "-m", "VOLUME", "--csv", tmp_path / "p.csv", "-o", tmp_path / "p.jsonl"
    )
    assert ran.code == 3
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert float(rows[0]["cell_volume (Å^3)"]) == pytest.approx(rocksalt().volume)
    assert rows[0]["cell_volume sigma"] == "1.5"
    assert rows[2]["error_code"] == "uncovered_element"
    assert rows[2]["cell_volume (Å^3)"] == ""
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 0, 0, 0, 1]


def test_a_csv_of_refusals_only_still_has_its_rows(run, crystals, tmp_path):
    run("predict", crystals / "b_broken.cif", "-m", "STUB", "--csv", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["error_code"] == "missing_lattice"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "STBU"], 5, "'STUB'"),
        (["--model", "STUB", "--property", "bandgp"], 2, "'bandgap'"),
        (["--property", "colour"], 2, "formation_energy"),
        (["--model", "STUB", "--level", "1.5"], 2, "between 0 and 1"),
        (["--model", "STUB", "--csv", "/absent/folder/x.csv"], 2, "cannot be written"),
    ],
)
def test_mistakes_are_told_before_anything_is_predicted(run, crystals, arguments, code, words):
    ran = run("predict", crystals, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


def test_only_the_properties_asked_for(run, crystals):
    ran = run("predict", crystals / "a_MgO.cif", "-m", "STUB", "-p", "bandgap", "--json")
    assert set(ran.document["properties"]) == {"bandgap"}


def test_many_frames_go_in_batches_and_stream(calibrated, tmp_path):
    n = 2 * BATCH_STRUCTURES + 3
    write_structures([rocksalt(4.0 + 0.01 * i) for i in range(n)], tmp_path / "many.extxyz")
    read = []

    def reading():
        for outcome in iter_structures(tmp_path / "many.extxyz"):
            read.append(outcome.index)
            yield outcome

    lines = predict_outcomes(reading(), calibrated_predictor(calibrated))
    next(lines)
    assert len(read) == BATCH_STRUCTURES + 1
    assert [line.index for line in lines] == list(range(1, n))
    assert calibrated.batches == [BATCH_STRUCTURES, BATCH_STRUCTURES, 3]


def calibrated_predictor(model):
    from nanoos.cli.predictions import ModelPredictor

    return ModelPredictor(model)


def test_saved_predictions_are_computed_once(lab, crystals):
    first = lab("predict", crystals / "a_MgO.cif", "-m", "STUB", "--save", "--json").document
    again = lab("predict", crystals / "a_MgO.cif", "-m", "STUB", "--save", "--json").document
    assert first["properties"] == again["properties"]
    stored = lab("show", "MgO", "--json").document
    assert len(stored["predictions"]) == 1
    value = stored["predictions"][0]["properties"]["bandgap"]["value"]
    assert value == first["properties"]["bandgap"]["value"]


@pytest.fixture
def networks(services, tmp_path):
    """The laboratory has small networks of its own, active."""
    return add_model(services, tmp_path / "weights", targets=("bandgap", "formation_energy"))


def test_the_active_weights_of_the_laboratory_answer(lab, networks, crystals):
    line = lab("predict", crystals / "a_MgO.cif", "-m", "cgcnn", "--json").document
    assert line["model"] == "CGCNN"
    gap = line["properties"]["bandgap"]
    assert gap["lower"] <= gap["value"] <= gap["upper"]
    own = lab("predict", crystals / "a_MgO.cif", "-m", "mine_bandgap", "--json").document
    assert own["model"] == "mine_bandgap"
    assert own["properties"] == {"bandgap": gap}
    only = lab("predict", crystals / "a_MgO.cif", "-p", "bandgap", "--json").document
    assert set(only["properties"]) == {"bandgap"}


def test_saved_predictions_go_in_batches_with_their_refusals(lab, networks, crystals):
    ran = lab("predict", crystals, "-m", "CGCNN", "--save", "--json")
    assert ran.code == 3
    assert [line["formula"] for line in ran.lines] == ["MgO", None, "ZnO", "NaCl", "MgO"]
    again = lab("predict", crystals, "-m", "CGCNN", "--json")
    for saved, computed in zip(ran.lines, again.lines, strict=True):
        for name, value in saved["properties"].items():
            assert value["value"] == pytest.approx(computed["properties"][name]["value"], abs=1e-4)


def test_explanations_add_up(lab, networks, crystals):
    ran = lab("predict", crystals / "d_two.extxyz", "-p", "formation_energy", "--explain", "--json")
    assert ran.code == 0
    for line, elements in zip(ran.lines, ({"Na", "Cl"}, {"Mg", "O"}), strict=True):
        (reason,) = line["explanations"].values()
        assert set(reason["elements"]) == elements
        assert sum(reason["atoms"]) == pytest.approx(reason["value"] - reason["baseline"])
    table = lab("predict", crystals / "d_two.extxyz", "--explain")
    assert "contributions of the elements" in table.out
    assert "Na " in table.out
    assert lab("predict", crystals, "-m", "STUB", "--explain").code == 2


def test_a_database_that_cannot_be_read_is_said_and_models_come_as_shipped(run, crystals, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nanoos.db").write_bytes(b"")
    ran = run("predict", crystals / "a_MgO.cif", "-m", "STUB", "--json")
    assert ran.code == 0
    assert "as shipped" in ran.err


@pytest.mark.usefixtures("no_shipped_models")
def test_monitoring_of_the_active_models(lab, networks, services):
    document = lab("models", "monitor", "--json").document
    names = {model["name"] for model in document["models"]}
    assert names >= {"mine_bandgap", "mine_formation_energy"}
    assert "mine_bandgap" in lab("models", "monitor", "mine_bandgap").out
    checks = lab("doctor", "--json").document["checks"]
    (alerts,) = [check for check in checks if check["name"] == "alerts"]
    assert alerts["status"] == "ok"


def test_a_network_predicts_without_loading_what_it_does_not_need(
    settings, networks, crystals, tmp_path
):
    heavy = (
        "botorch",
        "chgnet",
        "e3nn",
        "lightning",
        "matgl",
        "pandas",
        "pymatgen.core",
        "sklearn",
    )
    script = (
        "import sys\n"
        "from nanoos.cli import main\n"
        f"code = main(['predict', {str(crystals / 'a_MgO.cif')!r}, '-m', 'CGCNN', '--json'])\n"
        f"print([name for name in {heavy!r} if name in sys.modules], code)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.splitlines()[-1] == "[] 0", ran.stdout + ran.stderr
