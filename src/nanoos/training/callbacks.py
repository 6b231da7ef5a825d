"""What happens after batches and epochs: progress, the best weights, the checkpoint."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from nanoos.core.durations import duration
from nanoos.core.errors import TransientError
from nanoos.training.data import Progress
from nanoos.training.module import NetworkTraining

PAUSE_S = 0.2
"""Progress is told at most so often, s."""


class KeepBest(Callback):
    """Remembers every epoch and the weights of the best one; ends a run that gets no better.

    The state is part of Lightning's checkpoint, so it outlives the process.

    Args:
        patience: Epochs without a better validation loss; None: never ends it.
        watch: Called with each epoch's record; returns True to end the run.
    """

    def __init__(
        self, patience: int | None, watch: Callable[[dict[str, Any]], bool] | None = None
    ) -> None:
        self._patience = patience
        self._watch = watch
        self._began = 0.0
        self.history: list[dict[str, Any]] = []
        self.best_loss = float("inf")
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock of a pass."""
        del trainer, pl_module, batch
        if batch_idx == 0:
            self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the validation of this epoch."""
        module = cast("NetworkTraining", pl_module)
        found = dict(module.validation)
        epoch = trainer.current_epoch + 1
        loss = found.pop("loss")
        record = {
            "epoch": epoch,
            "train_loss": module.train_loss,
            "val_loss": loss,
            "val_mae": found,
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": time.monotonic() - self._began,
        }
        self.history.append(record)
        if loss < self.best_loss or not self.best_weights:
            self.best_loss, self.best_epoch = loss, epoch
            state = module.network_to_keep().state_dict()
            self.best_weights = {
                name: value.detach().cpu().clone() for name, value in state.items()
            }
        waited = epoch - self.best_epoch
        if self._patience is not None and waited >= self._patience:
            trainer.should_stop = True
        if self._watch is not None and self._watch(record):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint; plain numbers and tensors only."""
        return {
            "history": self.history,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "patience": self._patience,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.history = list(state_dict["history"])
        self.best_loss = float(state_dict["best_loss"])
        self.best_epoch = int(state_dict["best_epoch"])
        self.best_weights = dict(state_dict["best_weights"])


class EveryEpoch(Checkpoint):
    """Writes the checkpoint to resume from after each epoch, last of all callbacks.

    The new one is complete on the disk before it takes the place of the old one.

    Args:
        path: The checkpoint.
        run_key: Names the run that it belongs to.
    """

    def __init__(self, path: Path, run_key: str) -> None:
        super().__init__()
        self._path = path
        self._run_key = run_key

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write down which run it is."""
        del trainer, pl_module
        checkpoint["run_key"] = self._run_key

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it.

        Raises:
            TransientError: it cannot be written (a full disk); the last one stays.
        """
        del pl_module
        partial = self._path.with_suffix(".part")
        try:
            trainer.save_checkpoint(partial, weights_only=False)
            if trainer.is_global_zero:
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
                partial.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise TransientError(
                f"The checkpoint of epoch {trainer.current_epoch + 1} cannot be written: "
                f"{error.strerror or error}.",
                hint="Free some space; the run goes on from the epoch before.",
                code="checkpoint_unwritable",
            ) from error


class TellProgress(Callback):
    """Says after each batch how far the run is and how long it will take.

    Args:
        report: Told the fraction (0 to 1) and a sentence; may raise to end the run.
        epochs: How many there will be.
        steps_per_epoch: Batches of one pass.
        unit: Unit of each target, for the sentence.
    """

    def __init__(
        self, report: Progress, *, epochs: int, steps_per_epoch: int, unit: dict[str, str]
    ) -> None:
        self._report = report
        self._epochs = epochs
        self._steps = steps_per_epoch
        self._unit = unit
        self._began: tuple[float, int] | None = None
        self._told_at = -np.inf

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a batch."""
        del outputs, batch
        self._tell(
            trainer, cast("NetworkTraining", pl_module), trainer.current_epoch, batch_idx + 1
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After a validation, which the next batch may be far from."""
        self._tell(trainer, cast("NetworkTraining", pl_module), trainer.current_epoch, self._steps)

    def _tell(self, trainer: Trainer, module: NetworkTraining, epoch: int, batches: int) -> None:
        if not trainer.is_global_zero:
            return
        now, done = time.monotonic(), epoch * self._steps + batches
        if self._began is None:
            self._began = (now, done - 1)
        last = batches == self._steps
        if not last and now - self._told_at < PAUSE_S:
            return
        self._told_at = now
        total = self._epochs * self._steps
        began, done_then = self._began
        left_s = (now - began) / max(1, done - done_then) * (total - done)
        parts = [f"epoch {epoch + 1} of {self._epochs}", f"loss {module.train_loss:.4g}"]
        parts += [
            f"MAE {name} {value:.4g} {self._unit.get(name, '')}".rstrip()
            for name, value in module.validation.items()
            if name != "loss"
        ]
        parts.append(f"about {duration(left_s)} left")
        self._report(done / total, ", ".join(parts))
