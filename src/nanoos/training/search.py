"""Search of hyper-parameters with Optuna: hopeless trials end early, and it can be resumed."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nanoos.core.errors import ConfigError, TrainingError
from nanoos.datasets.dataset import Dataset
from nanoos.training.config import TrainingConfig
from nanoos.training.data import Progress
from nanoos.training.run import train_model

SPACE: Final[Mapping[str, Callable[[optuna.Trial], Any]]] = {
    "learning_rate": lambda trial: trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
    "weight_decay": lambda trial: trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
    "dropout": lambda trial: trial.suggest_float("dropout", 0.0, 0.3),
    "hidden_dim": lambda trial: trial.suggest_categorical("hidden_dim", [32, 64, 128, 256]),
    "num_layers": lambda trial: trial.suggest_int("num_layers", 2, 5),
    "batch_size": lambda trial: trial.suggest_categorical("batch_size", [16, 32, 64, 128]),
}
"""Key of the configuration to how a trial chooses it."""

_DONE: Final = (TrialState.COMPLETE, TrialState.PRUNED)
_FIRST_TRIALS: Final = 5
"""So many trials run before any is ended early."""


class Search:
    """A search that lives in a folder; the same configuration and data go on with it.

    Trials are judged by the loss on validation rows; test rows are never looked at.

    Args:
        config: What to train; the search changes the keys of ``space``.
        dataset: Structures with labels.
        folder: Of all searches.
        space: As :data:`SPACE`.

    Raises:
        ConfigError: the model has nothing to search.
    """

    def __init__(
        self,
        config: TrainingConfig,
        dataset: Dataset,
        folder: Path,
        *,
        space: Mapping[str, Callable[[optuna.Trial], Any]] = SPACE,
    ) -> None:
        if config.model == "RandomForest" or config.n_processes > 1 or config.init_from:
            raise ConfigError(
                "A search is for new networks that one process trains.",
                hint="Leave init_from and n_processes out; use CGCNN or ALIGNN.",
            )
        self._config = config
        self._dataset = dataset
        self._space = space
        words = [config.document(), dataset.sha256, sorted(space)]
        key = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]
        self._folder = folder / f"{config.name}_{key}"
        self._folder.mkdir(parents=True, exist_ok=True)
        logging.getLogger("optuna").setLevel(logging.WARNING)
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(self._folder / "trials.log"))),
            study_name=config.name,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=_FIRST_TRIALS),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST_TRIALS, n_warmup_steps=2),
        )

    def finished(self) -> int:
        """Trials that came to an end."""
        return len(self._study.get_trials(deepcopy=False, states=_DONE))

    def best_values(self) -> dict[str, Any]:
        """What the best trial chose."""
        return dict(self._study.best_params)

    def run(self, trials: int, *, report: Progress) -> TrainingConfig:
        """Go on until ``trials`` have finished; the configuration of the best.

        Args:
            trials: Of this call and earlier ones together.
            report: Told the progress; may raise to end the search, which can be gone on with.

        Raises:
            TrainingError: every trial failed.
        """
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)  # its process is gone
            self._study.enqueue_trial(trial.params)
        while (done := self.finished()) < trials:
            failed = len(self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,)))
            if failed > trials:
                raise TrainingError("Every trial of the search failed.")

            def of_all(fraction: float, message: str, done: int = done) -> None:
                report((done + fraction) / trials, f"trial {done + 1} of {trials}, {message}")

            self._trial(of_all)
        return self._config.model_copy(update=self.best_values())

    def _trial(self, report: Progress) -> None:
        trial = self._study.ask()
        chosen = {key: choose(trial) for key, choose in self._space.items()}
        config = self._config.model_copy(update={**chosen, "ensemble": 1})
        name = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]

        def watch(record: Mapping[str, Any]) -> bool:
            trial.report(record["val_loss"], record["epoch"])
            return trial.should_prune()

        try:
            result = train_model(
                config,
                self._dataset,
                run_dir=self._folder / name,
                graphs_dir=self._folder / "graphs",
                report=report,
                watch=watch,
            )
        except TrainingError:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        losses = [record["val_loss"] for record in result.history[0]]
        pruned = len(losses) < config.epochs and trial.should_prune()
        if pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, min(losses))

    def trials(self) -> list[FrozenTrial]:
        """Every trial so far."""
        return self._study.get_trials()
