"""The training step, the validation and the optimiser, as Lightning wants them."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, distributed
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nanoos.core.errors import TrainingError
from nanoos.models.networks.batch import GraphBatch
from nanoos.training.config import TrainingConfig
from nanoos.training.data import TrainingSet
from nanoos.training.network import Network

Batch = tuple[GraphBatch, Tensor, Tensor]

WARM_UP = 0.1
"""Part of the steps in which the one-cycle schedule rises."""


def world_size() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _summed(values: Tensor) -> Tensor:
    """``values`` added up over all processes."""
    if world_size() > 1:
        distributed.all_reduce(values)
    return values


class NetworkTraining(LightningModule):
    """Trains a network on normalised targets; a missing target adds nothing to the loss.

    With several processes the loss of each is scaled so that the mean of the gradients is the
    gradient of one process with the whole batch.

    Args:
        network: Its weights are changed.
        data: What it is trained on.
        config: How.
        steps_per_epoch: Batches of one pass.
    """

    def __init__(
        self, network: Network, data: TrainingSet, config: TrainingConfig, *, steps_per_epoch: int
    ) -> None:
        super().__init__()
        self.network = network
        self.averaged = _averaged(network, config)
        self._config = config
        self._data = data
        self._steps_per_epoch = steps_per_epoch
        self._plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self.register_buffer("weights", torch.from_numpy(data.weights), persistent=False)
        self.register_buffer("binary", torch.from_numpy(data.binary), persistent=False)
        self._found = torch.zeros(len(data.val), len(data.names))
        self._place = {int(row): place for place, row in enumerate(data.val)}
        self.train_loss = 0.0
        """Mean over the batches of the pass so far."""
        self.validation: Mapping[str, float] = {}
        """``loss`` and the mean absolute error of each target, of the last validation."""

    # -- loss -----------------------------------------------------------------------------

    def _losses(self, out: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """(n_graphs, n_targets) losses, 0 where a label is missing, and which are there."""
        present = ~torch.isnan(wanted)
        binary = self.get_buffer("binary")
        wanted = torch.nan_to_num(wanted)
        kind = self._config.loss
        if kind == "l1":
            losses = (out - wanted).abs()
        elif kind == "mse":
            losses = (out - wanted) ** 2
        else:
            losses = functional.huber_loss(out, wanted, reduction="none")
        if bool(binary.any()):
            entropy = functional.binary_cross_entropy_with_logits(out, wanted, reduction="none")
            losses = torch.where(binary, entropy, losses)
        return losses * present, present

    def _weighted(self, totals: Tensor, counts: Tensor) -> Tensor:
        means = totals / counts.clamp(min=1)
        return (means * self.get_buffer("weights")).sum()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Raises:
            TrainingError: it is no number.
        """
        graphs, wanted, _ = batch
        out = self.network(graphs).float()
        losses, present = self._losses(out, wanted)
        counts = _summed(present.sum(0).float())
        loss = self._weighted(losses.sum(0), counts)
        value = float(_summed(loss.detach().clone()))
        if not np.isfinite(value):
            raise TrainingError(
                f"The loss is no longer a number in epoch {self.current_epoch + 1}, "
                f"batch {batch_idx + 1}.",
                hint="Lower learning_rate or gradient_clip, use precision 32, or look for "
                "extreme targets in the data set.",
                code="loss_not_finite",
                details={"epoch": self.current_epoch + 1, "batch": batch_idx + 1},
            )
        self.train_loss += (value - self.train_loss) / (batch_idx + 1)
        return loss * world_size()

    # -- what happens around a step ---------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """A pass draws the same random numbers whether or not the run was interrupted."""
        del batch
        if batch_idx == 0:
            words = (self._config.seed, self.current_epoch, self.global_rank)
            torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
            self.train_loss = 0.0
            if self._config.freeze_trunk:  # nor may its batch normalisation learn
                self.network.eval()
                self.network.heads.train()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Bring the averaged weights up to date."""
        del outputs, batch
        if self.averaged is None:
            return
        last = batch_idx + 1 == self._steps_per_epoch
        if self._config.averaging == "ema" or (last and self._in_mean()):
            self.averaged.update_parameters(self.network)

    def _in_mean(self) -> bool:
        return self.current_epoch >= int(self._config.swa_start * self._config.epochs)

    def network_to_keep(self) -> Network:
        """The averaged network once there is one, else the trained one."""
        if self.averaged is not None and int(self.averaged.n_averaged) > 0:
            return cast("Network", self.averaged.module)
        return self.network

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """The batch on ``device``; the rows stay on the CPU."""
        del dataloader_idx
        graphs, wanted, rows = batch
        return batch if device.type == "cpu" else (graphs.to(device), wanted.to(device), rows)

    # -- validation -------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Forget what was found before."""
        self._found.zero_()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict this process's share of one batch."""
        del batch_idx
        graphs, _, rows = batch
        out = self.network_to_keep()(graphs).float().cpu()
        self._found[[self._place[int(row)] for row in rows]] = out

    def on_validation_epoch_end(self) -> None:
        """Loss and errors over all validation rows, the same in every process."""
        found = _summed(self._found.to(self.device)).cpu()
        wanted = torch.from_numpy(self._data.wanted[self._data.val])
        losses, present = self._losses(found.to(self.device), wanted.to(self.device))
        loss = float(self._weighted(losses.sum(0), present.sum(0)))
        errors = self._errors(self._data.to_units(found.numpy()))
        self.validation = {"loss": loss, **errors}
        if self._plateau is not None and not self.trainer.sanity_checking:
            self._plateau.step(loss)

    def _errors(self, predicted: npt.NDArray[np.float64]) -> dict[str, float]:
        """Target to mean absolute error over the validation rows that have a label."""
        errors = np.abs(predicted - self._data.values[self._data.val])
        return {
            name: float(np.nanmean(errors[:, column]))
            for column, name in enumerate(self._data.names)
            if np.isfinite(errors[:, column]).any()
        }

    # -- optimiser ----------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """AdamW and the schedule."""
        config = self._config
        trainable = [p for p in self.network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            trainable,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=config.precision == "32",
        )
        total = self._steps_per_epoch * config.epochs
        if config.schedule == "plateau":
            self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=0.5, patience=max(1, (config.patience or 20) // 3)
            )
            if self._plateau_state is not None:
                self._plateau.load_state_dict(self._plateau_state)
            return optimizer
        if config.schedule == "constant":
            return optimizer
        schedule: Any
        if config.schedule == "one_cycle":
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer,
                config.learning_rate,
                total_steps=total + 1,
                pct_start=WARM_UP,
                div_factor=20,
                final_div_factor=1e3,
            )
        else:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the plateau schedule, which Lightning does not know of."""
        if self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        self._plateau_state = checkpoint.get("plateau")
        if self._plateau is not None and self._plateau_state is not None:
            self._plateau.load_state_dict(self._plateau_state)


def _averaged(network: Network, config: TrainingConfig) -> AveragedModel | None:
    """The averaged copy; its batch statistics are averaged like its weights."""
    if config.averaging == "none":
        return None
    decay = None
    if config.averaging == "ema":
        decay = get_ema_multi_avg_fn(config.ema_decay)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(network, multi_avg_fn=decay, use_buffers=True)
    averaged.requires_grad_(False)
    averaged.eval()
    return averaged
