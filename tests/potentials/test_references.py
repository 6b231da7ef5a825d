import json

import numpy as np
import pytest

from nanoos.core.errors import (
    ConflictError,
    EngineError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from nanoos.features.neighbors import neighbor_list
from nanoos.potentials import (
    ReferenceTable,
    build_references,
    formation_energy_ev_per_atom,
    get_potential,
    load_references,
    references,
    write_references,
)
from nanoos.potentials.coverage import MPTRJ_ELEMENTS
from nanoos.potentials.elemental import candidates, ground_states
from nanoos.potentials.relaxation import space_group_label


@pytest.fixture(scope="module")
def table():
    return build_references(get_potential("LJ"), elements=["Mg", "Cu", "Si"])


def test_every_covered_element_has_a_ground_state():
    assert set(ground_states()) == MPTRJ_ELEMENTS


# nearest-neighbour distance (Å) and atoms in the primitive cell, from the literature
@pytest.mark.parametrize(
    ("element", "distance", "n_sites", "group"),
    [
        ("Fe", 2.48, 1, "Im-3m (229)"),
        ("Mg", 3.20, 2, "P6_3/mmc (194)"),
        ("Si", 2.35, 2, "Fd-3m (227)"),
        ("S", 2.04, 32, "Fddd (70)"),
        ("Mn", 2.24, 29, "I-43m (217)"),
        ("B", 1.67, 12, "R-3m (166)"),
        ("P", 2.22, 4, "Cmce (64)"),
        ("Se", 2.37, 3, "P3_121 (152)"),
        ("Ga", 2.47, 4, "Cmce (64)"),
        ("I", 2.71, 4, "Cmce (64)"),
        ("O", 1.21, 2, "C2/m (12)"),
        ("U", 2.75, 2, "Cmcm (63)"),
        ("Pu", 2.57, 16, "P2_1/m (11)"),
        ("Hg", 2.99, 1, "R-3m (166)"),
    ],
)
def test_ground_states_are_those_of_the_literature(element, distance, n_sites, group):
    structure = ground_states()[element].structure(element)
    assert structure.n_sites == n_sites
    assert space_group_label(structure) == group
    nearest = neighbor_list(structure, 6.0).distances.min()
    assert nearest == pytest.approx(distance, abs=0.02)


def test_candidates_start_at_the_volume_of_the_ground_state():
    for element in ("Ti", "La", "Si", "S"):
        first, *others = candidates(element)
        assert first is ground_states()[element]
        assert others
        assert len({c.label for c in (first, *others)}) == len(others) + 1
    volumes = [c.structure("Ti").volume / c.structure("Ti").n_sites for c in candidates("Ti")]
    assert np.ptp(volumes) < 1e-3


def test_table_names_structure_and_lowest_candidate(table):
    copper = table.references["Cu"]
    assert copper.structure == "fcc (A1)"
    assert copper.cell == "relaxed"
    # close packing is what Lennard-Jones wants, so diamond silicon cannot be lowest
    silicon = table.references["Si"]
    assert silicon.structure == "diamond (A4)"
    assert silicon.lowest != silicon.structure
    assert silicon.lowest_below_ev_per_atom > 0.1
    known = [e for e in silicon.candidates.values() if e is not None]
    assert silicon.energy_ev_per_atom - silicon.lowest_below_ev_per_atom == pytest.approx(
        min(known), abs=1e-5
    )


def test_table_survives_its_file(table, tmp_path):
    path = tmp_path / "references.json"
    write_references(table, path)
    assert ReferenceTable.from_dict(json.loads(path.read_text())) == table
    assert [p.name for p in tmp_path.iterdir()] == ["references.json"]


def test_formation_energy_is_energy_minus_elements(table):
    potential = get_potential("LJ")
    elements = {e: r.energy_ev_per_atom for e, r in table.references.items()}
    expected = -1.5 - (elements["Mg"] * 1 + elements["Cu"] * 2) / 3
    value = formation_energy_ev_per_atom(-1.5, {"Mg": 1, "Cu": 2}, table, potential=potential)
    assert value == pytest.approx(expected)
    pure = formation_energy_ev_per_atom(elements["Cu"], {"Cu": 4}, table, potential=potential)
    assert pure == pytest.approx(0.0)


def test_table_serves_its_own_potential_only(table):
    with pytest.raises(ConflictError) as caught:
        table.check_belongs_to("LJ", "0" * 64)
    assert caught.value.error_code == "references_mismatch"
    with pytest.raises(InvalidInputError, match="Fe"):
        formation_energy_ev_per_atom(-1.0, {"Fe": 1}, table, potential=get_potential("LJ"))


def test_runaway_cell_falls_back_to_the_experimental_one(monkeypatch):
    real = references.relax

    def relax(*args, relax_cell=True, **kwargs):
        if relax_cell:
            raise EngineError("ran away", code="exploded")
        return real(*args, relax_cell=relax_cell, **kwargs)

    monkeypatch.setattr(references, "relax", relax)
    table = build_references(get_potential("LJ"), elements=["Cu"])
    assert table.references["Cu"].cell == "experimental"
    a = 4 ** (1 / 3) * table.references["Cu"].volume_a3_per_atom ** (1 / 3)
    assert a == pytest.approx(3.615, abs=1e-3)


def test_unknown_table_and_element():
    with pytest.raises(UnavailableError, match="LJ"):
        load_references("LJ")
    with pytest.raises(NotFoundError, match="Po"):
        build_references(get_potential("LJ"), elements=["Po"])
    with pytest.raises(InvalidInputError, match="format"):
        ReferenceTable.from_dict({"format": 99})


def _built_again(name, elements):
    """Elements relaxed again, so that a table is neither stale nor edited."""
    shipped = load_references(name)
    built = build_references(get_potential(name), elements=elements)
    for element, row in built.references.items():
        before = shipped.references[element]
        assert row.energy_ev_per_atom == pytest.approx(before.energy_ev_per_atom, abs=1e-3)
        assert row.structure == before.structure


@pytest.mark.parametrize("name", ["CHGNet", "SevenNet"])
def test_shipped_energies_are_what_the_potential_says_today(name):
    _built_again(name, ["N"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CHGNet", "SevenNet"])
def test_shipped_energies_of_more_elements(name):
    _built_again(name, ["Al", "Fe", "La", "Mn", "O", "Si"])
