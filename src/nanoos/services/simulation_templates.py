"""Templates of simulations: a workflow with parameters under a name, run with overrides."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from nanoos.db import Database, SimulationTemplateTable, insert_if_absent
from nanoos.services.access import Principal, visible
from nanoos.services.paging import Page, fetch_page
from nanoos.services.simulations import Simulation, SimulationService

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NEEDS: Final = "Needs a potential that covers the elements: potential=NAME."
_DYNAMICS: Final[Mapping[str, Any]] = {
    "temperature": 300.0,
    "timestep": 1.0,
    "num_steps": 50_000,
    "min_length": 12.0,
    "seed": 4928459,
}
SHIPPED: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "MD_NVT_LAMMPS": (
        f"50 ps at 300 K in a fixed cell, with RDF and diffusion. {_NEEDS}",
        {**_DYNAMICS, "analysis": ["rdf", "msd"]},
    ),
    "MD_NPT_LAMMPS": (
        f"50 ps at 300 K and 1 bar; the cell scales with the pressure. {_NEEDS}",
        {**_DYNAMICS, "pressure": 1.0, "cell": "isotropic", "analysis": ["rdf", "msd"]},
    ),
    "MD_ANNEAL_LAMMPS": (
        f"50 ps: from 300 K to 1000 K, held, cooled and held again, in a fixed cell. {_NEEDS}",
        {**_DYNAMICS, "anneal_temperature": 1000.0, "schedule": [0.2, 0.2, 0.4, 0.2]},
    ),
}
"""Name, which is that of LAMMPS's workflow, to description and parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationTemplate:
    """A template as it stood when it was read.

    Attributes:
        id: Its id.
        owner_id: Who may delete it; None for those that come with nanoos.
        shared: Whether everybody may see it.
        name: One template of each name.
        description: For people.
        engine: Engine.
        workflow: One of the engine's.
        parameters: Those that were given; defaults fill in the rest when it is run.
        created_at: UTC.
    """

    id: uuid.UUID
    owner_id: uuid.UUID | None
    shared: bool
    name: str
    description: str
    engine: str
    workflow: str
    parameters: Mapping[str, Any]
    created_at: datetime


class SimulationTemplateService:
    """Everything that happens to templates. Thread-safe: holds no state but the database.

    Args:
        database: Where they are.
        simulations: Runs them.
    """

    def __init__(self, database: Database, simulations: SimulationService) -> None:
        self._db = database
        self._simulations = simulations

    def create(
        self,
        name: str,
        who: Principal,
        *,
        engine: str,
        workflow: str,
        parameters: Mapping[str, Any] | None = None,
        description: str = "",
        shared: bool = False,
    ) -> SimulationTemplate:
        """Keep a workflow with parameters under a name.

        Raises:
            NotFoundError: no such engine.
            InvalidInputError: a name that is none, no such workflow, or a parameter is unknown or
                out of range.
            ConflictError: there is a template of this name, perhaps somebody else's.
        """
        _check_name(name)
        plan = self._simulations.plan(engine=engine, workflow=workflow, parameters=parameters or {})
        values = {
            "id": uuid.uuid4(),
            "owner_id": who.user_id,
            "shared": shared,
            "name": name,
            "description": description,
            "engine": plan.engine,
            "workflow": plan.workflow,
            "parameters": dict(parameters or {}),
        }
        with self._db.write() as session:
            if not insert_if_absent(session, SimulationTemplateTable, values):
                raise ConflictError(
                    f"There is a template {name!r} already.",
                    hint="Choose another name, or delete that one if it is yours.",
                    details={"name": name},
                )
        return self.get(name, who)

    def get(self, name_or_id: str, who: Principal) -> SimulationTemplate:
        """One template. Raises NotFoundError where it is not there or not visible."""
        with self._db.read() as session:
            return _record(_visible_row(session, name_or_id, who))

    def page(
        self, who: Principal, *, cursor: str | None = None, limit: int = 50
    ) -> Page[SimulationTemplate]:
        """Visible templates, newest first: own and shared ones and those of nanoos."""
        query = select(SimulationTemplateTable).where(visible(SimulationTemplateTable, who))
        with self._db.read() as session:
            rows, total, following = fetch_page(
                session, query, SimulationTemplateTable, cursor=cursor, limit=limit
            )
            return Page(items=[_record(row) for row in rows], total=total, next=following)

    def delete(self, name_or_id: str, who: Principal) -> None:
        """Delete a template; simulations that were run from it stay.

        Raises:
            NotFoundError: it is not there or not visible.
            ForbiddenError: it is somebody else's, or comes with nanoos.
        """
        with self._db.write() as session:
            row = _visible_row(session, name_or_id, who)
            if row.owner_id is None:
                raise ForbiddenError(f"The template {row.name} comes with nanoos and stays.")
            if not who.is_admin and row.owner_id != who.user_id:
                raise ForbiddenError(
                    "This template is shared with you; only its owner may delete it."
                )
            session.execute(
                delete(SimulationTemplateTable).where(SimulationTemplateTable.id == row.id)
            )

    def run(
        self,
        name_or_id: str,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        overrides: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> Simulation:
        """Submit the simulation of a template; as :meth:`SimulationService.submit`.

        Args:
            name_or_id: Of the template.
            structure_id: Of a stored structure.
            who: Who asks.
            overrides: Parameters that replace or join those of the template.
            priority: Higher ones run first.

        Raises:
            NotFoundError: no such template or structure.
            InvalidInputError: parameters that do not fit, said before anything is queued.
        """
        template = self.get(name_or_id, who)
        return self._simulations.submit(
            structure_id,
            who,
            engine=template.engine,
            workflow=template.workflow,
            parameters={**template.parameters, **(overrides or {})},
            priority=priority,
        )


def sync_shipped_templates(database: Database) -> int:
    """Give every template of the package its row; returns how many are new.

    Doing it again changes nothing.
    """
    with database.read() as session:
        known = set(session.scalars(select(SimulationTemplateTable.name)))
    missing = SHIPPED.keys() - known
    if not missing:
        return 0
    with database.write() as session:
        return sum(
            insert_if_absent(
                session,
                SimulationTemplateTable,
                {
                    "id": uuid.uuid4(),
                    "owner_id": None,
                    "shared": True,
                    "name": name,
                    "description": SHIPPED[name][0],
                    "engine": "LAMMPS",
                    "workflow": name,
                    "parameters": dict(SHIPPED[name][1]),
                },
            )
            for name in sorted(missing)
        )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or _as_id(name) is not None:
        raise InvalidInputError(
            f"{name!r} is no name for a template.",
            hint="Letters, digits, dots, dashes and underscores, at most 100; not an id.",
        )


def _as_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _visible_row(session: Session, name_or_id: str, who: Principal) -> SimulationTemplateTable:
    named = SimulationTemplateTable.name == name_or_id
    if (template_id := _as_id(name_or_id)) is not None:
        named = SimulationTemplateTable.id == template_id
    row = session.scalar(
        select(SimulationTemplateTable).where(named, visible(SimulationTemplateTable, who))
    )
    if row is None:
        raise NotFoundError(
            f"There is no template {name_or_id!r}.", hint="'nanoos templates list' has them."
        )
    return row


def _record(row: SimulationTemplateTable) -> SimulationTemplate:
    return SimulationTemplate(
        id=row.id,
        owner_id=row.owner_id,
        shared=row.shared,
        name=row.name,
        description=row.description,
        engine=row.engine,
        workflow=row.workflow,
        parameters=row.parameters,
        created_at=row.created_at,
    )
