"""Templates of simulations."""

import uuid
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from nanoos.api.schemas.common import Answer, Body
from nanoos.api.schemas.work import Name

TemplateName = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]
"""Its name or its id."""


class TemplateBody(Body):
    """A new template."""

    name: TemplateName
    """One template of each name, whoever owns it."""
    engine: Name
    workflow: Name
    """One of the engine's."""
    parameters: dict[str, Any] = Field(default={})
    """Of the workflow; checked now, and again with a structure when it is run."""
    description: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] = ""
    shared: bool = False
    """Whether every user sees it."""


class TemplateRun(Body):
    """What to run a template on."""

    structure_id: uuid.UUID
    parameters: dict[str, Any] = Field(default={})
    """They replace or join those of the template."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Larger is sooner."""


class TemplateAnswer(Answer):
    """A template."""

    id: uuid.UUID
    owner_id: uuid.UUID | None
    """Null for those that come with nanoos."""
    shared: bool
    name: str
    description: str
    engine: str
    workflow: str
    parameters: dict[str, Any]
    """Those that were given; the engine's defaults fill in the rest."""
    created_at: AwareDatetime
