from typing import ClassVar

import pytest

from nanoos.core.errors import ConfigError, NotFoundError
from nanoos.design.spaces import SPACES, build_space
from nanoos.design.spaces.prototypes import MAX_RAW_SIZE, PrototypeSpace, PrototypeSpaceConfig
from nanoos.design.spaces.structures import StructureSpace
from nanoos.structures.generate import build_prototype
from nanoos.testing.space import SpaceContract


class TestPrototypeSpace(SpaceContract):
    name = "prototypes"
    config: ClassVar = {
        "type": "prototypes",
        "prototypes": {
            "rocksalt": {"A": ["Ti", "Mg", "Na"], "X": ["C", "O", "Cl"]},
            "perovskite": {"A": ["Sr", "Ba"], "B": ["Ti", "Zr"], "X": ["O"]},
            "half_heusler": {"X": ["Ni", "Co"], "Y": ["Ti", "Zr"], "Z": ["Sn", "Sb"]},
            "wc": {"A": ["W", "Mo"], "X": ["C", "N"]},
        },
    }


class TestStructureSpace(SpaceContract):
    name = "structures"

    @pytest.fixture
    def space(self, tmp_path):
        from nanoos.structures.io import write_structures

        for metal in ("Mg", "Ca", "Sr"):
            structure = build_prototype("rocksalt", {"A": metal, "X": "O"})
            write_structures([structure], tmp_path / f"{metal}O.cif")
        write_structures(
            [build_prototype("perovskite", {"A": "Sr", "B": "Ti", "X": "O"})],
            tmp_path / "perovskite.cif",
        )
        return build_space({"type": "structures", "paths": [str(tmp_path)]})


def space_of(**config):
    return PrototypeSpace.from_config({"type": "prototypes", **config})


def keys(space):
    return [point.key for point in space]


def test_keys_order_and_size():
    space = space_of(prototypes={"wc": {"A": ["W", "Mo"], "X": ["C", "N"]}}, charge_neutral=False)
    assert keys(space) == ["wc:A=W,X=C", "wc:A=W,X=N", "wc:A=Mo,X=C", "wc:A=Mo,X=N"]
    assert space.raw_size == 4
    assert space.point("wc:A=Mo,X=N").elements == {"A": "Mo", "X": "N"}


def test_charge_neutrality():
    rocksalt = {"rocksalt": {"A": ["Na", "Mg"], "X": ["O", "Cl"]}}
    neutral = space_of(prototypes=rocksalt)
    assert keys(neutral) == ["rocksalt:A=Na,X=Cl", "rocksalt:A=Mg,X=O"]
    assert neutral.excluded == {"not_neutral": 2}
    assert space_of(prototypes=rocksalt, charge_neutral=False).size == 4
    # a prototype that is not ionic is only checked on request
    heusler = {"half_heusler": {"X": ["Ni"], "Y": ["Ti"], "Z": ["Mg"]}}
    assert space_of(prototypes=heusler).size == 1
    assert space_of(prototypes=heusler, charge_neutral=["half_heusler"]).size == 0


def test_repeats_and_exchanged_roles_are_counted_once():
    space = space_of(
        prototypes={"cscl": {"A": ["Ti", "Fe"], "X": ["Fe", "Ti"]}}, charge_neutral=False
    )
    assert keys(space) == ["cscl:A=Ti,X=Fe"]
    assert space.excluded == {"repeated_element": 2, "same_crystal": 1}
    with_repeats = space_of(
        prototypes={"cscl": {"A": ["Ti", "Fe"], "X": ["Fe", "Ti"]}},
        charge_neutral=False,
        allow_repeats=True,
    )
    assert with_repeats.size == 3
    # the roles of a perovskite are not equivalent: both orders are different crystals
    both = {"perovskite": {"A": ["La", "Al"], "B": ["La", "Al"], "X": ["O"]}}
    assert space_of(prototypes=both).size == 2


def test_excluded_elements():
    space = space_of(
        prototypes={"rocksalt": {"A": ["Mg", "Pb", "Cd"], "X": ["O", "S"]}},
        exclude_elements=["Pb", "Cd"],
    )
    assert keys(space) == ["rocksalt:A=Mg,X=O", "rocksalt:A=Mg,X=S"]
    assert space.excluded == {"excluded_element": 4}
    assert space.raw_size == 6


