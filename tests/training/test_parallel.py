"""Two processes do what one does: statistics, gradients, weights, errors."""

import multiprocessing
import os
import warnings
from pathlib import Path

import pytest
import torch
from labelled import small_config
from torch import distributed, nn

from nanoos.core.errors import CancelledError, TransientError
from nanoos.models.checkpoints import load_checkpoint
from nanoos.training.run import train_model
from nanoos.training.synchronised import SynchronisedBatchNorm, synchronise

ROWS = 11
WITHOUT_EFFECT = ("atom.bias", "message_norm.running_mean")
"""A bias before a batch normalisation has no gradient but rounding, which Adam blows up; the
mean that is remembered follows it, and their difference is what counts."""


def _net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Softplus(), nn.Linear(5, 1)
    ).double()


def _step(net: nn.Module, rows: torch.Tensor) -> None:
    net(rows).pow(2).sum().backward()


def _one_of_two(rank: int, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    net = _net()
    synchronise(net)
    torch.manual_seed(4)
    rows = torch.randn(ROWS, 4, dtype=torch.float64)
    _step(net, rows[: ROWS // 3] if rank == 0 else rows[ROWS // 3 :])
    for parameter in net.parameters():
        distributed.all_reduce(parameter.grad)
    grads = {name: parameter.grad for name, parameter in net.named_parameters()}
    torch.save({"grads": grads, "state": net.state_dict()}, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_batch_statistics_and_gradients_are_those_of_one_process(tmp_path):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_one_of_two, args=(rank, tmp_path)) for rank in (0, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads, from Python 3.12 on
        for child in children:
            child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    net = _net()
    torch.manual_seed(4)
    _step(net, torch.randn(ROWS, 4, dtype=torch.float64))
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(found["grads"][name], parameter.grad, rtol=1e-5, atol=1e-6)
        for name, value in net.state_dict().items():
            torch.testing.assert_close(found["state"][name], value, rtol=1e-5, atol=1e-6)


def test_evaluation_uses_what_was_remembered():
    plain = nn.BatchNorm1d(3)
    plain(torch.randn(20, 3))
    synchronised = SynchronisedBatchNorm(3)
    synchronised.load_state_dict(plain.state_dict())
    rows = torch.randn(7, 3)
    torch.testing.assert_close(synchronised.eval()(rows), plain.eval()(rows))


@pytest.mark.slow
class TestTwoProcesses:
    def test_they_come_to_the_weights_of_one(self, crystals, tmp_path):
        common = {"epochs": 3, "dropout": 0.0, "learning_rate": 0.005, "averaging": "ema"}
        results = [
            train_model(small_config(**common, n_processes=n), crystals, run_dir=tmp_path / f"{n}")
            for n in (1, 2)
        ]
        one, two = (load_checkpoint(result.checkpoint).members[0] for result in results)
        for name, value in one.items():
            if name.endswith(WITHOUT_EFFECT):
                continue
            torch.testing.assert_close(two[name], value, rtol=2e-3, atol=2e-4, msg=name)
        for first, second in zip(results[0].history[0], results[1].history[0], strict=True):
            assert second["val_loss"] == pytest.approx(first["val_loss"], rel=1e-3)
            assert second["val_mae"] == pytest.approx(first["val_mae"], rel=1e-3)
            assert second["train_loss"] == pytest.approx(first["train_loss"], rel=1e-3)
        assert not (tmp_path / "2" / "member_0" / "shared").exists()

    def test_a_cancelled_run_goes_on(self, crystals, tmp_path):
        config = small_config(epochs=4, n_processes=2)

        def cancel(_fraction: float, message: str) -> None:
            if message.startswith("epoch 3"):
                raise CancelledError("enough")

        with pytest.raises(CancelledError):
            train_model(config, crystals, run_dir=tmp_path, report=cancel)
        result = train_model(config, crystals, run_dir=tmp_path)
        assert [record["epoch"] for record in result.history[0]] == [1, 2, 3, 4]

    def test_the_error_of_a_process_is_the_error_of_the_run(self, crystals, tmp_path):
        (tmp_path / "member_0" / "last.part").mkdir(parents=True)  # in the checkpoint's way
        with pytest.raises(TransientError, match="epoch 1 cannot be written"):
            train_model(small_config(n_processes=2), crystals, run_dir=tmp_path)
