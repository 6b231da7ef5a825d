"""Campaigns from start to end on the Lennard-Jones engine, killed and resumed on the way."""

import threading
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from nanoos.core.errors import (
    ConfigError,
    ConflictError,
    EngineError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from nanoos.db import CandidateTable, JobTable, SimulationResultTable, SimulationTable
from nanoos.engines.mlip.engine import LennardJonesEngine
from nanoos.services.access import LOCAL_PRINCIPAL as ME
from nanoos.services.access import Principal
from nanoos.services.campaign_progress import wake

ELEMENTS = ["Mg", "Ca", "Sr", "Ba", "Zn", "Cd"]


def config(**changes):
    document = {
        "name": "test search",
        "target_property": "energy",
        "goal": "min",
        "parameter_space": {
            "type": "prototypes",
            "prototypes": {
                "zincblende": {"A": ELEMENTS, "X": ["O", "S", "Se"]},
                "cscl": {"A": ELEMENTS, "X": ["O", "S", "Se"]},
            },
        },
        "simulation": {"engine": "LJ", "workflow": "single_point"},
        "bo_config": {"n_initial_random": 5, "batch_size": 3},
        "simulation_budget": 11,
        "baseline": {"enabled": True, "seed": 3},
        "seed": 1,
    }
    return document | changes


def other_user(services) -> Principal:
    return Principal(
        user_id=uuid.uuid4(), username="other", role="user", scopes=frozenset({"read", "write"})
    )


def test_runs_to_its_budget_and_beats_nothing_it_did_not_simulate(services_on_both, drain):
    services = services_on_both
    campaign = services.campaigns.create(config(), ME)
    assert campaign.state == "created"
    services.campaigns.run(campaign.id, ME)
    drain(services)
    done = services.campaigns.get(campaign.id, ME)
    assert (done.state, done.reason) == ("completed", "The budget is used.")
    assert done.simulations_used == 11
    assert done.iterations == 3
    candidates = services.campaigns.candidates(campaign.id, ME)
    assert [c.order for c in candidates] == list(range(11))
    assert all(c.state == "simulated" and c.value_source == "simulated" for c in candidates)
    assert len({c.point_key for c in candidates}) == 11
    assert done.best_value == min(c.value for c in candidates)
    model_made = [c for c in candidates if c.iteration > 1]
    assert all(c.predicted_value is not None and c.predicted_sigma > 0 for c in model_made)
    assert all(c.reason for c in candidates)
    baseline = services.campaigns.candidates(campaign.id, ME, baseline=True)
    assert len(baseline) == 11
    trajectory = services.campaigns.trajectory(campaign.id, ME)
    assert len(trajectory.best) == len(trajectory.baseline) == 11
    assert trajectory.best == sorted(trajectory.best, reverse=True)
    assert trajectory.best[-1] == done.best_value
    assert [i["number"] for i in trajectory.iterations] == [1, 2, 3]
    assert all(i["finished_at"] for i in trajectory.iterations)


def test_what_campaign_and_baseline_share_is_simulated_once(services, drain):
    campaign = services.campaigns.create(config(), ME)
    services.campaigns.run(campaign.id, ME)
    drain(services)
    own = {c.point_key for c in services.campaigns.candidates(campaign.id, ME)}
    random = {c.point_key for c in services.campaigns.candidates(campaign.id, ME, baseline=True)}
    with services.database.read() as session:
        simulations = session.scalar(select(func.count()).select_from(SimulationTable))
        results = session.scalar(select(func.count()).select_from(SimulationResultTable))
    assert simulations == results == len(own | random)
    assert own & random, "the seeds should overlap, or this test shows nothing"


def test_a_second_campaign_reuses_every_simulation(services, drain):
    first = services.campaigns.create(config(), ME)
    services.campaigns.run(first.id, ME)
    drain(services)
    second = services.campaigns.create(config(name="again"), ME)
    services.campaigns.run(second.id, ME)
    drain(services)
    with services.database.read() as session:
        attempts = session.scalar(
            select(func.sum(JobTable.attempt)).where(JobTable.kind == "simulation")
        )
        simulations = session.scalar(select(func.count()).select_from(SimulationTable))
    assert attempts == simulations
    assert [c.value for c in services.campaigns.candidates(first.id, ME)] == [
        c.value for c in services.campaigns.candidates(second.id, ME)
    ]


def test_a_campaign_on_other_files_simulates_anew(services, drain, monkeypatch):
    document = config(
        simulation_budget=3,
        baseline={"enabled": False},
        bo_config={"n_initial_random": 3, "batch_size": 3},
        cross_check={"potential": "LJ", "top": 1},
    )

    def simulations() -> int:
        campaign = services.campaigns.create(document, ME)
        services.campaigns.run(campaign.id, ME)
        drain(services)
        assert services.campaigns.get(campaign.id, ME).state == "completed"
        with services.database.read() as session:
            return session.scalar(select(func.count()).select_from(SimulationTable))

    assert [simulations(), simulations()] == [3, 3]
    monkeypatch.setattr(LennardJonesEngine, "fingerprint", lambda *_: {"my.sw": "1" * 64})
    assert [simulations(), simulations()] == [6, 6]


def test_what_failed_before_a_campaign_is_simulated_again_once(services, drain, monkeypatch):
    def campaign():
        created = services.campaigns.create(config(), ME)
        services.campaigns.run(created.id, ME)
        drain(services)
        with services.database.read() as session:
            attempts = session.scalars(
                select(JobTable.attempt).where(JobTable.kind == "simulation")
            ).all()
        return services.campaigns.get(created.id, ME), sorted(attempts)

    def missing(*_args, **_kwargs):
        raise EngineError("The program is not installed.")

    with monkeypatch.context() as patch:
        patch.setattr(LennardJonesEngine, "execute", missing)
        first, attempts = campaign()
    assert first.state == "failed"
    assert set(attempts) == {1}, "a campaign and its baseline share their failures"

    second, _ = campaign()
    assert second.state == "completed"
    candidates = services.campaigns.candidates(second.id, ME)
    assert {c.state for c in candidates} == {"simulated"}
    again = services.campaigns.candidates(first.id, ME)
    assert {c.state for c in again} == {"simulated"}, "they are the same simulations"


@pytest.mark.parametrize("stop_after", [1, 2, 4, 9, 13, 20])
def test_stopped_anywhere_it_ends_as_if_never_stopped(services, settings, drain, stop_after):
    from nanoos.bootstrap import build_services

    stopped = services.campaigns.create(config(name="stopped"), ME)
    services.campaigns.run(stopped.id, ME)
    drain(services, at_most=stop_after)
    services.close()
    resumed = build_services(settings)
    if resumed.campaigns.get(stopped.id, ME).state != "completed":
        resumed.campaigns.run(stopped.id, ME)
    drain(resumed)
    assert resumed.campaigns.get(stopped.id, ME).state == "completed"
    with resumed.database.read() as session:
        twice = session.scalar(
            select(func.count()).select_from(JobTable).where(JobTable.attempt > 1)
        )
    assert twice == 0
    straight = resumed.campaigns.create(config(name="straight"), ME)
    resumed.campaigns.run(straight.id, ME)
    drain(resumed)
    assert [c.point_key for c in resumed.campaigns.candidates(stopped.id, ME)] == [
        c.point_key for c in resumed.campaigns.candidates(straight.id, ME)
    ]
    resumed.close()


def test_a_step_killed_before_its_commit_leaves_nothing_and_is_taken_again(services, drain):
    campaign = services.campaigns.create(config(baseline={"enabled": False}), ME)
    services.campaigns.run(campaign.id, ME)
    from nanoos.services.campaign_steps import run_step
    from nanoos.services.job_attempts import Executor

    executor = Executor(host="elsewhere", pid=1, start_time=0.0)
    claim = services.jobs.claim(["default"], executor)

    class Context:
        run_dir = None

        def progress(self, fraction, message):
            return None

    run_step(services, claim, Context())  # decides, but its process dies before it is written
    assert services.campaigns.candidates(campaign.id, ME) == []
    assert services.jobs.requeue_lost(claim, "killed")
    drain(services)
    assert services.campaigns.get(campaign.id, ME).state == "completed"


def test_many_wakes_at_once_queue_one_step(services_on_both):
    services = services_on_both
    campaign = services.campaigns.create(config(baseline={"enabled": False}), ME)
    services.campaigns.run(campaign.id, ME)

    def wake_it():
        with services.database.write() as session:
            wake(session, campaign.id)

    threads = [threading.Thread(target=wake_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert services.jobs.page(ME, kind="campaign").total == 1


def test_step_does_one_iteration_and_pauses(services, drain):
    campaign = services.campaigns.create(config(), ME)
    services.campaigns.step(campaign.id, ME)
    drain(services)
    after = services.campaigns.get(campaign.id, ME)
    assert (after.state, after.iterations, after.simulations_used) == ("paused", 1, 5)
    services.campaigns.step(campaign.id, ME)
    drain(services)
    assert services.campaigns.get(campaign.id, ME).iterations == 2


def test_pause_stops_choosing_and_run_goes_on(services, drain):
    campaign = services.campaigns.create(config(), ME)
    services.campaigns.run(campaign.id, ME)
    drain(services, at_most=2)
    services.campaigns.pause(campaign.id, ME)
    drain(services)
    paused = services.campaigns.get(campaign.id, ME)
    assert paused.state == "paused"
    assert paused.iterations == 1
    services.campaigns.run(campaign.id, ME)
    drain(services)
    assert services.campaigns.get(campaign.id, ME).state == "completed"
    with pytest.raises(ConflictError, match="completed"):
        services.campaigns.run(campaign.id, ME)


def test_failed_simulations_are_kept_and_never_chosen_again(services, drain):
    # not relaxed first: the range of volumes does not bracket a minimum for every crystal
    document = config(simulation_budget=36, baseline={"enabled": False})
    document["simulation"] = {
        "engine": "LJ",
        "workflow": "equation_of_state",
        "parameters": {"relax_first": False, "eos_strain": 0.2, "eos_points": 5},
    }
    campaign = services.campaigns.create(document, ME)
    services.campaigns.run(campaign.id, ME)
    drain(services)
    done = services.campaigns.get(campaign.id, ME)
    keys = [c.point_key for c in services.campaigns.candidates(campaign.id, ME)]
    assert done.state == "completed"
    assert len(keys) == len(set(keys)) == 36, "the whole space, each point once"
    states = [c.state for c in services.campaigns.candidates(campaign.id, ME)]
    assert 0 < states.count("failed") < 36, "or this test shows nothing"


def test_a_campaign_whose_simulations_all_fail_stops_and_says_why(services, drain):
    document = config(baseline={"enabled": False})
    document["simulation"] = {
        "engine": "LJ",
        "workflow": "relax",
        "parameters": {"max_steps": 1, "fmax": 1e-6},
    }
    campaign = services.campaigns.create(document, ME)
    services.campaigns.run(campaign.id, ME)
    drain(services)
    done = services.campaigns.get(campaign.id, ME)
    assert done.state == "failed"
    assert "simulations failed, the first with" in done.reason
    assert done.simulations_used == 5, "the rest of the budget is not spent"


def test_a_target_range_counts_hits_and_goes_on_after_the_first(services, drain):
    document = config(goal=None, target_range=[-2.0, -0.5], baseline={"enabled": False})
    campaign = services.campaigns.create(document, ME)
    services.campaigns.run(campaign.id, ME)
    drain(services)
    trajectory = services.campaigns.trajectory(campaign.id, ME)
    inside = sum(-2.0 <= c.value <= -0.5 for c in services.campaigns.candidates(campaign.id, ME))
    assert trajectory.hits[-1] == inside > 1
    assert len(trajectory.best) == 11


def test_constraints_decide_what_wins(services, drain):
    document = config(constraints=["volume_per_atom >= 20 Å^3/atom"])
    document["simulation"] = {"engine": "LJ", "workflow": "equation_of_state"}
    document["target_property"], document["goal"] = "bulk_modulus", "max"
    campaign = services.campaigns.create(document, ME)
    services.campaigns.run(campaign.id, ME)
    drain(services)
    ranked = services.campaigns.ranked(campaign.id, ME)
    assert ranked
    assert all(c.values["equilibrium_volume_a3_per_atom"] >= 20 for c in ranked)
    everything = services.campaigns.candidates(campaign.id, ME)
    assert any(c.feasible is False for c in everything)
    best = services.campaigns.get(campaign.id, ME).best_value
    assert best == max(c.value for c in everything if c.feasible)


def test_active_learning_strategy_chooses_by_uncertainty(services, drain):
    document = config(
        active_learning={
            "enabled": True,
            "strategy": "uncertainty",
            "simulation_budget_per_iteration": 2,
        },
        simulation_budget=9,
        baseline={"enabled": False},
    )
    campaign = services.campaigns.create(document, ME)
    services.campaigns.run(campaign.id, ME)
    drain(services)
    candidates = services.campaigns.candidates(campaign.id, ME)
    later = [c for c in candidates if c.iteration > 1]
    assert [c.iteration for c in later] == [2, 2, 3, 3]
    assert all("uncertainty" in c.reason for c in later)


def test_select_for_simulation_ranks_and_submits_nothing(services, drain):
    campaign = services.campaigns.create(config(), ME)
    with pytest.raises(ConflictError, match="too few"):
        services.campaigns.select_for_simulation(campaign.id, ME, strategy="uncertainty", budget=3)
    services.campaigns.step(campaign.id, ME)
    drain(services)
    selected, total = services.campaigns.select_for_simulation(
        campaign.id, ME, strategy="expected_improvement", budget=3
    )
    assert len(selected) == 3
    assert total == 36 - 5
    scores = [entry.acquisition_score for entry in selected]
    assert scores == sorted(scores, reverse=True)
    assert services.jobs.page(ME, state="queued").total == 0
    with pytest.raises(InvalidInputError, match="strategy"):
        services.campaigns.select_for_simulation(campaign.id, ME, strategy="luck", budget=3)


def test_bad_campaigns_are_refused_before_anything_is_stored(services):
    bad = config()
    bad["parameter_space"]["prototypes"]["cscl"]["A"] = ["Po"]
    bad["simulation"] = {"engine": "MLIP", "workflow": "equation_of_state"}
    for document, error, words in (
        (config(goal="upwards"), ConfigError, "goal"),
        (config(target_property="hardness"), ConfigError, "hardness"),
        (config(goal=None), ConfigError, "goal"),
        (config(budget=3), ConfigError, "budget"),
        (config(constraints=["formation_energy < nothing"]), ConfigError, "constraint"),
        (config(constraints=["formation_energy <= 0 GPa"]), ConfigError, "eV/atom"),
        (config(simulation={"engine": "VASSP"}), NotFoundError, "VASSP"),
        (config(bo_config={"acquisition_function": "eii"}), NotFoundError, "eii"),
        (bad, ConfigError, "Po"),
    ):
        with pytest.raises(error, match=words):
            services.campaigns.create(document, ME)
    assert services.campaigns.page(ME).total == 0


def test_files_of_the_server_are_out_of_reach_for_a_campaign_of_the_api(services, tmp_path):
    document = config(parameter_space={"type": "structures", "paths": [str(tmp_path)]})
    with pytest.raises(ForbiddenError, match="files of the server"):
        services.campaigns.create(document, ME)


def test_another_users_campaign_is_not_there(services):
    campaign = services.campaigns.create(config(), ME)
    stranger = other_user(services)
    for call in (services.campaigns.get, services.campaigns.run, services.campaigns.candidates):
        with pytest.raises(NotFoundError):
            call(campaign.id, stranger)
    assert services.campaigns.page(stranger).total == 0
    admin = replace(stranger, role="admin", scopes=frozenset({"read", "write", "admin"}))
    assert services.campaigns.get(campaign.id, admin).id == campaign.id


def test_the_same_key_gives_the_same_campaign(services):
    first = services.campaigns.create(config(), ME, key="one")
    assert services.campaigns.create(config(), ME, key="one").id == first.id
    assert services.campaigns.create(config(), ME, key="two").id != first.id


def test_the_same_key_at_once_gives_one_campaign(services_on_both):
    services = services_on_both
    found, barrier = [], threading.Barrier(4)

    def create():
        barrier.wait()
        found.append(services.campaigns.create(config(), ME, key="one").id)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert services.campaigns.page(ME).total == 1


def test_deleting_a_campaign_keeps_structures_and_results(services, drain):
    campaign = services.campaigns.create(config(baseline={"enabled": False}), ME)
    services.campaigns.run(campaign.id, ME)
    drain(services)
    services.campaigns.delete(campaign.id, ME)
    with pytest.raises(NotFoundError):
        services.campaigns.get(campaign.id, ME)
    with services.database.read() as session:
        assert session.scalar(select(func.count()).select_from(CandidateTable)) == 0
        assert session.scalar(select(func.count()).select_from(SimulationResultTable)) == 11
    assert services.structures.page(ME).total == 11


def test_estimate_counts_before_it_builds(services):
    estimate = services.campaigns.estimate(config(), concurrency=2)
    assert (estimate.raw_size, estimate.size) == (36, 36)
    assert estimate.simulations == estimate.baseline_simulations == 11
    assert estimate.seconds > 0
    assert services.campaigns.page(ME).total == 0
    assert services.structures.page(ME).total == 0
