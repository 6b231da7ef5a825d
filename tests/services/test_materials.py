"""Materials: one of each formula for each owner, made with the first structure."""

import pytest
from sqlalchemy import func, select

from nanoos.core.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from nanoos.db import Database, StructureTable, UserTable
from nanoos.services.access import LOCAL_PRINCIPAL, Principal
from nanoos.services.materials import MaterialService
from nanoos.services.structures import StructureService
from nanoos.testing.crystals import rocksalt, wurtzite

SOURCE = {"kind": "test"}


@pytest.fixture
def materials(database: Database) -> MaterialService:
    return MaterialService(database)


@pytest.fixture
def structures(database: Database) -> StructureService:
    return StructureService(database)


@pytest.fixture
def people(database: Database) -> list[Principal]:
    with database.write() as session:
        rows = [UserTable(username=name) for name in ("ada", "bob")]
        session.add_all(rows)
        session.flush()
        return [
            Principal(user_id=row.id, username=row.username, role="user", scopes=frozenset())
            for row in rows
        ]


def test_a_formula_is_stored_reduced_and_once(materials, people):
    ada, bob = people
    made = materials.create("O4Mg2Mg2", ada, name="periclase", notes="hard")
    assert (made.formula, made.name, made.notes, made.n_structures) == (
        "MgO",
        "periclase",
        "hard",
        0,
    )
    assert materials.get(made.id, ada) == made
    with pytest.raises(ConflictError, match="MgO"):
        materials.create("MgO", ada)
    assert materials.create("MgO", bob).id != made.id
    with pytest.raises(InvalidInputError):
        materials.create("Mgo", ada)


def test_the_first_structure_makes_it_and_finds_it(materials, structures, people):
    ada, _ = people
    made = materials.create("MgO", ada)
    record, _ = structures.add(rocksalt(), ada, source=SOURCE)
    assert record.material_id == made.id
    structures.add(wurtzite(), ada, source=SOURCE)
    page = materials.page(ada)
    assert [(item.formula, item.n_structures) for item in page.items] == [("ZnO", 1), ("MgO", 1)]
    assert [item.formula for item in materials.page(ada, formula="O1Zn1").items] == ["ZnO"]
    assert materials.page(ada, limit=1).next is not None


def test_a_shared_structure_shares_its_material_and_hides_the_rest(materials, structures, people):
    ada, bob = people
    hidden, _ = structures.add(rocksalt(), ada, source=SOURCE)
    with pytest.raises(NotFoundError):
        materials.get(hidden.material_id, bob)
    structures.add(rocksalt(4.4), ada, source=SOURCE, shared=True)
    assert materials.get(hidden.material_id, bob).n_structures == 1
    assert materials.get(hidden.material_id, ada).n_structures == 2
    assert [record.formula for record in structures.page(bob).items] == ["MgO"]


def test_only_the_owner_or_an_admin_changes_it(materials, people):
    ada, bob = people
    made = materials.create("MgO", ada)
    with pytest.raises(NotFoundError):
        materials.update(made.id, bob, name="mine")
    assert materials.update(made.id, ada, name="ours", shared=True).name == "ours"
    with pytest.raises(ForbiddenError):
        materials.update(made.id, bob, name="mine")
    with pytest.raises(ForbiddenError):
        materials.delete(made.id, bob)
    changed = materials.update(made.id, LOCAL_PRINCIPAL, notes="seen by an admin")
    assert (changed.name, changed.notes, changed.shared) == ("ours", "seen by an admin", True)


@pytest.mark.parametrize(
    "fields",
    [{"formula": "CaO"}, {"name": "x" * 201}, {"shared": None}, {"notes": 3}, {"name": "a\x00"}],
)
def test_other_changes_are_refused(materials, people, fields):
    made = materials.create("MgO", people[0])
    with pytest.raises(InvalidInputError):
        materials.update(made.id, people[0], **fields)
    assert materials.get(made.id, people[0]) == made


def test_deleting_takes_its_structures_along(materials, structures, people, database):
    ada, _ = people
    record, _ = structures.add(rocksalt(), ada, source=SOURCE)
    structures.add(rocksalt(4.5), ada, source=SOURCE)
    kept, _ = structures.add(wurtzite(), ada, source=SOURCE)
    materials.delete(record.material_id, ada)
    with pytest.raises(NotFoundError):
        materials.get(record.material_id, ada)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(StructureTable)) == 1
    assert structures.get(kept.id, ada).formula == "ZnO"
