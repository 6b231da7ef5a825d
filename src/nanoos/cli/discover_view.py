"""What a person or a program sees of a running campaign."""

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nanoos.cli.render import console, say
from nanoos.core.durations import duration

if TYPE_CHECKING:
    from nanoos.design.campaign import CampaignConfig
    from nanoos.services.campaign_records import Campaign, CampaignCandidate, Estimate
    from nanoos.services.reports import CampaignReport

_SHOWN = 8


class CampaignView(ABC):
    """Shows a campaign while it runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        return

    @abstractmethod
    def update(
        self,
        campaign: "Campaign",
        candidates: Sequence["CampaignCandidate"],
        baseline: Sequence["CampaignCandidate"],
    ) -> None:
        """Show how it stands now."""

    def interrupted(self) -> None:
        """Say how to go on."""
        say("Stopped. Nothing is lost: the same command goes on from here.")

    def finished(self, report: "CampaignReport", files: Sequence[Path]) -> None:
        """Show the result."""
        show_report(report, files)


class JsonView(CampaignView):
    """One JSON object for each candidate that ended, and one for the end."""

    def __init__(self) -> None:
        self._told: set[tuple[bool, str]] = set()

    def update(
        self,
        campaign: "Campaign",
        candidates: Sequence["CampaignCandidate"],
        baseline: Sequence["CampaignCandidate"],
    ) -> None:
        """Print candidates that ended since the last time."""
        for is_baseline, group in ((False, candidates), (True, baseline)):
            for candidate in group:
                name = (is_baseline, candidate.point_key)
                if candidate.state == "selected" or name in self._told:
                    continue
                self._told.add(name)
                self._print(
                    event="candidate",
                    campaign=str(campaign.id),
                    baseline=is_baseline,
                    order=candidate.order + 1,
                    candidate=candidate.point_key,
                    state=candidate.state,
                    value=candidate.value,
                    unit=campaign.config.target.unit,
                    feasible=candidate.feasible,
                    predicted=candidate.predicted_value,
                    sigma=candidate.predicted_sigma,
                    reason=candidate.reason,
                    error=candidate.error,
                )

    def interrupted(self) -> None:
        """Print that it stopped."""
        self._print(event="interrupted")

    def finished(self, report: "CampaignReport", files: Sequence[Path]) -> None:
        """Print the winners and where the files are."""
        self._print(
            event="finished",
            campaign=str(report.campaign.id),
            state=report.campaign.state,
            reason=report.campaign.reason,
            winners=[
                {
                    "rank": winner.rank,
                    "candidate": winner.candidate.point_key,
                    "formula": winner.structure.formula,
                    "value": winner.candidate.value,
                    "unit": report.campaign.config.target.unit,
                    "cross_check": winner.cross_check_value,
                    "disputed": winner.disputed,
                }
                for winner in report.winners
            ],
            acceleration=report.acceleration,
            notes=list(report.notes),
            files=[str(path) for path in files],
        )

    @staticmethod
    def _print(**document: Any) -> None:
        print(json.dumps(document), flush=True)  # noqa: T201


class LineView(CampaignView):
    """A line for each candidate that ended: for logs and pipes."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def update(
        self,
        campaign: "Campaign",
        candidates: Sequence["CampaignCandidate"],
        baseline: Sequence["CampaignCandidate"],
    ) -> None:
        """Print candidates that ended since the last time."""
        del baseline
        unit = campaign.config.target.unit
        for candidate in candidates:
            if candidate.state == "selected" or candidate.point_key in self._told:
                continue
            self._told.add(candidate.point_key)
            done = len(self._told)
            value = f"{candidate.value:.4g} {unit}" if candidate.value is not None else "failed"
            kept = "" if candidate.feasible in (True, None) else ", outside the constraints"
            best = f"{campaign.best_value:.4g} {unit}" if campaign.best_value is not None else "–"
            say(
                f"[{done:3d}/{campaign.simulation_budget}] {candidate.point_key:32s} "
                f"{value}{kept}   best {best}"
            )


class LiveView(CampaignView):
    """A table that refreshes in place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=console(stderr=True), refresh_per_second=4)
        self._started = time.monotonic()

    @staticmethod
    def fits() -> bool:
        """Whether there is a terminal to refresh."""
        return sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._live.stop()

    def update(
        self,
        campaign: "Campaign",
        candidates: Sequence["CampaignCandidate"],
        baseline: Sequence["CampaignCandidate"],
    ) -> None:
        """Draw the table again."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        config, target = campaign.config, campaign.config.target
        ended = [c for c in candidates if c.state != "selected"]
        ended_baseline = sum(c.state != "selected" for c in baseline)
        head = Table.grid(padding=(0, 2))
        head.add_row(Text(campaign.name, style="bold"), _aim(config))
        bar = ProgressBar(total=campaign.simulation_budget, completed=len(ended), width=40)
        head.add_row(bar, Text(f"{len(ended)} of {campaign.simulation_budget} simulations"))
        if baseline:
            other = ProgressBar(
                total=campaign.simulation_budget, completed=ended_baseline, width=40
            )
            head.add_row(other, Text(f"{ended_baseline} of the random baseline", style="dim"))
        table = Table(expand=False, pad_edge=False, box=None, header_style="dim")
        for title in ("#", "candidate", f"{target.label}, {target.unit}", "predicted", "state"):
            right = title not in {"candidate", "state"}
            table.add_column(title, justify="right" if right else "left", no_wrap=True)
        running = [c for c in candidates if c.state == "selected"]
        for candidate in [*ended[-_SHOWN:], *running[:4]]:
            table.add_row(*_cells(candidate), style=_style(candidate, campaign))
        seconds = time.monotonic() - self._started
        best = "none yet"
        if campaign.best_value is not None:
            best = f"{campaign.best_point}: {campaign.best_value:.4g} {target.unit}"
        foot = Text(f"best so far  {best}    {_stage(campaign)}  {seconds:.0f} s")
        self._live.update(Group(head, Text(), table, Text(), foot))


