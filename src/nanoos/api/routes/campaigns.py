"""Design campaigns: make, run, read, export."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from nanoos.api.context import Lab
from nanoos.api.downloads import download
from nanoos.api.errors import answers
from nanoos.api.schemas.campaigns import (
    CampaignAnswer,
    CandidateList,
    SelectionAnswer,
    SelectionBody,
    TrajectoryAnswer,
)
from nanoos.api.schemas.common import PageAnswer, PageQuery
from nanoos.api.security import Reader, Writer
from nanoos.design.campaign import CampaignConfig

router = APIRouter(
    prefix="/design/campaigns", tags=["campaigns"], responses=answers(401, 403, 422, 500, 503)
)


@router.post(
    "/bo", status_code=201, response_model=CampaignAnswer, responses=answers(404, 409, 413)
)
def create_campaign(body: CampaignConfig, lab: Lab, who: Writer) -> Any:
    """Make a campaign; it is checked completely before anything is stored or queued."""
    return lab.campaigns.create(body, who)


@router.get("", response_model=PageAnswer[CampaignAnswer])
def list_campaigns(query: Annotated[PageQuery, Query()], lab: Lab, who: Reader) -> Any:
    """Own and shared campaigns, newest first."""
    return lab.campaigns.page(who, cursor=query.cursor, limit=query.limit)


@router.get("/{campaign_id:uuid}", response_model=CampaignAnswer, responses=answers(404))
def get_campaign(campaign_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """One campaign."""
    return lab.campaigns.get(campaign_id, who)


@router.delete("/{campaign_id:uuid}", status_code=204, responses=answers(404, 409))
def delete_campaign(campaign_id: uuid.UUID, lab: Lab, who: Writer) -> None:
    """Delete a campaign; its structures and simulations stay."""
    lab.campaigns.delete(campaign_id, who)


@router.post("/{campaign_id}/step", response_model=CampaignAnswer, responses=answers(404, 409))
def step_campaign(campaign_id: uuid.UUID, lab: Lab, who: Writer) -> Any:
    """Let it begin one more iteration, then pause."""
    return lab.campaigns.step(campaign_id, who)


@router.post("/{campaign_id}/run", response_model=CampaignAnswer, responses=answers(404, 409))
def run_campaign(campaign_id: uuid.UUID, lab: Lab, who: Writer) -> Any:
    """Let it run until its budget ends."""
    return lab.campaigns.run(campaign_id, who)


@router.post("/{campaign_id}/pause", response_model=CampaignAnswer, responses=answers(404, 409))
def pause_campaign(campaign_id: uuid.UUID, lab: Lab, who: Writer) -> Any:
    """Let it begin nothing more; what is queued ends."""
    return lab.campaigns.pause(campaign_id, who)


@router.get("/{campaign_id}/trajectory", response_model=TrajectoryAnswer, responses=answers(404))
def campaign_trajectory(campaign_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """Best value after each simulation, beside the random baseline's."""
    return lab.campaigns.trajectory(campaign_id, who)


@router.get("/{campaign_id}/candidates", response_model=CandidateList, responses=answers(404))
def campaign_candidates(campaign_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """All candidates in the order chosen."""
    items = lab.campaigns.candidates(campaign_id, who)
    return {"items": items, "total": len(items)}


@router.get(
    "/{campaign_id}/export",
    response_class=Response,
    responses={
        200: {
            "content": {kind: {} for kind in ("text/csv", "application/json", "chemical/x-xyz")},
            "description": "The file.",
        },
        **answers(404, 409),
    },
)
def export_campaign(
    campaign_id: uuid.UUID,
    lab: Lab,
    who: Reader,
    format: Annotated[Literal["csv", "extxyz", "json"], Query()] = "csv",  # noqa: A002
) -> Response:
    """All candidates (csv), the winners' structures (extxyz) or everything (json)."""
    return download(*lab.reports.export(campaign_id, who, format))


@router.post(
    "/{campaign_id}/select_for_simulation",
    response_model=SelectionAnswer,
    responses=answers(404, 409, 413),
)
def select_for_simulation(
    campaign_id: uuid.UUID, body: SelectionBody, lab: Lab, who: Writer
) -> Any:
    """Which candidates are worth a simulation now; nothing is queued."""
    selected, total = lab.campaigns.select_for_simulation(
        campaign_id, who, strategy=body.strategy, budget=body.budget
    )
    return {"selected": selected, "total_candidates": total, "selected_count": len(selected)}
