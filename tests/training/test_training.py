"""Training from rows to a checkpoint: it learns, resumes, averages, fine-tunes, and says no."""

import errno
import json
import multiprocessing
import os
import signal
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import labelled_crystals, small_config

from nanoos.core.errors import (
    BadCheckpointError,
    CancelledError,
    ConfigError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TrainingError,
    TransientError,
    UnavailableError,
)
from nanoos.models.checkpoints import load_checkpoint
from nanoos.models.forest import Forest, forest_descriptors
from nanoos.training.callbacks import EveryEpoch
from nanoos.training.comparing import measure_checkpoint
from nanoos.training.data import GraphBatches, cached_graphs
from nanoos.training.loop import CHECKPOINT
from nanoos.training.preparing import divide, training_set
from nanoos.training.run import train_model


def weights_of(path: Path, member: int = 0) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(path).members[member])


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def without_times(history):
    return [
        [{key: value for key, value in record.items() if key != "seconds"} for record in member]
        for member in history
    ]


@pytest.fixture(scope="module")
def trained(crystals, tmp_path_factory):
    """A network that learned the volumes, with the parameters of a longer run."""
    config = small_config(epochs=30, learning_rate=0.01, targets=["volume", "is_metal"])
    return train_model(config, crystals, run_dir=tmp_path_factory.mktemp("trained"))


class TestLearning:
    def test_it_learns(self, trained):
        assert trained.metrics["volume"]["r2"] > 0.7
        assert trained.metrics["is_metal"]["accuracy"] >= 0.7
        losses = [record["val_loss"] for record in trained.history[0]]
        assert trained.best_epochs == (1 + int(np.argmin(losses)),)

    def test_the_checkpoint_holds_what_was_measured(self, trained, crystals, tmp_path):
        header = load_checkpoint(trained.checkpoint).header
        assert header.metrics == json.loads(json.dumps(trained.metrics))
        assert header.dataset["sha256"] == trained.dataset_info["sha256"]
        rows = divide(trained.config, crystals)
        again = measure_checkpoint(trained.checkpoint, rows, graphs_dir=tmp_path, device="cpu")
        for name, found in again.items():
            assert found["mae"] == pytest.approx(trained.metrics[name]["mae"], rel=1e-5)

    def test_no_formula_is_on_two_sides(self, trained, crystals):
        rows = divide(trained.config, crystals)
        parts = [
            {rows.dataset.reduced_formulas[row] for row in part}
            for part in (rows.train, rows.val, rows.test)
        ]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]

    def test_scales_come_from_training_rows_alone(self, crystals):
        rows = divide(small_config(), crystals)
        volumes = rows.dataset.targets["volume"][rows.train]
        assert rows.normalisers[0].mean == pytest.approx(np.nanmean(volumes))
        assert rows.normalisers[1] is None

    def test_the_same_run_gives_the_same_weights(self, crystals, tmp_path):
        results = [
            train_model(small_config(epochs=2), crystals, run_dir=tmp_path / name)
            for name in ("one", "two")
        ]
        assert_same_weights(results[0].checkpoint, results[1].checkpoint)

    @pytest.mark.parametrize(
        "changes",
        [
            {"precision": "bf16"},
            {"averaging": "ema", "ema_decay": 0.8},
            {"averaging": "swa", "swa_start": 0.5},
            {"schedule": "plateau", "loss": "huber", "patience": 3},
            {"schedule": "cosine", "loss": "mse"},
            {"schedule": "constant", "targets": {"volume": 2.0}, "log_targets": ["volume"]},
            {"ensemble": 2, "targets": "volume", "max_sites": 4, "outlier_filter": True},
            {
                "model": "ALIGNN",
                "parameters": {"max_neighbors": 6, "angle_dim": 4, "head_dim": 16},
            },
        ],
        ids=["bf16", "ema", "swa", "plateau", "cosine", "log", "ensemble", "alignn"],
    )
    def test_every_way_lowers_the_loss(self, crystals, tmp_path, changes):
        config = small_config(**({"epochs": 5, "learning_rate": 0.01} | changes))
        result = train_model(config, crystals, run_dir=tmp_path)
        assert len(result.history) == config.ensemble
        for member in result.history:
            assert member[-1]["train_loss"] < member[0]["train_loss"]
        assert load_checkpoint(result.checkpoint).header.n_members == config.ensemble

    def test_it_stops_when_nothing_gets_better(self, crystals, tmp_path):
        config = small_config(epochs=30, learning_rate=1e-9, schedule="constant", patience=2)
        result = train_model(config, crystals, run_dir=tmp_path)
        assert len(result.history[0]) == result.best_epochs[0] + 2 < 30

    def test_progress_goes_up_and_says_how_long(self, crystals, tmp_path):
        told: list[tuple[float, str]] = []
        train_model(
            small_config(),
            crystals,
            run_dir=tmp_path,
            report=lambda fraction, message: told.append((fraction, message)),
        )
        fractions = [fraction for fraction, _ in told]
        assert fractions == sorted(fractions)
        assert fractions[-1] == pytest.approx(1.0)
        assert "epoch 4 of 4" in told[-1][1]
        assert "MAE volume" in told[-1][1]
        assert told[-1][1].endswith("left")