def test_large_space_is_counted_quickly_without_structures(monkeypatch):
    monkeypatch.setattr(
        "nanoos.design.spaces.prototypes.build_prototype",
        lambda *_: pytest.fail("a structure was built"),
    )
    metals = [
        "Li",
        "Na",
        "K",
        "Mg",
        "Ca",
        "Sr",
        "Ba",
        "Sc",
        "Y",
        "La",
        "Ti",
        "Zr",
        "Hf",
        "V",
        "Nb",
        "Ta",
        "Cr",
        "Mo",
        "W",
        "Mn",
        "Fe",
        "Co",
        "Ni",
        "Cu",
        "Zn",
    ]
    space = space_of(prototypes={"perovskite": {"A": metals, "B": metals, "X": ["O", "F"]}})
    assert space.raw_size == 25 * 25 * 2
    assert 100 < space.size < space.raw_size


def test_too_large_a_space_is_refused_before_it_is_enumerated():
    from nanoos.structures.elements import SYMBOLS

    symbols = [s for s in SYMBOLS[3:80] if s not in {"Ne", "Ar", "Kr", "Xe"}]
    roles = dict.fromkeys(("A", "B", "C", "X"), symbols)
    with pytest.raises(ConfigError) as error:
        space_of(prototypes={"double_perovskite": roles})
    assert error.value.error_code == "space_too_large"
    assert f"{MAX_RAW_SIZE:,}" in error.value.message


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"prototypes": {"rocksal": {"A": ["Mg"], "X": ["O"]}}}, "rocksalt"),
        ({"prototypes": {"rocksalt": {"A": ["Mg"]}}}, "roles"),
        ({"prototypes": {"rocksalt": {"A": ["Mg"], "X": ["Oo"]}}}, "Oo"),
        ({"prototypes": {"rocksalt": {"A": ["Mg", "Mg"], "X": ["O"]}}}, "twice"),
        ({"prototypes": {"rocksalt": {"A": [], "X": ["O"]}}}, "no elements"),
        ({"prototypes": {}}, "prototypes"),
        (
            {"prototypes": {"wc": {"A": ["W"], "X": ["C"]}}, "charge_neutral": ["rocksalt"]},
            "not in the space",
        ),
    ],
)
def test_bad_descriptions_are_refused(config, word):
    with pytest.raises(ConfigError) as error:
        space_of(**config)
    assert word in error.value.message


def test_typo_in_a_setting_gets_the_nearest_name():
    with pytest.raises(ConfigError) as error:
        space_of(prototypes={"wc": {"A": ["W"], "X": ["C"]}}, charge_neutrl=True)
    assert "charge_neutral" in error.value.hint


def test_build_space_and_registry():
    config = {"type": "prototypes", "prototypes": {"wc": {"A": ["W"], "X": ["C"]}}}
    assert build_space(config).size == 1
    assert isinstance(
        PrototypeSpace.from_config(PrototypeSpaceConfig.model_validate(config)), PrototypeSpace
    )
    with pytest.raises(ConfigError, match="no type"):
        build_space({"prototypes": {}})
    with pytest.raises(NotFoundError) as error:
        build_space({"type": "prototype"})
    assert "prototypes" in error.value.hint
    assert {"prototypes", "structures"} <= set(SPACES.names())


def test_structures_given_twice_are_taken_once():
    mgo = build_prototype("rocksalt", {"A": "Mg", "X": "O"})
    cao = build_prototype("rocksalt", {"A": "Ca", "X": "O"})
    space = StructureSpace({"a": mgo, "b": cao, "c": mgo})
    assert keys(space) == ["a", "b"]
    assert space.excluded == {"same_crystal": 1}
    assert space.raw_size == 3


def test_unreadable_candidates_are_refused_before_anything_is_spent(tmp_path):
    (tmp_path / "broken.cif").write_text("this is not a crystal")
    with pytest.raises(ConfigError, match=r"broken\.cif"):
        build_space({"type": "structures", "paths": [str(tmp_path)]})
    with pytest.raises(ConfigError, match="no structures"):
        StructureSpace({})


def test_given_and_built_structures_get_the_same_numbers():
    built = next(iter(space_of(prototypes={"perovskite": {"A": ["Sr"], "B": ["Ti"], "X": ["O"]}})))
    given = next(iter(StructureSpace({"SrTiO3": built.structure()})))
    assert given.coordination == pytest.approx(built.coordination)
    assert given.nearest_neighbor == pytest.approx(built.nearest_neighbor)
    assert given.bonds == pytest.approx(dict(built.bonds))
    assert built.bonds == {("O", "Ti"): pytest.approx(1.0)}
