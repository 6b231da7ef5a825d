"""The search of hyper-parameters: resumable, and blind for test rows."""

import pytest
from labelled import small_config

from nanoos.core.errors import CancelledError, ConfigError
from nanoos.training.search import Search

SPACE = {
    "learning_rate": lambda trial: trial.suggest_float("learning_rate", 1e-7, 1e-2, log=True),
    "hidden_dim": lambda trial: trial.suggest_categorical("hidden_dim", [8, 16]),
}


def test_a_search_finds_better_values_and_can_be_resumed(crystals, tmp_path):
    config = small_config(epochs=2)

    def cancel(fraction: float, _message: str) -> None:
        if fraction > 0.6:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        Search(config, crystals, tmp_path, space=SPACE).run(3, report=cancel)
    search = Search(config, crystals, tmp_path, space=SPACE)
    assert 1 <= search.finished() < 3
    best = search.run(3, report=lambda *_: None)
    assert search.finished() == 3
    values = [trial.value for trial in search.trials() if trial.value is not None]
    chosen = min(
        (trial for trial in search.trials() if trial.value is not None), key=lambda t: t.value
    )
    assert min(values) < max(values)
    assert best.learning_rate == chosen.params["learning_rate"]
    assert best.hidden_dim == chosen.params["hidden_dim"]
    assert best.name == config.name


def test_a_forest_has_nothing_to_search(crystals, tmp_path):
    with pytest.raises(ConfigError):
        Search(small_config(model="RandomForest", parameters={}), crystals, tmp_path)
