"""Runs that were killed with SIGKILL in the middle go on and end as if they had not been."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from killed_run import crystal, watched

from nanoos.engines import get_engine
from nanoos.engines.mlip.checkpoints import CHECKPOINTS
from nanoos.potentials import get_potential, relax_many
from nanoos.potentials.checkpoint import Checkpoint
from nanoos.testing.crystals import rocksalt

FREE = {"keep_symmetry": False, "fmax": 2e-3}
SMALL = {"repeats": [1, 1, 1], "mesh_length": 5.0, "band_points": 10}
WORK = {
    "relax": {"workflow": "relax", **FREE},
    "relax-atoms": {"workflow": "relax", "relax_cell": False, **FREE},
    "equation_of_state": {"workflow": "equation_of_state", **FREE},
    "elastic": {"workflow": "elastic", "strain_points": 2, **FREE},
    "elastic-clamped": {"workflow": "elastic", "relax_atoms": False, **FREE},
    "phonons": {"workflow": "phonons", **SMALL, **FREE},
    "phonons-as-given": {"workflow": "phonons", "relax_first": False, **SMALL, **FREE},
}


def run(folder, parameters):
    """The result, and the structures of each evaluation."""
    evaluations = []
    with watched(evaluations.append):
        result = get_engine("LJ")().run(crystal(), parameters, folder)
    return result, evaluations


@pytest.mark.parametrize(
    ("work", "share"),
    [
        ("relax", 0.5),
        ("relax-atoms", 0.8),
        ("equation_of_state", 0.3),
        ("equation_of_state", 0.8),
        ("elastic", 0.9),
        ("elastic-clamped", 0.95),
        ("phonons", 0.5),
        ("phonons-as-given", 0.7),
    ],
    ids=str,
)
def test_a_killed_run_repeats_nothing_and_ends_the_same(work, share, tmp_path):
    whole, evaluations = run(tmp_path / "whole", WORK[work])
    last = int(share * len(evaluations))
    assert 3 < last < len(evaluations), "or this test shows nothing"
    program = [sys.executable, str(Path(__file__).with_name("killed_run.py"))]
    ended = subprocess.run(
        [*program, str(tmp_path / "killed"), json.dumps(WORK[work]), str(last)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    again, rest = run(tmp_path / "killed", WORK[work])
    made = Counter(name for batch in evaluations[: last - 1] for name in batch)
    repeated = Counter(name for batch in rest for name in batch) & made
    # a single relaxation evaluates the geometry again that it goes on from
    assert repeated.total() <= 1
    assert len(rest) <= len(evaluations) - last + 2
    assert again.values == pytest.approx(whole.values, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(again.structure.frac_coords, whole.structure.frac_coords, atol=1e-9)
    assert again.series.keys() == whole.series.keys()
    for name, numbers in whole.series.items():
        assert again.series[name] == pytest.approx(numbers, rel=1e-7, abs=1e-9), name
    assert not (tmp_path / "killed" / "output" / CHECKPOINTS).exists()
    log = (tmp_path / "killed" / "output" / "log.txt").read_text()
    assert log.count("LJ ") >= 2, "the first attempt's log stays"


def test_what_other_work_left_is_not_taken_up(tmp_path):
    path = tmp_path / "there" / "kept.npz"
    mine = Checkpoint(path, "mine")
    assert mine.load() == {}
    mine.save(lambda: {"numbers": np.arange(3)})
    assert mine.load()["numbers"].tolist() == [0, 1, 2]
    assert Checkpoint(path, "another's").load() == {}
    path.write_bytes(path.read_bytes()[:100])
    assert mine.load() == {}, "a broken file is no obstacle"


def test_saving_does_not_take_the_time_of_the_work(tmp_path, monkeypatch):
    clock = iter([0.0, 1.0, 20.9, 21.0, 22.0, 22.5])
    monkeypatch.setattr("nanoos.potentials.checkpoint.time.monotonic", lambda: next(clock))
    kept = Checkpoint(tmp_path / "kept.npz", "work")
    saved = []

    def arrays():
        saved.append(1)
        return {}

    kept.save(arrays)  # takes one second, so the next may be 20 s later
    kept.save(arrays)
    assert len(saved) == 1
    kept.save(arrays)
    assert len(saved) == 2
    kept.save(arrays)
    assert len(saved) == 2


def test_crystals_of_a_batch_that_had_ended_are_not_begun_again(tmp_path):
    crystals = [rocksalt(4.1), crystal()]
    options = {"fmax": 1e-3, "keep_symmetry": False}
    straight = relax_many(crystals, get_potential("LJ"), **options)

    class KilledError(Exception):
        pass

    def stop_after_the_first(_, message):
        if message.startswith("1 of 2"):
            raise KilledError

    with watched(lambda _: None), pytest.raises(KilledError):
        relax_many(
            crystals,
            get_potential("LJ"),
            checkpoint=Checkpoint(tmp_path / "kept.npz", "batch"),
            progress=stop_after_the_first,
            **options,
        )
    evaluations, ended = [], []
    with watched(evaluations.append):
        again = relax_many(
            crystals,
            get_potential("LJ"),
            checkpoint=Checkpoint(tmp_path / "kept.npz", "batch"),
            done=lambda index, _: ended.append(index),
            **options,
        )
    assert ended == [0, 1]
    assert all(len(batch) == 1 for batch in evaluations), "only the second is left"
    assert len(evaluations) < len(straight[1].steps)
    for one, other in zip(again, straight, strict=True):
        assert len(one.steps) == len(other.steps)
        assert one.result.energy_ev == pytest.approx(other.result.energy_ev, abs=1e-10)
        np.testing.assert_allclose(one.result.stress, other.result.stress, atol=1e-12)