class TestGoingOn:
    def test_a_killed_run_comes_to_the_same_weights(self, crystals, tmp_path):
        config = small_config(epochs=4, averaging="ema", ema_decay=0.9)
        whole = train_model(config, crystals, run_dir=tmp_path / "whole")
        child = multiprocessing.get_context("fork").Process(
            target=_train_slowly, args=(config, crystals, tmp_path / "killed")
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads, from Python 3.12 on
            child.start()
        written = tmp_path / "killed" / "member_0" / CHECKPOINT
        while not (written.exists() and _epochs(written) >= 2):
            assert child.is_alive()
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert 2 <= _epochs(written) < 4
        resumed = train_model(config, crystals, run_dir=tmp_path / "killed")
        assert_same_weights(whole.checkpoint, resumed.checkpoint)
        assert without_times(whole.history) == without_times(resumed.history)

    @pytest.mark.parametrize("schedule", ["plateau", "one_cycle"])
    def test_a_cancelled_run_comes_to_the_same_weights(self, crystals, tmp_path, schedule):
        config = small_config(epochs=4, schedule=schedule, patience=3, averaging="swa")
        whole = train_model(config, crystals, run_dir=tmp_path / "whole")
        with pytest.raises(CancelledError):
            train_model(
                config, crystals, run_dir=tmp_path / "cut", report=_cancel_in_epoch("epoch 3")
            )
        resumed = train_model(config, crystals, run_dir=tmp_path / "cut")
        assert_same_weights(whole.checkpoint, resumed.checkpoint)

    def test_a_finished_run_is_not_done_again(self, crystals, tmp_path):
        told: list[str] = []
        first = train_model(small_config(), crystals, run_dir=tmp_path)
        again = train_model(
            small_config(), crystals, run_dir=tmp_path, report=lambda _, text: told.append(text)
        )
        assert not [text for text in told if text.startswith("epoch")]
        assert_same_weights(first.checkpoint, again.checkpoint)

    @pytest.mark.parametrize("what", ["config", "data"])
    def test_the_folder_of_another_run_is_refused(self, crystals, tmp_path, what):
        train_model(small_config(epochs=1), crystals, run_dir=tmp_path)
        config, data = small_config(epochs=1), crystals
        if what == "config":
            config = small_config(epochs=1, learning_rate=0.002)
        else:
            data = crystals.select(range(100))
        with pytest.raises(ConflictError):
            train_model(config, data, run_dir=tmp_path)

    def test_graphs_are_built_once(self, crystals, tmp_path, monkeypatch):
        graphs = tmp_path / "graphs"
        train_model(small_config(epochs=1), crystals, run_dir=tmp_path / "a", graphs_dir=graphs)

        def never(*_args, **_named):
            raise AssertionError("built again")

        monkeypatch.setattr("nanoos.features.packed.PackedGraphs.from_structures", never)
        other = small_config(epochs=1, seed=5)
        train_model(other, crystals, run_dir=tmp_path / "b", graphs_dir=graphs)

    def test_a_full_disk_leaves_the_last_checkpoint(self, crystals, tmp_path, monkeypatch):
        save, config = EveryEpoch.on_train_epoch_end, small_config()

        def full_in_third(self, trainer, module):
            if trainer.current_epoch == 2:
                monkeypatch.setattr(trainer, "save_checkpoint", _no_space)
            save(self, trainer, module)

        with monkeypatch.context() as patched:
            patched.setattr(EveryEpoch, "on_train_epoch_end", full_in_third)
            with pytest.raises(TransientError, match="epoch 3 cannot be written"):
                train_model(config, crystals, run_dir=tmp_path / "cut")
        folder = tmp_path / "cut" / "member_0"
        assert [path.name for path in folder.iterdir()] == [CHECKPOINT]
        assert _epochs(folder / CHECKPOINT) == 2
        whole = train_model(config, crystals, run_dir=tmp_path / "whole")
        resumed = train_model(config, crystals, run_dir=tmp_path / "cut")
        assert_same_weights(whole.checkpoint, resumed.checkpoint)

    def test_a_broken_checkpoint_is_said(self, crystals, tmp_path):
        train_model(small_config(epochs=1), crystals, run_dir=tmp_path)
        path = tmp_path / "member_0" / CHECKPOINT
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(BadCheckpointError, match="cannot be read"):
            train_model(small_config(epochs=1), crystals, run_dir=tmp_path)


def _epochs(path: Path) -> int:
    document = torch.load(path, weights_only=True)
    return len(document["callbacks"]["KeepBest"]["history"])


def _train_slowly(config, dataset, folder: Path) -> None:
    train_model(config, dataset, run_dir=folder, report=lambda *_: time.sleep(0.05))


def _cancel_in_epoch(word: str):
    def report(_fraction: float, message: str) -> None:
        if message.startswith(word):
            raise CancelledError("enough")

    return report


def _no_space(path: Path, **_named) -> None:
    Path(path).write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestFineTuning:
    def test_trunk_and_known_heads_are_taken_over(self, trained, crystals, tmp_path):
        data = replace(
            crystals,
            targets={
                "volume": crystals.targets["volume"],
                "other": np.arange(float(len(crystals))),
            },
            units={"volume": "Å^3", "other": "1"},
        )
        config = small_config(
            targets=["other", "volume"],
            epochs=1,
            learning_rate=1e-12,
            init_from=str(trained.checkpoint),
            freeze_trunk=True,
        )
        result = train_model(config, data, run_dir=tmp_path)
        before, after = weights_of(trained.checkpoint), weights_of(result.checkpoint)
        for name, value in before.items():
            if not name.startswith("heads."):
                assert torch.equal(value, after[name]), name
        for name in ("1.weight", "4.weight"):
            torch.testing.assert_close(before[f"heads.0.{name}"], after[f"heads.1.{name}"])
        was, now = (load_checkpoint(r.checkpoint).header for r in (trained, result))
        assert now.target("volume").mean == was.target("volume").mean

    def test_it_starts_better_than_from_nothing(self, trained, crystals, tmp_path):
        common = {"epochs": 1, "learning_rate": 1e-5, "seed": 9}
        fresh = train_model(small_config(**common), crystals, run_dir=tmp_path / "a")
        tuned = train_model(
            small_config(**common, init_from="trained"),
            crystals,
            run_dir=tmp_path / "b",
            init_from=trained.checkpoint,
        )
        assert tuned.history[0][0]["val_loss"] < 0.7 * fresh.history[0][0]["val_loss"]

    @pytest.mark.parametrize(
        ("changes", "key"),
        [({"hidden_dim": 32}, "hidden_dim"), ({"model": "ALIGNN", "parameters": {}}, "model")],
        ids=["width", "architecture"],
    )
    def test_another_network_is_refused(self, trained, crystals, tmp_path, changes, key):
        config = small_config(init_from=str(trained.checkpoint), **changes)
        with pytest.raises(ConfigError, match=key):
            train_model(config, crystals, run_dir=tmp_path)


class TestRefusals:
    def test_unknown_target(self, crystals, tmp_path):
        with pytest.raises(NotFoundError, match="hardness"):
            train_model(small_config(targets="hardness"), crystals, run_dir=tmp_path)

    def test_too_few_rows(self, crystals, tmp_path):
        with pytest.raises(InvalidInputError) as caught:
            train_model(small_config(min_rows=1000), crystals, run_dir=tmp_path)
        assert caught.value.error_code == "too_few_rows"

    def test_no_labels_at_all(self, crystals, tmp_path):
        empty = replace(
            crystals,
            targets={"volume": np.full(len(crystals), np.nan)},
            units={"volume": "Å^3"},
        )
        with pytest.raises(InvalidInputError):
            train_model(small_config(targets="volume"), empty, run_dir=tmp_path)

    def test_a_yes_or_no_that_is_a_number(self, crystals, tmp_path):
        wrong = replace(
            crystals,
            targets={"is_metal": np.linspace(0, 1, len(crystals))},
            units={"is_metal": "1"},
        )
        with pytest.raises(InvalidInputError, match="is_metal"):
            train_model(small_config(targets="is_metal"), wrong, run_dir=tmp_path)

    def test_a_device_that_is_not_there(self, crystals, tmp_path):
        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
        with pytest.raises(UnavailableError):
            train_model(small_config(device="cuda"), crystals, run_dir=tmp_path)

    def test_a_loss_that_is_no_number(self, crystals, tmp_path):
        wild = replace(
            crystals, targets={"volume": crystals.targets["volume"].copy()}, units={"volume": "Å^3"}
        )
        config = small_config(
            targets="volume", loss="mse", learning_rate=1.0, weight_decay=10.0, gradient_clip=1e30,
            schedule="constant", epochs=200, patience=None,
        )  # fmt: skip
        with pytest.raises(TrainingError) as caught:
            train_model(config, _with_infinite_scale(wild), run_dir=tmp_path)
        assert caught.value.error_code == "loss_not_finite"


def _with_infinite_scale(dataset):
    """Held-out rows aside, one volume is as large as a float32 can be."""
    volumes = dataset.targets["volume"].copy()
    rows = divide(small_config(targets="volume"), dataset)
    ids = {rows.dataset.ids[row] for row in rows.train[:3]}
    volumes[[i for i, name in enumerate(dataset.ids) if name in ids]] = 3e38
    return replace(dataset, targets={"volume": volumes})


class TestBatches:
    def test_shares_of_processes_make_the_whole_batch(self, crystals, tmp_path):
        config = small_config()
        rows = divide(config, crystals)
        data = training_set(
            rows, config, k=8, cutoff=6.0, graphs_dir=tmp_path, progress=lambda *_: None
        )

        def rows_of(**share):
            batches = GraphBatches(data, data.train, batch_size=16, epoch=lambda: 3, **share)
            return [rows.tolist() for _, _, rows in batches]

        whole = rows_of()
        first, second = rows_of(rank=0, world=2), rows_of(rank=1, world=2)
        assert [sorted(a + b) for a, b in zip(first, second, strict=True)] == [
            sorted(batch) for batch in whole
        ]
        assert len({row for batch in whole for row in batch}) == 16 * len(whole)

    def test_batches_by_width_hold_every_row_once_and_are_alike(self, crystals, tmp_path):
        config = small_config()
        rows = divide(config, crystals)
        data = training_set(
            rows, config, k=8, cutoff=6.0, graphs_dir=tmp_path, progress=lambda *_: None
        )
        widths = data.graphs.widths

        def spread(*, by_width):
            batches = GraphBatches(
                data, data.train, batch_size=8, epoch=lambda: 0, by_width=by_width
            )
            found = [rows.numpy() for _, _, rows in batches]
            assert len(np.unique(np.concatenate(found))) == 8 * len(found)
            return np.mean([np.ptp(widths[batch]) for batch in found])

        assert np.ptp(widths[data.train]) > 0
        assert spread(by_width=True) < spread(by_width=False)

    def test_two_that_build_graphs_at_once_leave_one_folder(self, crystals, tmp_path):
        for _ in range(2):
            graphs = cached_graphs(
                crystals.structures[:4], k=3, cutoff=5.0, key="a" * 64, folder=tmp_path,
                progress=lambda *_: None,
            )  # fmt: skip
            assert len(graphs) == 4
        assert len(list(tmp_path.iterdir())) == 1


def test_a_forest_is_trained_saved_and_read(crystals, tmp_path):
    config = small_config(model="RandomForest", parameters={"n_trees": 20}, log_targets=["volume"])
    result = train_model(config, crystals, run_dir=tmp_path)
    assert result.metrics["volume"]["r2"] > 0.5
    rows = divide(config, crystals)
    again = measure_checkpoint(result.checkpoint, rows, graphs_dir=tmp_path, device="cpu")
    assert again["volume"]["mae"] == pytest.approx(result.metrics["volume"]["mae"])
    forest = Forest.from_checkpoint(load_checkpoint(result.checkpoint))
    columns, table = forest_descriptors(crystals.structures[:5])
    assert columns == forest.columns
    assert forest.predict(table).shape == (5, 2)
    bad = small_config(model="RandomForest", parameters={"depth": 2})
    with pytest.raises(ConfigError, match="depth"):
        train_model(bad, crystals, run_dir=tmp_path)


def test_rows_that_were_held_out_are_held_out_again(crystals, tmp_path):
    few = labelled_crystals(("rocksalt",))
    config = small_config()
    before = divide(config, few)
    after = divide(config, crystals, held_out=before.held_out)
    hashes = {
        part: {rows.dataset.content_hashes[row] for row in getattr(rows, part)}
        for rows, part in ((before, "test"),)
    }
    now = {after.dataset.content_hashes[row] for row in after.test}
    assert hashes["test"] <= now
    formulas = {before.dataset.reduced_formulas[row] for row in before.test}
    assert not formulas & {after.dataset.reduced_formulas[row] for row in after.train}
    assert len(after.train) > len(before.train)
