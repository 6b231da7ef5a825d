"""Campaigns whose candidates are simulated by Quantum ESPRESSO."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from espresso_program import ARCHIVE, pw_command

from nanoos.bootstrap import build_services
from nanoos.core.errors import ConfigError, InvalidInputError, UnavailableError
from nanoos.engines.espresso.program import set_command
from nanoos.pseudopotentials import install_family, set_pseudo_folder
from nanoos.services.access import LOCAL_PRINCIPAL as ME


def config(**changes):
    document = {
        "name": "dft search",
        "target_property": "volume_per_atom",
        "target_range": [15, 25],
        "parameter_space": {
            "type": "prototypes",
            "prototypes": {"zincblende": {"A": ["B", "Al"], "X": ["P"]}},
        },
        "simulation": {
            "engine": "QE",
            "workflow": "relax",
            "parameters": {"potential": "CHGNet", "kdist": 0.9, "accuracy": "low"},
        },
        "bo_config": {"n_initial_random": 1, "batch_size": 1},
        "simulation_budget": 2,
        "baseline": {"enabled": False},
    }
    return document | changes


@pytest.fixture(scope="module")
def pseudos(shared, tmp_path_factory):
    """A folder with PseudoDojo."""
    if not (shared / ARCHIVE).exists():
        pytest.skip(f"{ARCHIVE} is not there")
    folder = tmp_path_factory.mktemp("pseudos")
    set_pseudo_folder(folder)
    install_family(shared / ARCHIVE)
    set_pseudo_folder(None)
    return folder


@pytest.fixture
def no_pw(monkeypatch, tmp_path):
    """A machine without pw.x."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def laboratory(services, pseudos):
    """Services of a machine with pseudopotentials and something that passes for pw.x."""
    set_pseudo_folder(pseudos)
    set_command(sys.executable)
    yield services
    set_pseudo_folder(None)
    set_command(None)


def nothing_stored(services):
    return services.campaigns.page(ME).total == 0 and services.jobs.page(ME).total == 0


@pytest.mark.usefixtures("no_pw")
def test_a_machine_without_pw_x_and_pseudopotentials_is_told_both_before_anything(services):
    with pytest.raises(UnavailableError) as caught:
        services.campaigns.create(config(), ME)
    assert caught.value.error_code == "family_missing"
    assert "nanoos pseudos install" in caught.value.hint
    assert nothing_stored(services)
    estimate = services.campaigns.estimate(config(), concurrency=1)
    family, program = estimate.missing
    assert "nanoos pseudos install PseudoDojo" in family
    assert "nanoos tools install QE" in program
    assert estimate.seconds is None, "an unknown cost is not guessed"
    assert estimate.seconds_per_simulation is None
    assert estimate.size == 2


def test_the_estimate_says_what_runs_and_what_is_set_aside(laboratory):
    estimate = laboratory.campaigns.estimate(config(), concurrency=1)
    assert estimate.missing == []
    assert (estimate.simulation, estimate.set_aside) == ("vc_relax of QE", ("potential",))
    assert 1 < estimate.seconds_per_simulation < 1000
    assert estimate.seconds > 2 * estimate.seconds_per_simulation
    assert "factor of three" in estimate.cost_note
    document = config()
    document["simulation"]["parameters"]["kdist"] = 0.3
    finer = laboratory.campaigns.estimate(document, concurrency=1)
    assert finer.seconds_per_simulation > 4 * estimate.seconds_per_simulation
    document["simulation"]["engine"] = "MLIP"
    other = laboratory.campaigns.estimate(document, concurrency=1)
    assert (other.simulation, other.set_aside) == ("relax of MLIP", ("kdist", "accuracy"))
    assert other.cost_note == ""


def test_what_cannot_be_delivered_is_refused_before_anything(laboratory):
    document = config(target_property="bulk_modulus", constraints=["formation_energy <= 0"])
    with pytest.raises(ConfigError) as caught:
        laboratory.campaigns.create(document, ME)
    assert "vc_relax of QE gives no 'bulk_modulus'" in caught.value.message
    assert "vc_relax of QE gives no 'formation_energy'" in caught.value.message
    assert "equation_of_state of QE" in caught.value.hint
    with pytest.raises(ConfigError):
        laboratory.campaigns.estimate(document, concurrency=1)
    assert nothing_stored(laboratory)


def test_elements_without_a_pseudopotential_are_all_named(laboratory):
    document = config()
    document["parameter_space"]["prototypes"]["zincblende"]["A"] = ["B", "Ce", "U"]
    with pytest.raises(ConfigError, match="does not cover Ce, U") as caught:
        laboratory.campaigns.create(document, ME)
    assert "exclude_elements: [Ce, U]" in caught.value.hint
    assert "PseudoDojo" in caught.value.message


def test_a_relaxation_that_this_machine_cannot_bear_is_refused(laboratory):
    document = config()
    document["simulation"]["parameters"] |= {"kdist": 0.03, "ecutwfc_ry": 400}
    with pytest.raises(InvalidInputError, match="takes about") as caught:
        laboratory.campaigns.create(document, ME)
    assert caught.value.error_code == "too_expensive"


def test_a_campaign_is_not_started_where_pw_x_has_gone(laboratory, monkeypatch, tmp_path):
    campaign = laboratory.campaigns.create(config(), ME)
    set_command(None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError) as caught:
        laboratory.campaigns.run(campaign.id, ME)
    assert caught.value.error_code == "no_pw"
    assert laboratory.campaigns.get(campaign.id, ME).state == "created"
    assert laboratory.jobs.page(ME).total == 0


@pytest.mark.slow
def test_two_candidates_by_dft_from_start_to_report(settings, pseudos, drain, tmp_path):
    services = build_services(settings)
    set_pseudo_folder(pseudos)
    set_command(pw_command())
    document = config()
    document["simulation"]["parameters"] |= {"pressure_tolerance_gpa": 0.5}
    try:
        campaign = services.campaigns.create(document, ME)
        services.campaigns.run(campaign.id, ME)
        drain(services)
        done = services.campaigns.get(campaign.id, ME)
        assert (done.state, done.simulations_used) == ("completed", 2)
        candidates = services.campaigns.candidates(campaign.id, ME)
        assert [c.state for c in candidates] == ["simulated", "simulated"], candidates
        volumes = {c.parameters["A"]: c.value for c in candidates}
        # PBE, all-electron: AlP 20.8, BP 11.7 Å^3/atom; the mesh is coarse
        assert volumes["Al"] == pytest.approx(20.8, rel=0.03)
        assert volumes["B"] == pytest.approx(11.7, rel=0.03)
        for candidate in candidates:
            simulation = services.simulations.get(candidate.simulation_id, ME)
            assert (simulation.engine, simulation.workflow) == ("QE", "vc_relax")
            final = simulation.final_structure
            assert final.volume / final.n_sites == pytest.approx(candidate.value)
            assert candidate.values["band_gap_ev"] > 0.5
        report = services.reports.build(campaign.id, ME)
        assert report.winners[0].candidate.parameters["A"] == "Al"
        notes = " ".join(report.notes)
        assert "PBE" in notes
        assert "CHGNet" not in notes
        assert services.reports.write(campaign.id, ME, tmp_path / "report")
        again = services.campaigns.create(document | {"name": "again"}, ME)
        services.campaigns.run(again.id, ME)
        drain(services)
        assert services.jobs.page(ME, kind="simulation").total == 2, "nothing is computed twice"
    finally:
        set_pseudo_folder(None)
        set_command(None)
        services.close()