def _stage(campaign: "Campaign") -> str:
    searched = campaign.simulations_used >= campaign.simulation_budget
    if campaign.state != "running":
        return campaign.state
    if searched and not campaign.waiting:
        return "finishing"
    if searched:
        return f"{campaign.waiting} simulations left"
    return f"batch {campaign.iterations}"


def _style(candidate: "CampaignCandidate", campaign: "Campaign") -> str:
    if candidate.point_key == campaign.best_point:
        return "bold green"
    return {"failed": "red", "selected": "cyan"}.get(
        candidate.state, "" if candidate.feasible else "dim"
    )


def _cells(candidate: "CampaignCandidate") -> tuple[str, ...]:
    value = f"{candidate.value:.4g}" if candidate.value is not None else ""
    predicted = ""
    if candidate.predicted_value is not None:
        predicted = f"{candidate.predicted_value:.4g} ± {candidate.predicted_sigma or 0.0:.3g}"
    state = candidate.state
    if candidate.state == "selected":
        state = "simulating"
    elif candidate.feasible is False:
        state = "outside the constraints"
    return str(candidate.order + 1), candidate.point_key, value, predicted, state


def _aim(config: "CampaignConfig") -> str:
    wanted = config.goal or " to ".join(f"{x:g}" for x in config.target_range or ())
    aim = f"{config.target.label} ({config.target.unit}): {wanted}"
    constraints = ", ".join(config.constraint_texts)
    return f"{aim}, with {constraints}" if constraints else aim


def show_estimate(config: "CampaignConfig", estimate: "Estimate", as_json: bool) -> None:
    """What a campaign would be."""
    if as_json:
        document = {field.name: getattr(estimate, field.name) for field in fields(estimate)}
        document |= {"excluded": dict(estimate.excluded), "name": config.name}
        print(json.dumps(document))  # noqa: T201
        return
    removed = ", ".join(
        f"{number} {why.replace('_', ' ')}" for why, number in estimate.excluded.items()
    )
    total = estimate.simulations + estimate.baseline_simulations
    rows = [
        ("campaign", config.name),
        ("search", _aim(config)),
        ("space", f"{estimate.size} candidates of {estimate.raw_size} combinations"),
        ("removed", removed or "none"),
        (
            "simulations",
            (
                f"{estimate.simulations} chosen, {estimate.baseline_simulations} random, "
                f"{estimate.cross_checks} cross-checks ({100 * total / max(estimate.size, 1):.0f} % "
                "of the space at most)"
            ),
        ),
        ("each", f"{_simulation(estimate)}, {_each(estimate)}"),
        ("time", _time(estimate)),
        ("missing", "; ".join(estimate.missing) or "nothing"),
    ]
    if estimate.cost_note and estimate.seconds is not None:
        rows.append(("note", estimate.cost_note))
    for name, text in rows:
        print(f"{name:12s} {text}")  # noqa: T201


def _simulation(estimate: "Estimate") -> str:
    if not estimate.set_aside:
        return estimate.simulation
    return f"{estimate.simulation} (not for it: {', '.join(estimate.set_aside)})"


def _each(estimate: "Estimate") -> str:
    if estimate.seconds_per_simulation is None:
        return "cost unknown until nothing is missing"
    return f"about {estimate.seconds_per_simulation:.1f} s on one thread"


def _time(estimate: "Estimate") -> str:
    if estimate.seconds is None:
        return "unknown"
    return f"about {duration(estimate.seconds)} with {estimate.concurrency} at once"


def show_report(report: "CampaignReport", files: Sequence[Path]) -> None:
    """The result as a table, what it means, and where the files are."""
    from rich.table import Table

    campaign, target = report.campaign, report.campaign.config.target
    out = console()
    table = Table(title=f"{campaign.name}: {campaign.state}. {campaign.reason or ''}".strip())
    check = campaign.config.cross_check
    heads = ["#", "formula", "structure", f"{target.label}\n{target.unit}"]
    heads += [f"{check.potential}\n{target.unit}"] if check is not None else []
    heads += ["formation energy\neV/atom", f"predicted before\n{target.unit}"]
    for title in heads:
        left = title in {"formula", "structure"}
        table.add_column(title, justify="left" if left else "right")
    for winner in report.winners:
        candidate = winner.candidate
        energy = (candidate.values or {}).get("formation_energy_ev_per_atom")
        predicted = "–"
        if candidate.predicted_value is not None:
            predicted = f"{candidate.predicted_value:.4g} ± {candidate.predicted_sigma or 0:.3g}"
        cells = [
            str(winner.rank),
            winner.structure.formula,
            candidate.point_key.partition(":")[0],
            f"{candidate.value:.4g}" if candidate.value is not None else "–",
        ]
        if check is not None:
            found = winner.cross_check_value
            mark = " disputed" if winner.disputed else ""
            cells.append(f"{found:.4g}{mark}" if found is not None else "–")
        cells += [f"{energy:.3f}" if energy is not None else "–", predicted]
        table.add_row(*cells)
    if report.winners:
        out.print(table)
    else:
        out.print(f"{campaign.name}: no candidate satisfies the constraints.")
    for text in [report.acceleration, *report.notes]:
        if text:
            out.print(f"- {text}", highlight=False)
    out.print(f"Report: {files[0]}", highlight=False, soft_wrap=True)
