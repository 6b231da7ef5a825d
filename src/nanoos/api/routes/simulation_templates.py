"""Templates of simulations: list, keep, delete, run."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from nanoos.api.context import Lab
from nanoos.api.errors import answers
from nanoos.api.schemas.common import PageAnswer, PageQuery
from nanoos.api.schemas.templates import TemplateAnswer, TemplateBody, TemplateName, TemplateRun
from nanoos.api.schemas.work import SimulationAnswer
from nanoos.api.security import Reader, Writer

router = APIRouter(
    prefix="/simulations/templates",
    tags=["simulations"],
    responses=answers(401, 403, 422, 500, 503),
)


@router.get("", response_model=PageAnswer[TemplateAnswer])
def list_templates(query: Annotated[PageQuery, Query()], lab: Lab, who: Reader) -> Any:
    """Own and shared templates and those that come with nanoos, newest first."""
    return lab.templates.page(who, **query.model_dump())


@router.post("", status_code=201, response_model=TemplateAnswer, responses=answers(404, 409, 413))
def create_template(body: TemplateBody, lab: Lab, who: Writer) -> Any:
    """Keep a workflow with parameters under a name."""
    return lab.templates.create(who=who, **body.model_dump())


@router.get("/{template}", response_model=TemplateAnswer, responses=answers(404))
def get_template(template: TemplateName, lab: Lab, who: Reader) -> Any:
    """One template, by its name or id."""
    return lab.templates.get(template, who)


@router.delete("/{template}", status_code=204, responses=answers(404))
def delete_template(template: TemplateName, lab: Lab, who: Writer) -> None:
    """Delete a template of your own; simulations that were run from it stay."""
    lab.templates.delete(template, who)


@router.post(
    "/{template}/run",
    status_code=202,
    response_model=SimulationAnswer,
    responses=answers(404, 409, 413),
)
def run_template(template: TemplateName, body: TemplateRun, lab: Lab, who: Writer) -> Any:
    """Queue the simulation of a template; parameters given here replace the template's."""
    return lab.templates.run(
        template,
        body.structure_id,
        who,
        overrides=body.parameters,
        priority=body.priority,
    )
