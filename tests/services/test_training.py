"""Trainings as jobs: checked before they are queued, registered, compared, activated."""

import json
import uuid
from pathlib import Path

import pytest

from nanoos.core.errors import (
    ConfigError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from nanoos.db import ModelTable
from nanoos.services.access import LOCAL_PRINCIPAL, Principal
from nanoos.services.job_garbage import collect_garbage
from nanoos.services.shipped_models import sync_shipped_models
from nanoos.structures.generate import build_prototype
from nanoos.training.artifact import write_checkpoint
from nanoos.training.config import TrainingConfig, parse_training_config
from nanoos.training.preparing import divide

pytestmark = pytest.mark.usefixtures("no_shipped_models")

GUEST = Principal(
    user_id=uuid.uuid4(), username="guest", role="user", scopes=frozenset({"read", "write"})
)
ANIONS = ("O", "S", "Se", "F", "Cl", "N")


def add_dataset(services, folder: Path, name: str, cations: tuple[str, ...]) -> None:
    rows = [build_prototype("rocksalt", {"A": a, "X": x}) for a in cations for x in ANIONS]
    text = "\n".join(
        json.dumps(
            {
                "structure": row.as_dict(),
                "formation_energy_eV_per_atom": row.volume / row.n_sites / 10,
                "band_gap_eV": row.volume / 50,
            }
        )
        for row in rows
    )
    path = folder / f"{name}.jsonl"
    path.write_text(text)
    services.datasets.import_file(path, LOCAL_PRINCIPAL, name=name)


def config(**changes: object) -> TrainingConfig:
    document = {
        "name": "energies",
        "dataset": "oxides",
        "targets": "formation_energy",
        "model": "RandomForest",
        "min_rows": 10,
        "parameters": {"n_trees": 5},
    }
    return parse_training_config(document | changes)


NETWORK = {
    "model": "CGCNN",
    "epochs": 2,
    "hidden_dim": 8,
    "num_layers": 1,
    "parameters": {"max_neighbors": 4, "cutoff": 5.0, "head_dim": 8},
}


@pytest.fixture
def lab(services, tmp_path):
    add_dataset(services, tmp_path, "oxides", ("Li", "Na", "Mg", "Ca", "Ti"))
    return services


class TestSubmitting:
    def test_a_network_is_trained_registered_and_kept(self, lab, drain, monkeypatch):
        monkeypatch.setattr("nanoos.worker.child.PROGRESS_INTERVAL_S", 0.0)
        targets = ["formation_energy", "bandgap"]
        submitted = lab.training.submit(config(**NETWORK, targets=targets), LOCAL_PRINCIPAL)
        assert submitted.names == ("energies_formation_energy", "energies_bandgap")
        assert drain(lab) == 1
        job = lab.jobs.get(submitted.job_id, LOCAL_PRINCIPAL)
        assert job.state == "completed", job.error
        model = lab.models.find("energies_bandgap")
        assert (model.target, model.model_type, model.version) == ("bandgap", "CGCNN", "1")
        assert not model.is_active
        assert model.job_id == job.id
        assert model.metrics["mae"] == job.result["metrics"]["bandgap"]["mae"]
        events = lab.jobs.events(job.id, LOCAL_PRINCIPAL)
        assert any("epoch" in (event.data.get("message") or "") for event in events)
        collect_garbage(lab.database, lab.jobs, lab.job_files, grace_s=-1)
        path = lab.models.checkpoint_file(model)
        assert path.read_bytes()[8:].startswith(b"{")
        assert json.loads(lab.models.held_out(model))["test"]["formulas"]

    def test_the_same_run_is_not_queued_twice(self, lab):
        first = lab.training.submit(config(), LOCAL_PRINCIPAL)
        assert lab.training.submit(config(), LOCAL_PRINCIPAL) == first
        with pytest.raises(ConflictError) as caught:
            lab.training.submit(config(seed=3), LOCAL_PRINCIPAL)
        assert caught.value.error_code == "training_in_progress"

    def test_a_cancelled_run_can_be_asked_for_again(self, lab, drain):
        first = lab.training.submit(config(), LOCAL_PRINCIPAL)
        lab.jobs.cancel(first.job_id, LOCAL_PRINCIPAL)
        second = lab.training.submit(config(), LOCAL_PRINCIPAL)
        assert second.job_id != first.job_id
        assert drain(lab) == 1
        with pytest.raises(ConflictError) as caught:
            lab.training.submit(config(), LOCAL_PRINCIPAL)
        assert caught.value.error_code == "model_exists"

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"dataset": "nothing"}, NotFoundError),
            ({"targets": "hardness"}, NotFoundError),
            ({"min_rows": 1000}, InvalidInputError),
            ({"parameters": {"leaves": 3}}, ConfigError),
            (NETWORK | {"init_from": "nobody"}, NotFoundError),
            ({"name": "n" * 79, "targets": ["formation_energy", "bandgap" * 10]}, ConfigError),
        ],
        ids=["dataset", "target", "rows", "parameter", "init_from", "long_name"],
    )
    def test_what_cannot_work_is_refused_at_once(self, lab, changes, error):
        with pytest.raises(error):
            lab.training.submit(config(**changes), LOCAL_PRINCIPAL)
        assert lab.jobs.page(LOCAL_PRINCIPAL).total == 0

    def test_paths_are_for_this_machine_only(self, lab, tmp_path, drain):
        given = config(dataset=str(tmp_path / "oxides.jsonl"))
        with pytest.raises(NotFoundError):
            lab.training.submit(given, LOCAL_PRINCIPAL)
        lab.training.submit(given, LOCAL_PRINCIPAL, allow_local_files=True)
        assert drain(lab) == 1
        assert lab.models.find("energies").metrics["n"] > 0

    def test_others_do_not_see_the_data_set(self, lab):
        with pytest.raises(NotFoundError):
            lab.training.submit(config(), GUEST)


