"""``train_model``: one call from a configuration and a data set to a model with its errors."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.dataset import Dataset
from nanoos.potentials.runtime import default_device, torch_device
from nanoos.training.artifact import StartingPoint, starting_point, write_checkpoint
from nanoos.training.config import TrainingConfig
from nanoos.training.data import Progress, TrainingSet
from nanoos.training.loop import CHECKPOINT, FittedNetwork, fit, predict
from nanoos.training.network import (
    Network,
    Parameters,
    check_same_trunk,
    copy_weights,
    network_parameters,
    new_network,
)
from nanoos.training.parallel import fit_in_processes
from nanoos.training.preparing import DividedRows, Held, divide, training_set
from nanoos.training.result import HISTORY_FILE, TrainingResult, evaluate, write_held_out

_GRAPHS_SHARE = 0.05
"""Part of the progress bar that the graphs take."""

Watch = Callable[[dict[str, Any]], bool]


def train_model(
    config: TrainingConfig,
    dataset: Dataset,
    *,
    run_dir: Path,
    graphs_dir: Path | None = None,
    init_from: Path | None = None,
    held_out: Held | None = None,
    report: Progress | None = None,
    watch: Watch | None = None,
) -> TrainingResult:
    """Train, choose the best epoch on validation rows, measure on test rows.

    A run that was ended in any way goes on from its last epoch when it is called again with
    the same folder, and comes to the same weights.

    Args:
        config: What to train and how.
        dataset: Structures with labels.
        run_dir: Folder of this run; checkpoints and results go there.
        graphs_dir: Where built graphs are kept from run to run; default: in ``run_dir``.
        init_from: The checkpoint that ``config.init_from`` names; default: that text as a path.
            An ensemble starts from its members in turn.
        held_out: Of an earlier run, to hold the same rows out.
        report: Told the fraction (0 to 1) and a sentence after batches; may raise to end it.
        watch: Told each epoch's record; returns True to end the run.

    Raises:
        NotFoundError: no such target.
        ConfigError: hyper-parameters that do not fit; names the key.
        InvalidInputError: too few labelled rows.
        UnavailableError: the device is not there.
        ConflictError: the folder holds another run.
        TrainingError: the loss is no longer a number.
        TransientError: a checkpoint cannot be written; the last one stays.
    """
    began = time.monotonic()
    config.check()
    tell = report or _silent
    config = check_device(config)
    if config.model == "RandomForest":
        from nanoos.training.forest import train_forest

        return train_forest(config, dataset, run_dir=run_dir, held_out=held_out, report=tell)
    start = None
    if config.init_from is not None:
        start = starting_point(init_from or Path(config.init_from), config)
    parameters = check_same_trunk(config, start.parameters) if start else network_parameters(config)
    rows = divide(config, dataset, held_out=held_out, scales=start.normalisers if start else None)
    run_dir.mkdir(parents=True, exist_ok=True)
    data = training_set(
        rows,
        config,
        k=parameters.max_neighbors,
        cutoff=parameters.cutoff,
        graphs_dir=graphs_dir or run_dir / "graphs",
        progress=lambda done, text: tell(_GRAPHS_SHARE * done, text),
    )
    run = _Run(
        config,
        rows,
        data,
        parameters=parameters,
        start=start,
        folder=run_dir,
        report=tell,
        watch=watch,
    )
    fitted = [run.member(index) for index in range(config.ensemble)]
    return run.finish(fitted, began)


def _silent(_fraction: float, _message: str) -> None:
    """Nobody listens."""


def check_device(config: TrainingConfig) -> TrainingConfig:
    """The configuration with its device filled in.

    Raises:
        UnavailableError: the device, or so many of them, are not there.
        InvalidInputError: a precision that the device does not have.
    """
    import torch

    device = torch_device(config.device or default_device())
    filled = config.model_copy(update={"device": device})
    filled.check()
    wanted, there = config.n_processes, torch.cuda.device_count()
    if device.startswith("cuda") and wanted > there:
        raise InvalidInputError(
            f"n_processes: {wanted} processes need as many GPUs; this machine has {there}."
        )
    return filled


class _Run:
    """The members of one run, one after the other."""

    def __init__(
        self,
        config: TrainingConfig,
        rows: DividedRows,
        data: TrainingSet,
        *,
        parameters: Parameters,
        start: StartingPoint | None,
        folder: Path,
        report: Progress,
        watch: Watch | None,
    ) -> None:
        self._config = config
        self._rows = rows
        self._data = data
        self._parameters = parameters
        self._start = start
        self._folder = folder
        self._report = report
        self._watch = watch
        self._units = rows.dataset.units

    def _first_network(self, config: TrainingConfig, index: int) -> Network:
        network = new_network(self._parameters, self._data.names, seed=config.seed)
        if self._start is not None:
            members = self._start.checkpoint.header.n_members
            copy_weights(
                self._start.checkpoint.network(index % members),
                network,
                heads=self._start.kept_heads(self._data.names, self._data.normalisers),
            )
        return network

    def _key(self, config: TrainingConfig) -> str:
        """Names the run: what it was told and what it is fed; the machine does not matter."""
        told = config.model_copy(update={"device": None}).sha256()
        fed = [self._rows.info["sha256"], self._rows.info["split_sha256"]]
        start = self._start.checkpoint.sha256 if self._start else None
        return hashlib.sha256(json.dumps([told, fed, start]).encode()).hexdigest()

    def member(self, index: int) -> tuple[Network, FittedNetwork]:
        """Train one member, or take it as an earlier call left it."""
        config = self._config.model_copy(update={"seed": self._config.seed + index})
        folder = self._folder / f"member_{index}"
        folder.mkdir(exist_ok=True)
        path, key = folder / CHECKPOINT, self._key(config)
        network = self._first_network(config, index)
        if not (path.exists() and FittedNetwork.from_checkpoint(path, config, run_key=key).ended):
            self._fit(network, config, folder, key, index)
        fitted = FittedNetwork.from_checkpoint(path, config, run_key=key)
        network = new_network(self._parameters, self._data.names, seed=config.seed)
        network.load_state_dict(dict(fitted.weights))
        return network, fitted

    def _fit(
        self, network: Network, config: TrainingConfig, folder: Path, key: str, index: int
    ) -> None:
        share = (1.0 - _GRAPHS_SHARE) / config.ensemble
        before = _GRAPHS_SHARE + share * index
        of = f"network {index + 1} of {config.ensemble}, " if config.ensemble > 1 else ""

        def report(fraction: float, message: str) -> None:
            self._report(before + share * fraction, of + message)

        if config.n_processes > 1:
            fit_in_processes(
                self._data,
                config,
                folder,
                first_weights=network.state_dict(),
                parameters=asdict(self._parameters),
                units=self._units,
                report=report,
                run_key=key,
            )
        else:
            fit(
                network,
                self._data,
                config,
                folder,
                units=self._units,
                report=report,
                watch=self._watch,
                run_key=key,
            )

    def _predicted(
        self, networks: Sequence[Network], rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """(n_rows, n_targets), the mean over the members, in the units of the targets."""
        device = self._config.device or "cpu"
        found = [
            self._data.to_units(predict(one, self._data, rows, device=device).numpy())
            for one in networks
        ]
        return np.asarray(np.mean(found, axis=0))

    def finish(
        self, fitted: Sequence[tuple[Network, FittedNetwork]], began: float
    ) -> TrainingResult:
        """Measure and write the files of the model."""
        networks = [network for network, _ in fitted]
        metrics, validation = evaluate(
            self._rows,
            self._predicted(networks, self._rows.val),
            self._predicted(networks, self._rows.test),
        )
        path = self._folder / f"{self._config.name}.safetensors"
        weights_sha256 = write_checkpoint(
            path,
            tuple(network.to("cpu").state_dict() for network in networks),
            config=self._config,
            parameters=asdict(self._parameters),
            rows=self._rows,
            metrics=metrics,
            training={
                "best_epochs": [one.best_epoch for _, one in fitted],
                "init_from_sha256": self._start.checkpoint.sha256 if self._start else None,
                "validation": validation,
            },
        )
        history = tuple(one.history for _, one in fitted)
        (self._folder / HISTORY_FILE).write_text(json.dumps(history))
        return TrainingResult(
            config=self._config,
            metrics=metrics,
            validation=validation,
            history=history,
            checkpoint=path,
            weights_sha256=weights_sha256,
            dataset_info=self._rows.info,
            best_epochs=tuple(one.best_epoch for _, one in fitted),
            wall_time_s=time.monotonic() - began,
            held_out=write_held_out(self._rows, self._folder),
        )
