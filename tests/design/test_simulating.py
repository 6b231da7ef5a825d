"""One line changes the engine of a campaign; what it cannot deliver is refused with who can."""

import pytest

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.design.campaign import CampaignConfig, SimulationConfig, observed
from nanoos.design.simulating import (
    cross_check_request,
    method_name,
    simulation_request,
    undeliverable,
)
from nanoos.engines import get_engine

BOTH = {"fmax": 0.03, "potential": "SevenNet", "keep_symmetry": True, "kdist": 0.3}


def request(engine, workflow="relax", **parameters):
    return simulation_request(
        SimulationConfig(engine=engine, workflow=workflow, parameters=parameters)
    )


def campaign(**changes):
    document = {
        "name": "x",
        "target_property": "volume_per_atom",
        "goal": "min",
        "parameter_space": {},
        "simulation_budget": 1,
        "simulation": {"engine": "QE", "workflow": "relax", "parameters": BOTH},
    }
    return CampaignConfig.model_validate(document | changes)


def test_one_line_changes_the_engine_and_each_takes_its_own_parameters():
    by_potential, by_dft = request("MLIP", **BOTH), request("qe", **BOTH)
    assert (by_potential.engine, by_potential.workflow) == ("MLIP", "relax")
    assert by_potential.parameters == {
        "fmax": 0.03,
        "potential": "SevenNet",
        "keep_symmetry": True,
    }
    assert by_potential.set_aside == ("kdist",)
    assert (by_dft.engine, by_dft.workflow) == ("QE", "vc_relax"), "the cell moves with both"
    assert by_dft.parameters == {"fmax": 0.03, "kdist": 0.3}
    assert by_dft.set_aside == ("potential", "keep_symmetry")
    for one in (by_potential, by_dft):
        assert get_engine(one.engine)().validate_parameters(one.asked).fmax == 0.03


@pytest.mark.parametrize(
    ("engine", "written", "parameters", "asked"),
    [
        ("QE", "relax", {"relax_cell": True}, "vc_relax"),
        ("QE", "relax", {"relax_cell": False}, "relax"),
        ("QE", "vc_relax", {}, "vc_relax"),
        ("QE", "single_point", {}, "scf"),
        ("QE", "equation_of_state", {"relax_first": False}, "equation_of_state"),
        ("QE", "bands", {}, "bands"),
        ("MLIP", "vc_relax", {"kdist": 0.2, "pressure_tolerance_gpa": 0.2}, "relax"),
        ("MLIP", "scf", {}, "single_point"),
        ("MLIP", "elastic", {}, "elastic"),
        ("LJ", "relax", {}, "relax"),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_workflows_mean_the_same_with_both(engine, written, parameters, asked):
    found = request(engine, written, **parameters)
    assert found.workflow == asked
    get_engine(engine)().validate_parameters(found.asked)


def test_what_nobody_knows_and_what_the_other_engine_refuses():
    with pytest.raises(InvalidInputError, match="fmx"):
        get_engine("QE")().validate_parameters(request("QE", fmx=0.1).asked)
    with pytest.raises(NotFoundError, match="CHGNeet"):
        request("QE", potential="CHGNeet")
    with pytest.raises(InvalidInputError, match="kdist"):
        request("MLIP", kdist=-1)
    with pytest.raises(InvalidInputError, match="no workflow 'phonons'"):
        get_engine("QE")().validate_parameters(request("QE", "phonons").asked)


def test_winners_of_a_dft_campaign_are_checked_with_a_potential():
    assert cross_check_request(campaign()) is None
    check = cross_check_request(campaign(cross_check={"potential": "CHGNet"}))
    assert (check.engine, check.workflow) == ("MLIP", "relax")
    assert check.parameters["potential"] == "CHGNet"
    assert "kdist" not in check.parameters
    assert method_name(check) == "CHGNet"
    assert method_name(simulation_request(campaign().simulation)) == "QE"


@pytest.mark.parametrize(
    ("changes", "sentence", "hint"),
    [
        (
            {"target_property": "bulk_modulus"},
            "vc_relax of QE gives no 'bulk_modulus'",
            "equation_of_state of QE",
        ),
        (
            {"constraints": ["formation_energy <= 0"]},
            "vc_relax of QE gives no 'formation_energy'",
            "relax of MLIP",
        ),
        (
            {"target_property": "band_gap", "simulation": {"engine": "MLIP", "workflow": "relax"}},
            "relax of MLIP gives no 'band_gap'",
            "vc_relax of QE",
        ),
        (
            {"simulation": {"engine": "QE", "parameters": {"relax_cell": False}, "workflow": "relax"}},
            "relax of QE gives no 'volume_per_atom'",
            "vc_relax of QE",
        ),
        (
            {"target_property": "band_gap", "cross_check": {"potential": "CHGNet"}},
            "relax of MLIP gives no 'band_gap'",
            "scf of QE",
        ),
    ],
    ids=["bulk-modulus", "formation-energy", "gap", "fixed-cell", "cross-check"],
)  # fmt: skip
def test_what_the_work_does_not_give_is_refused_with_who_gives_it(changes, sentence, hint):
    (refusal,) = undeliverable(campaign(**changes))
    assert refusal.sentence == sentence
    assert hint in refusal.hint


@pytest.mark.parametrize(
    ("target", "simulation"),
    [
        ("band_gap", {"engine": "QE", "workflow": "relax"}),
        ("volume_per_atom", {"engine": "QE", "workflow": "relax"}),
        ("bulk_modulus", {"engine": "QE", "workflow": "equation_of_state"}),
        ("bulk_modulus", {"engine": "MLIP", "workflow": "elastic"}),
        ("formation_energy", {"engine": "MLIP", "workflow": "relax"}),
        ("volume_per_atom", {"engine": "MLIP", "workflow": "relax"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
def test_what_the_work_gives_is_let_through(target, simulation):
    assert not list(undeliverable(campaign(target_property=target, simulation=simulation)))


def test_the_volume_of_a_fit_comes_before_that_of_the_cell():
    both = {"equilibrium_volume_a3_per_atom": 20.0, "volume_a3_per_atom": 21.0}
    assert observed(both)["volume_per_atom"] == 20.0
    assert observed({"volume_a3_per_atom": 21.0, "band_gap_ev": float("nan")}) == {
        "volume_per_atom": 21.0
    }
