"""Training one network in this process, alone or as one of several, from where it was left."""

import contextlib
import logging
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from nanoos.core.errors import BadCheckpointError, ConflictError
from nanoos.models.networks.alignn import ALIGNN
from nanoos.models.networks.arithmetic import denormals_as_zero
from nanoos.potentials.runtime import apply_threads
from nanoos.training.callbacks import EveryEpoch, KeepBest, TellProgress
from nanoos.training.config import TrainingConfig
from nanoos.training.data import GraphBatches, Progress, TrainingSet
from nanoos.training.module import NetworkTraining
from nanoos.training.network import Network, freeze_trunk
from nanoos.training.synchronised import synchronise

CHECKPOINT: Final = "last.ckpt"
"""What a run is resumed from, in its folder."""

_PRECISION: Final[Mapping[str, Any]] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_EVALUATION_BATCH: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedNetwork:
    """What a run has come to, as its checkpoint says.

    Attributes:
        weights: Of the best epoch, by name.
        best_epoch: Counted from 1.
        best_loss: Validation loss of that epoch.
        history: One record for each epoch: ``epoch, train_loss, val_loss, val_mae{target},
            learning_rate, seconds``.
        ended: Whether the run is over.
    """

    weights: Mapping[str, Tensor]
    best_epoch: int
    best_loss: float
    history: tuple[Mapping[str, Any], ...]
    ended: bool

    @classmethod
    def from_checkpoint(cls, path: Path, config: TrainingConfig, *, run_key: str) -> Self:
        """Read a checkpoint; nothing in it is executed.

        Raises:
            ConflictError: it belongs to another run.
            BadCheckpointError: it cannot be read.
        """
        document = read_checkpoint(path)
        if document.get("run_key") != run_key:
            raise ConflictError(
                f"{path.parent} holds a run of another configuration or other data.",
                hint="Give the run another folder, or remove that one to begin anew.",
            )
        kept = document["callbacks"]["KeepBest"]
        epochs = len(kept["history"])
        patience = kept["patience"]
        return cls(
            weights=kept["best_weights"],
            best_epoch=kept["best_epoch"],
            best_loss=kept["best_loss"],
            history=tuple(kept["history"]),
            ended=epochs >= config.epochs
            or (patience is not None and epochs - kept["best_epoch"] >= patience),
        )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The document that Lightning wrote, read without executing anything in it.

    Raises:
        BadCheckpointError: it cannot be read.
    """
    try:
        document: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise BadCheckpointError(
            f"The checkpoint {path} cannot be read: {error}.", hint="Remove it to begin anew."
        ) from error
    return document


def fit(
    network: Network,
    data: TrainingSet,
    config: TrainingConfig,
    folder: Path,
    *,
    units: Mapping[str, str],
    report: Progress,
    watch: Callable[[dict[str, Any]], bool] | None = None,
    run_key: str,
    rank: int = 0,
) -> None:
    """Train until the end; the checkpoint in ``folder`` says what came out.

    Args:
        network: With its first weights; changed in place.
        data: Rows and targets.
        config: How; ``device`` is set.
        folder: Of this run; one that holds a checkpoint is gone on with.
        units: Of the targets, for what is said.
        report: Told the progress after batches; may raise to end the run.
        watch: Called with each epoch's record; returns True to end the run.
        run_key: Names the run in its checkpoint.
        rank: Which of ``config.n_processes`` this is.

    Raises:
        TrainingError: the loss is no longer a number.
        TransientError: the checkpoint cannot be written.
    """
    world, path = config.n_processes, folder / CHECKPOINT
    on_gpu = (config.device or "cpu").startswith("cuda")
    if config.freeze_trunk:
        freeze_trunk(network)
    if world > 1 and not on_gpu:
        synchronise(network)
    share: dict[str, Any] = {"batch_size": config.batch_size, "rank": rank, "world": world}
    batches = GraphBatches(
        data,
        data.train,
        seed=config.seed,
        epoch=lambda: trainer.current_epoch,
        by_width=isinstance(network, ALIGNN),
        **share,
    )
    held_out = GraphBatches(
        data, data.val, **(share | {"batch_size": max(_EVALUATION_BATCH, world)})
    )
    module = NetworkTraining(network, data, config, steps_per_epoch=len(batches))
    with _quiet(), denormals_as_zero(), torch.random.fork_rng(devices=[]):
        apply_threads()
        trainer = Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=_devices(config, on_gpu=on_gpu),
            strategy=_strategy(world, on_gpu=on_gpu),
            precision=_PRECISION[config.precision],
            max_epochs=config.epochs,
            gradient_clip_val=config.gradient_clip,
            sync_batchnorm=world > 1 and on_gpu,
            callbacks=[
                KeepBest(config.patience, watch),
                TellProgress(
                    report,
                    epochs=config.epochs,
                    steps_per_epoch=len(batches),
                    unit=dict(units),
                ),
                EveryEpoch(path, run_key),
            ],
            default_root_dir=folder,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with _interruptible():
            trainer.fit(
                module,
                batches,
                held_out,
                ckpt_path=path if path.exists() else None,
                weights_only=True,
            )


def _devices(config: TrainingConfig, *, on_gpu: bool) -> int | list[int]:
    if not on_gpu or config.n_processes > 1:
        return config.n_processes
    return [int((config.device or "").partition(":")[2] or 0)]


def _strategy(world: int, *, on_gpu: bool) -> Any:
    if world == 1:
        return "auto"
    return DDPStrategy(
        cluster_environment=LightningEnvironment(),
        process_group_backend="nccl" if on_gpu else "gloo",
        gradient_as_bucket_view=True,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Lightning says about things that are as they should be from the user."""
    loggers = [
        logging.getLogger(name)
        for name in (
            "lightning.pytorch.utilities.rank_zero",
            "lightning.fabric.utilities.rank_zero",
        )
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in (
                "The '.*_dataloader' does not have many workers",  # they would only cost time
                "Checkpoint directory .* exists",
                "Found \\d+ module\\(s\\) in eval mode",  # a trunk that is frozen
                "GPU available but not used",
                "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning with a newer torch
            ):
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be Ctrl-C: Lightning turns it into an exit and ignores it from then on."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from error
        raise


def predict(network: Network, data: TrainingSet, rows: Any, *, device: str) -> Tensor:
    """(n_rows, n_targets) output of the network for ``rows``, in order, on the CPU."""
    apply_threads()
    network.to(device).eval()
    batches = GraphBatches(data, rows, batch_size=_EVALUATION_BATCH)
    with denormals_as_zero(), torch.inference_mode():
        parts = [network(graphs.to(device)).float().cpu() for graphs, _, _ in batches]
    return torch.cat(parts) if parts else torch.zeros(0, len(data.names))
