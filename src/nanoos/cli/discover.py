"""``nanoos discover``: run a campaign, watch it, read its report."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli.discover_view import CampaignView, JsonView, LineView, LiveView, show_estimate
from nanoos.cli.opening import local_user, settings_and_services
from nanoos.cli.options import Json
from nanoos.core.errors import EngineError

if TYPE_CHECKING:
    import uuid

    from nanoos.config import Settings
    from nanoos.services.campaign_records import Campaign
    from nanoos.services.container import Services

app = typer.Typer()

POLL_S = 0.5


@app.command()
def discover(
    file: Annotated[Path, typer.Argument(help="The campaign (YAML).")],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say its size, cost, time and what is missing."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the report (default: discoveries/NAME)."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Simulations at once (default: one for each core).")
    ] = None,
    worker: Annotated[
        bool | None,
        typer.Option(
            "--worker/--no-worker",
            help="Whether to run the jobs here (default: yes, unless a broker is configured).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a discovery campaign, or go on with it: the same command resumes whatever ended it.

    The campaign is named by the content of its file. Simulations that were done before, by this
    campaign or another, are never repeated.
    """
    from nanoos.design.campaign_file import load_campaign_file
    from nanoos.services.reports import file_stem

    config = load_campaign_file(file)
    with settings_and_services() as (settings, services):
        slots = concurrency or settings.resolved_concurrency
        if dry_run:
            show_estimate(config, services.campaigns.estimate(config, concurrency=slots), as_json)
            return
        who = local_user()
        campaign = services.campaigns.create(
            config, who, key=_campaign_key(config.model_dump_json()), allow_local_files=True
        )
        run_here = worker if worker is not None else not settings.broker_url
        view: CampaignView = (
            JsonView() if as_json else LiveView() if LiveView.fits() else LineView()
        )
        if campaign.state != "completed":
            services.campaigns.run(campaign.id, who)
        campaign = _watch(settings, services, campaign.id, view, slots if run_here else 0)
        folder = output or Path("discoveries") / file_stem(config.name)
        files = services.reports.write(campaign.id, who, folder)
        view.finished(services.reports.build(campaign.id, who), files)
        if campaign.state == "failed":
            raise EngineError(
                f"The campaign failed: {campaign.reason}",
                hint="See 'nanoos jobs list --state failed'.",
            )


def _campaign_key(document: str) -> str:
    import hashlib

    return f"discover:{hashlib.sha256(document.encode()).hexdigest()[:32]}"


def _watch(
    settings: "Settings",
    services: "Services",
    campaign_id: "uuid.UUID",
    view: CampaignView,
    slots: int,
) -> "Campaign":
    """Run a worker if there are slots, and show the campaign until it has ended."""
    from nanoos.worker import LocalWorker

    worker = None
    if slots:
        worker = LocalWorker(
            services, settings, queues=["default", "ml", "md", "dft"], concurrency=slots
        )
    who = local_user()
    try:
        if worker is not None:
            worker.start()
        with view:
            while True:
                campaign = services.campaigns.get(campaign_id, who)
                view.update(
                    campaign,
                    services.campaigns.candidates(campaign_id, who),
                    services.campaigns.candidates(campaign_id, who, baseline=True),
                )
                if campaign.state in {"completed", "failed", "paused"} and (
                    campaign.baseline_id is None
                    or services.campaigns.get(campaign.baseline_id, who).state != "running"
                ):
                    return campaign
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        view.interrupted()
        raise
    finally:
        if worker is not None:
            worker.stop()
