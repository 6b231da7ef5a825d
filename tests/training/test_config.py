"""Training configurations: what is refused, and how clearly."""

from pathlib import Path

import pytest
from labelled import small_config

from nanoos.core.errors import ConfigError, NotFoundError
from nanoos.training.config import load_training_config, parse_training_config
from nanoos.training.network import network_parameters

LEAST = {"name": "a", "dataset": "b", "target": "bandgap"}


def test_defaults_are_those_of_the_contract():
    config = parse_training_config(LEAST)
    found = (config.epochs, config.batch_size, config.learning_rate, config.hidden_dim)
    assert found == (100, 32, 1e-3, 128)
    assert (config.num_layers, config.dropout, config.split) == (3, 0.1, "composition")
    assert config.target_weights == {"bandgap": 1.0}


def test_targets_may_be_a_list_or_have_weights():
    document = LEAST | {"target": ["a", "b"]}
    assert parse_training_config(document).target_weights == {"a": 1.0, "b": 1.0}
    document = LEAST | {"target": {"a": 2.0, "b": 0.5}}
    assert parse_training_config(document).target_weights == {"a": 2.0, "b": 0.5}


def test_a_configuration_survives_its_document():
    config = small_config(targets={"volume": 2.0}, precision=32)
    assert type(config).model_validate(config.document()) == config
    assert config.sha256() != small_config(targets={"volume": 3.0}, precision=32).sha256()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"model": "GPT"}, "model"),
        ({"target": {"bandgap": -1}}, "target: expected"),
        ({"target": []}, "target: expected"),
        ({"name": "a/b"}, "name"),
        ({"freeze_trunk": True}, "freeze_trunk"),
        ({"n_processes": 64}, "n_processes"),
        ({"log_targets": ["mass"]}, "log_targets"),
        ({"precision": 16, "device": "cpu"}, "precision"),
    ],
)
def test_a_bad_value_names_its_key(changes, key):
    with pytest.raises(ConfigError, match=key):
        parse_training_config(LEAST | changes)


def test_an_unknown_key_gets_the_nearest_one():
    with pytest.raises(ConfigError, match="learning_rat:") as caught:
        parse_training_config(LEAST | {"learning_rat": 1})
    assert "'learning_rate'" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"parameters": {"width": 3}}, "parameters.width"),
        ({"parameters": {"cutoff": "far"}}, "parameters.cutoff"),
        ({"parameters": {"cutoff": -1.0}}, "parameters.cutoff"),
        ({"parameters": {"cutoff": float("nan")}}, "parameters.cutoff"),
        ({"model": "ALIGNN", "hidden_dim": 30, "parameters": {}}, "hidden_dim"),
    ],
    ids=["unknown", "no_number", "negative", "nan", "no_multiple"],
)
def test_a_bad_hyper_parameter_names_its_key(changes, key):
    with pytest.raises(ConfigError, match=key):
        network_parameters(small_config(**changes))


def test_paths_in_a_file_are_taken_from_its_folder(tmp_path: Path):
    (tmp_path / "rows.parquet").touch()
    file = tmp_path / "train.yaml"
    file.write_text("name: a\ndataset: rows.parquet\ntarget: bandgap\n")
    assert load_training_config(file).dataset == str(tmp_path / "rows.parquet")
    for name in ("elsewhere", "x" * 300, "~nobody-of-this-name/rows.parquet"):
        file.write_text(f"name: a\ndataset: {name}\ntarget: bandgap\n")
        assert load_training_config(file).dataset == name


def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path):
    file = tmp_path / "train.yaml"
    with pytest.raises(NotFoundError):
        load_training_config(file)
    for text in ("a: [", "- 1\n", "\xff"):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(ConfigError):
            load_training_config(file)


def test_the_shipped_examples_are_good():
    found = list((Path(__file__).parents[2] / "examples").glob("train_*.yaml"))
    assert found
    for path in found:
        assert load_training_config(path).name