class TestActivating:
    def rows(self, services, *names: str) -> None:
        with services.database.write() as session:
            for name in names:
                session.add(
                    ModelTable(
                        name=name,
                        version="1",
                        target="bandgap",
                        model_type="CGCNN",
                        training_config={},
                        metrics={},
                        dataset_info={},
                    )
                )

    def test_one_is_active(self, services_on_both):
        self.rows(services_on_both, "a", "b")
        models = services_on_both.models
        assert models.active("CGCNN", "bandgap") is None
        for name in ("a", "b", "a"):
            assert models.activate(name, LOCAL_PRINCIPAL).is_active
            assert models.active("CGCNN", "bandgap").name == name
            assert sum(model.is_active for model in models.all()) == 1

    def test_only_an_administrator_may(self, services):
        self.rows(services, "a")
        with pytest.raises(ForbiddenError):
            services.models.activate("a", GUEST)
        with pytest.raises(NotFoundError):
            services.models.activate("z", LOCAL_PRINCIPAL)


class TestRetraining:
    def test_a_better_model_takes_over_and_a_worse_one_does_not(self, lab, tmp_path, drain):
        lab.training.submit(config(), LOCAL_PRINCIPAL)
        drain(lab)
        old = lab.models.activate("energies", LOCAL_PRINCIPAL)
        more = ("Li", "Na", "Mg", "Ca", "Ti", "K", "Sr", "Ba", "Zr", "Sc", "V", "Mn", "Fe", "Co")
        add_dataset(lab, tmp_path, "more", more)
        retrain = lab.training.check_and_retrain
        assert retrain("energies", LOCAL_PRINCIPAL, dataset="more", min_new=1000) is None
        started = retrain("energies", LOCAL_PRINCIPAL, dataset="more", min_new=10)
        assert started.version == "2"
        assert drain(lab) == 1
        job = lab.jobs.get(started.job_id, LOCAL_PRINCIPAL)
        assert job.state == "completed", job.error
        new = lab.models.find("energies", "2")
        assert json.loads(lab.models.held_out(new)) == json.loads(lab.models.held_out(old))
        better = new.metrics["mae"] < old.metrics["mae"]
        assert lab.models.active("RandomForest", "formation_energy").version == "12"[better]

    def test_a_shipped_model_cannot_be_compared(self, lab):
        TestActivating().rows(lab, "shipped")
        with pytest.raises(InvalidInputError):
            lab.training.check_and_retrain("shipped", LOCAL_PRINCIPAL, dataset="oxides")


def test_shipped_checkpoints_get_rows_once(lab, tmp_path, monkeypatch):
    given = config(targets=["formation_energy", "bandgap"])
    dataset = lab.training.dataset_named(given, LOCAL_PRINCIPAL)
    path = tmp_path / "forest.safetensors"
    write_checkpoint(
        path,
        ({},),
        config=given,
        parameters={},
        rows=divide(given, dataset),
        metrics={"bandgap": {"mae": 0.3}},
        training={},
    )
    monkeypatch.setattr("nanoos.models.checkpoints.shipped_checkpoints", lambda: [path])
    before = len(lab.models.all())
    assert sync_shipped_models(lab.database) == 2
    assert sync_shipped_models(lab.database) == 0
    assert len(lab.models.all()) == before + 2
    model = lab.models.find("randomforest_bandgap_v1")
    assert model.is_active
    assert model.is_system_provided
    assert model.metrics == {"mae": 0.3}
    assert lab.models.checkpoint_file(model) == path
