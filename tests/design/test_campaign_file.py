"""A campaign file: every mistake is answered with its line and the nearest valid key."""

from pathlib import Path

import pytest

from nanoos.core.errors import ConfigError, NotFoundError
from nanoos.design.campaign import CampaignConfig, judge
from nanoos.design.campaign_file import load_campaign_file

GOOD = """\
name: search
target_property: bulk_modulus
goal: max
constraints:
  - formation_energy <= 0.1 eV/atom
parameter_space:
  type: prototypes
  prototypes:
    rocksalt: {A: [Mg, Ca], X: [O, S]}
simulation:
  engine: MLIP
  workflow: equation_of_state
  parameters:
    fmax: 0.05
bo_config:
  batch_size: 2
simulation_budget: 3
"""


def refusal(tmp_path: Path, text: str) -> ConfigError:
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_campaign_file(path)
    assert str(path) in str(caught.value)
    return caught.value


def test_a_good_file_is_read(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(GOOD)
    config = load_campaign_file(path)
    assert config.constraints[0].bound == 0.1
    assert config.bo_config.batch_size == 2


@pytest.mark.parametrize(
    ("old", "new", "line", "words", "hint"),
    [
        ("simulation_budget", "simulation_budgte", 17, "simulation_budgte", "simulation_budget"),
        ("  batch_size", "  batchsize", 16, "batchsize", "batch_size"),
        ("    fmax", "    fmx", 14, "fmx", "fmax"),
        ("type: prototypes", "type: prototype", 7, "prototype", "prototypes"),
        ("  prototypes:\n", "  prototyps:\n", 8, "prototyps", "prototypes"),
        ("engine: MLIP", "engine: MLPI", 11, "MLPI", "MLIP"),
        (
            "workflow: equation_of_state",
            "workflow: equation_of_stat",
            12,
            "equation_of_stat",
            "equation_of_state",
        ),
        ("bulk_modulus", "bulk_module", 2, "bulk_module", ""),
        (
            "workflow: equation_of_state",
            "workflow: relax",
            2,
            "bulk_modulus",
            "equation_of_state of MLIP",
        ),
        ("engine: MLIP", "engine: QE", 5, "formation_energy", "relax of MLIP"),
        ("    fmax", "    potential: CHGNeet\n    fmax", 12, "CHGNeet", "CHGNet"),
        ("goal: max", "goal: most", 3, "min", ""),
        ("0.1 eV/atom", "0.1 GPa", 4, "eV/atom", ""),
        ("fmax: 0.05", "fmax: -1", 14, "fmax", ""),
        ("simulation_budget: 3", "simulation_budget: many", 17, "integer", ""),
        ("rocksalt: {A", "roksalt: {A", 9, "roksalt", ""),
        ("[Mg, Ca]", "[Mg, Kx]", 9, "Kx", ""),
    ],
)
def test_a_mistake_has_its_line_and_a_way_out(tmp_path, old, new, line, words, hint):
    assert old in GOOD
    error = refusal(tmp_path, GOOD.replace(old, new, 1))
    first = next(text for text in error.message.splitlines() if words in text)
    assert f":{line}:" in first
    assert hint in (error.hint or "")


def test_several_mistakes_are_all_named(tmp_path):
    text = GOOD.replace("batch_size", "batchsize").replace("simulation_budget", "budget")
    error = refusal(tmp_path, text)
    assert len(error.details["problems"]) >= 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a campaign"),
        ("- a\n- b\n", "not a campaign"),
        ("name: [unclosed\n", ":2"),
        ("name: a\nname: b\n", "twice"),
        ("name: !!python/object/apply:os.system ['true']\n", ":1"),
        ("\x00\x01", "campaign.yaml"),
    ],
)
def test_what_is_no_campaign_is_refused(tmp_path, text, words):
    assert words in refusal(tmp_path, text).message


def test_a_missing_file_and_a_near_one(tmp_path):
    (tmp_path / "campaign.yaml").write_text(GOOD)
    with pytest.raises(NotFoundError) as caught:
        load_campaign_file(tmp_path / "campain.yaml")
    assert "campaign.yaml" in (caught.value.hint or "")


def test_paths_are_taken_relative_to_the_file(tmp_path):
    text = GOOD.replace(
        "  type: prototypes\n  prototypes:\n    rocksalt: {A: [Mg, Ca], X: [O, S]}\n",
        "  type: structures\n  paths: [here]\n",
    )
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    assert load_campaign_file(path).parameter_space["paths"] == [str(tmp_path / "here")]


def test_the_shipped_examples_are_good():
    for path in (Path(__file__).parents[2] / "examples").glob("*.yaml"):
        if not path.name.startswith("train_"):
            assert load_campaign_file(path).name


def test_judging_follows_goal_range_and_constraints():
    base = {
        "name": "x",
        "target_property": "bulk_modulus",
        "parameter_space": {},
        "simulation_budget": 1,
        "constraints": ["formation_energy <= 0"],
    }
    good = {"bulk_modulus_gpa": 200.0, "formation_energy_ev_per_atom": -1.0}
    bad = {"bulk_modulus_gpa": 300.0, "formation_energy_ev_per_atom": 0.5}
    largest = CampaignConfig.model_validate(base | {"goal": "max"})
    assert judge(largest, good).score == 200
    assert not judge(largest, bad).feasible
    assert judge(largest, bad).score == float("-inf")
    assert not judge(largest, {"bulk_modulus_gpa": 300.0}).feasible, "unknown is not feasible"
    assert judge(largest, {}) is None
    smallest = CampaignConfig.model_validate(base | {"goal": "min"})
    assert judge(smallest, good).score == -200
    ranged = CampaignConfig.model_validate(base | {"target_range": [150, 180]})
    assert judge(ranged, good).score == -20
    assert not judge(ranged, good).hit
    assert judge(ranged, good | {"bulk_modulus_gpa": 160.0}).hit
