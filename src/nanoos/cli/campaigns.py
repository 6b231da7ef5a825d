"""``nanoos campaigns``: searches, running and done."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import page_document, print_document, to_document
from nanoos.cli.opening import local_user, services
from nanoos.cli.output import refuse_both_on_stdout, write_bytes
from nanoos.cli.render import Column, print_facts, print_table, say, say_next, short_id
from nanoos.core.errors import InvalidInputError

if TYPE_CHECKING:
    import uuid

    from nanoos.services.campaign_records import Campaign
    from nanoos.services.container import Services

app = typer.Typer(
    name="campaigns", help="List, show, pause, continue and export campaigns.", no_args_is_help=True
)

_COLUMNS = (
    Column(title="id", of=lambda campaign: short_id(campaign.id)),
    Column(title="name", of=lambda campaign: campaign.name, shrinks=True),
    Column(title="state", of=lambda campaign: campaign.state, states=True),
    Column(title="target", of=lambda campaign: campaign.config.target_property),
    Column(
        title="simulated",
        of=lambda campaign: f"{campaign.simulations_used}/{campaign.simulation_budget}",
        right=True,
    ),
    Column(title="best", of=lambda campaign: campaign.best_value, right=True),
    Column(title="made, UTC", of=lambda campaign: campaign.created_at),
)
_CANDIDATE_COLUMNS = (
    Column(title="candidate", of=lambda one: one.point_key, shrinks=True),
    Column(title="structure", of=lambda one: short_id(one.structure_id)),
    Column(title="state", of=lambda one: one.state, states=True),
    Column(title="predicted", of=lambda one: one.predicted_value, right=True),
    Column(title="±", of=lambda one: one.predicted_sigma, right=True),
    Column(title="simulated", of=lambda one: one.value, right=True),
    Column(title="feasible", of=lambda one: one.feasible),
    Column(title="iteration", of=lambda one: one.iteration, right=True),
)
_FORMATS = {".csv": "csv", ".xyz": "extxyz", ".extxyz": "extxyz", ".json": "json"}


def _find(lab: "Services", text: str) -> "uuid.UUID":
    from nanoos.services.lookup import resolve_id

    return resolve_id(lab.database, "campaign", text, local_user())


@app.command("list")
def list_campaigns(
    *, limit: options.Limit = 20, cursor: options.Cursor = None, as_json: options.Json = False
) -> None:
    """List campaigns, newest first. JSON: {"items": [campaign], "total", "next"}."""
    with services() as lab:
        page = lab.campaigns.page(local_user(), cursor=cursor, limit=limit)
    if as_json:
        print_document(page_document(page))
        return
    print_table(_COLUMNS, page.items, empty="No campaigns. 'nanoos discover CAMPAIGN.yaml'")
    say_next(page, len(page.items))


@app.command()
def show(
    campaign: options.IdOrPrefix,
    *,
    limit: options.Limit = 10,
    as_json: options.Json = False,
) -> None:
    """Show a campaign, its best candidates first.

    JSON: the campaign's fields, "trajectory" and "candidates" (all, best first).
    """
    with services() as lab:
        campaign_id = _find(lab, campaign)
        record = lab.campaigns.get(campaign_id, local_user())
        trajectory = lab.campaigns.trajectory(campaign_id, local_user())
        ranked = lab.campaigns.ranked(campaign_id, local_user())
    if as_json:
        print_document({**to_document(record), "trajectory": trajectory, "candidates": ranked})
        return
    print_facts(
        [
            ("campaign", record.id),
            ("name", record.name),
            ("strategy", record.strategy),
            ("state", record.state),
            ("why", record.reason),
            ("target", f"{trajectory.target_property}, {trajectory.unit}"),
            ("goal", trajectory.goal or trajectory.target_range),
            ("simulated", f"{record.simulations_used} of {record.simulation_budget}"),
            ("iterations", record.iterations),
            ("best", record.best_value),
            ("best candidate", record.best_point),
            ("made, UTC", record.created_at),
            ("ended, UTC", record.finished_at),
        ]
    )
    title = f"Best first; predicted and simulated {trajectory.target_property}, {trajectory.unit}"
    print_table(_CANDIDATE_COLUMNS, ranked[:limit], empty="No candidates yet.", title=title)


@app.command()
def pause(campaign: options.IdOrPrefix, *, as_json: options.Json = False) -> None:
    """Choose nothing further; simulations that were submitted go on. JSON: the campaign."""
    with services() as lab:
        record = lab.campaigns.pause(_find(lab, campaign), local_user())
    _report(record, "is paused.", as_json=as_json)


@app.command()
def run(campaign: options.IdOrPrefix, *, as_json: options.Json = False) -> None:
    """Start a campaign or let it go on; workers do the rest. JSON: the campaign."""
    with services() as lab:
        record = lab.campaigns.run(_find(lab, campaign), local_user())
    _report(record, "runs where workers are ('nanoos worker').", as_json=as_json)


def _report(campaign: "Campaign", text: str, *, as_json: bool) -> None:
    if as_json:
        print_document(campaign)
    else:
        say(f"Campaign {campaign.name!r} ({short_id(campaign.id)}) {text}")


@app.command()
def export(
    campaign: options.IdOrPrefix,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - for stdout.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="csv, extxyz or json; default by the name.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write the candidates of a campaign to a file. JSON: {"file", "campaign_id", "format"}."""
    refuse_both_on_stdout(output, as_json=as_json)
    kind = format_ or _FORMATS.get(output.suffix.lower())
    if kind is None:
        raise InvalidInputError(
            f"The name {output.name!r} does not say which format to write.",
            hint="Give --format csv, extxyz or json.",
        )
    with services() as lab:
        campaign_id = _find(lab, campaign)
        data, _, _ = lab.reports.export(campaign_id, local_user(), kind)
    write_bytes(output, data)
    if as_json:
        print_document({"file": output, "campaign_id": campaign_id, "format": kind})
    else:
        say(f"Written to {output}.")
