"""Templates: seeded once, kept under one name, run with overrides."""

import pytest

from nanoos.core.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from nanoos.db import UserTable
from nanoos.services.access import LOCAL_PRINCIPAL as ME
from nanoos.services.access import Principal
from nanoos.services.schema import migrate_up
from nanoos.services.simulation_templates import SHIPPED, sync_shipped_templates
from nanoos.services.simulations import SimulationService
from nanoos.testing.crystals import rocksalt

SCOPES = frozenset({"read", "write"})


@pytest.fixture
def lab(services_on_both):
    sync_shipped_templates(services_on_both.database)
    return services_on_both


@pytest.fixture
def people(lab):
    with lab.database.write() as session:
        rows = [UserTable(username=name) for name in ("ada", "bob")]
        session.add_all(rows)
        session.flush()
        return [
            Principal(user_id=row.id, username=row.username, role="user", scopes=SCOPES)
            for row in rows
        ]


def test_the_first_start_seeds_them(services):
    names = {template.name for template in services.templates.page(ME).items}
    assert names == {"MD_NVT_LAMMPS", "MD_NPT_LAMMPS", "MD_ANNEAL_LAMMPS"}


def test_they_are_seeded_once_and_restored(lab, people, settings_on_both):
    before = {template.name: template.id for template in lab.templates.page(ME).items}
    assert sync_shipped_templates(lab.database) == 0
    migrate_up(settings_on_both.resolved_database_url)
    after = lab.templates.page(people[0])
    assert {template.name: template.id for template in after.items} == before
    assert after.total == len(SHIPPED)
    for name in SHIPPED:
        with pytest.raises(ForbiddenError, match="comes with nanoos"):
            lab.templates.delete(name, ME)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_understood(name):
    plan = SimulationService.plan(engine="LAMMPS", workflow=name, parameters=SHIPPED[name][1])
    assert plan.workflow == name
    assert plan.queue == "md"
    assert plan.parameters["temperature"] == 300


def test_overrides_replace_and_join(lab):
    structure = lab.structures.add(rocksalt(4.2), ME, source={"kind": "test"})[0].id
    with pytest.raises(InvalidInputError, match="No potential"):
        lab.templates.run("MD_NPT_LAMMPS", structure, ME)
    overrides = {"potential": "CHGNet", "temperature": 600, "num_steps": 100}
    simulation = lab.templates.run("MD_NPT_LAMMPS", structure, ME, overrides=overrides)
    assert (simulation.engine, simulation.workflow, simulation.state) == (
        "LAMMPS", "MD_NPT_LAMMPS", "queued"
    )  # fmt: skip
    assert simulation.parameters["temperature"] == 600
    assert simulation.parameters["pressure"] == 1.0, "of the template"
    assert simulation.parameters["barostat_damping"] == 1000, "a default of the engine"
    assert lab.templates.run("MD_NPT_LAMMPS", structure, ME, overrides=overrides) == simulation
    assert lab.templates.get("MD_NPT_LAMMPS", ME).parameters["temperature"] == 300, "unchanged"
    with pytest.raises(InvalidInputError, match="temprature"):
        lab.templates.run("MD_NPT_LAMMPS", structure, ME, overrides={"temprature": 1})


def test_templates_of_users(lab, people):
    ada, bob = people
    made = lab.templates.create(
        "hot-salt",
        ada,
        engine="lj",
        workflow="relax",
        parameters={"fmax": 0.01},
        description="mine",
    )
    assert (made.engine, made.owner_id, made.parameters) == ("LJ", ada.user_id, {"fmax": 0.01})
    assert lab.templates.get(str(made.id), ada) == made
    assert lab.templates.page(ada).items[0] == made
    with pytest.raises(NotFoundError):
        lab.templates.get("hot-salt", bob)
    with pytest.raises(ConflictError):
        lab.templates.create("hot-salt", bob, engine="LJ", workflow="relax")
    shared = lab.templates.create("for-all", ada, engine="LJ", workflow="relax", shared=True)
    assert lab.templates.get("for-all", bob) == shared
    with pytest.raises(ForbiddenError):
        lab.templates.delete("for-all", bob)
    lab.templates.delete("for-all", ada)
    lab.templates.delete("hot-salt", ME)
    assert lab.templates.page(ada).total == len(SHIPPED)


@pytest.mark.parametrize(
    "changes",
    [{"name": "a/b"}, {"name": ""}, {"name": "0" * 32}, {"workflow": "dance"}, {"parameters": {"x": 1}}],
    ids=["slash", "empty", "an-id", "workflow", "parameter"],
)  # fmt: skip
def test_what_cannot_be_kept(services, changes):
    given = {"name": "one", "engine": "LJ", "workflow": "relax", **changes}
    with pytest.raises(InvalidInputError):
        services.templates.create(given.pop("name"), ME, **given)
    assert services.templates.page(ME).total == len(SHIPPED)
