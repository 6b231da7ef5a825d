"""The report of a campaign: a folder that a person can open and show."""

import csv
import html
import io
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanoos.core.errors import InvalidInputError
from nanoos.design.campaign import TARGET_PROPERTIES
from nanoos.design.metrics import acceleration, simulations_to_reach
from nanoos.design.simulating import method_name, simulation_request
from nanoos.services.access import Principal
from nanoos.services.campaign_records import Campaign, CampaignCandidate, Trajectory
from nanoos.services.campaigns import CampaignService
from nanoos.services.report_plots import progress_figure_html, progress_figure_png
from nanoos.services.simulations import SimulationService
from nanoos.structures import Structure
from nanoos.structures.io import export_bytes, write_atomically

N_WINNERS = 10
DISPUTED_ABOVE = 0.15
"""Relative difference between two potentials above which a winner is called disputed."""
EXPORT_FORMATS = ("csv", "extxyz", "json")

_CAVEATS: Mapping[str, str] = {
    "CHGNet": "CHGNet underestimates the curvature of energy surfaces (Deng et al. 2025, "
    "DOI 10.1038/s41524-024-01500-6), so bulk moduli tend to come out too small; far from what it "
    "was trained on they can be far too large as well. Trust no number that nothing else confirms.",
    "SevenNet": "SevenNet-0 was trained on the same data as CHGNet (MPtrj): where the two agree, "
    "the network is confirmed, not the physics.",
}
_STABILITY_CAVEAT = (
    "A negative formation energy says that the compound forms from its elements with a gain "
    "of energy. It does not say that it is stable: other compounds, or other structures of "
    "the same composition, may lie lower."
)
_POTENTIAL_CAVEAT = (
    "The structures are ideal and the energies are those of a machine-learned potential at "
    "0 K. Before a candidate is made or published, confirm it with DFT."
)
_DFT_CAVEAT = (
    "The structures are ideal, at 0 K and without zero-point motion; cutoffs and meshes are those "
    "of the campaign file. Semilocal functionals such as PBE give lattice constants that are about "
    "1 % too large and gaps that are far too small, and a gap is the smallest on the k-points that "
    "were computed. Total energies of different compositions say nothing about each other."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """One of the best candidates with its relaxed structure."""

    rank: int
    candidate: CampaignCandidate
    structure: Structure
    cross_check_value: float | None

    @property
    def disputed(self) -> bool:
        """Whether the two potentials differ by more than :data:`DISPUTED_ABOVE`."""
        value, check = self.candidate.value, self.cross_check_value
        if value is None or check is None:
            return False
        return abs(value - check) > DISPUTED_ABOVE * max(abs(value), abs(check))


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignReport:
    """Everything a report says.

    Attributes:
        winners: Best feasible candidates, best first.
        acceleration: How many simulations the campaign needed for the best value that the
            random baseline found, beside the baseline's; None where there is no baseline.
        notes: What the numbers are and are not.
    """

    campaign: Campaign
    trajectory: Trajectory
    candidates: Sequence[CampaignCandidate]
    winners: Sequence[Winner]
    acceleration: str | None
    notes: Sequence[str]
    cost_s: float


class ReportService:
    """Builds reports and exports of campaigns."""

    def __init__(self, campaigns: CampaignService, simulations: SimulationService) -> None:
        self._campaigns = campaigns
        self._simulations = simulations

    def build(self, campaign_id: uuid.UUID, who: Principal) -> CampaignReport:
        """Gather the report of a campaign in any state."""
        campaign = self._campaigns.get(campaign_id, who)
        candidates = self._campaigns.candidates(campaign_id, who)
        trajectory = self._campaigns.trajectory(campaign_id, who)
        winners = self._winners(campaign, who)
        return CampaignReport(
            campaign=campaign,
            trajectory=trajectory,
            candidates=candidates,
            winners=winners,
            acceleration=acceleration_sentence(campaign, trajectory),
            notes=_notes(campaign, winners),
            cost_s=sum(candidate.cost_s or 0.0 for candidate in candidates),
        )

    def _winners(self, campaign: Campaign, who: Principal) -> list[Winner]:
        winners = []
        target = campaign.config.target
        ranked = self._campaigns.ranked(campaign.id, who)
        for rank, candidate in enumerate(ranked[:N_WINNERS], start=1):
            if candidate.simulation_id is None:
                continue
            structure = self._simulations.get(candidate.simulation_id, who).final_structure
            if structure is None:
                continue
            check = target.of(candidate.cross_check_values or {})
            winners.append(
                Winner(rank=rank, candidate=candidate, structure=structure, cross_check_value=check)
            )
        return winners

    def write(self, campaign_id: uuid.UUID, who: Principal, folder: Path) -> list[Path]:
        """Write the report into ``folder``: HTML, plots, CSV, extxyz and CIF of the winners.

        Every file is written whole or not at all. Returns the files, the report first.
        """
        report = self.build(campaign_id, who)
        folder.mkdir(parents=True, exist_ok=True)
        structures = folder / "winners"
        structures.mkdir(exist_ok=True)
        texts = {
            "report.html": report_html(report),
            "results.csv": results_csv(report),
            "winners.extxyz": winners_extxyz(report),
            "progress.html": progress_figure_html(report.campaign, report.trajectory),
        }
        files = []
        for name, text in texts.items():
            write_atomically(folder / name, text.encode())
            files.append(folder / name)
        png = folder / "progress.png"
        write_atomically(png, progress_figure_png(report.campaign, report.trajectory))
        for winner in report.winners:
            name = f"{winner.rank:02d}-{winner.structure.formula}.cif"
            write_atomically(structures / name, export_bytes([winner.structure], "cif").data)
        return [*files, png]

    def export(self, campaign_id: uuid.UUID, who: Principal, format: str) -> tuple[bytes, str, str]:  # noqa: A002
        """One file: content, media type and a file name.

        Args:
            campaign_id: The campaign.
            who: Who asks.
            format: ``csv`` (all candidates), ``extxyz`` (the winners) or ``json`` (everything).

        Raises:
            InvalidInputError: another format.
        """
        if format not in EXPORT_FORMATS:
            raise InvalidInputError(
                f"There is no export format {format!r}.",
                hint=f"One of {', '.join(EXPORT_FORMATS)}.",
            )
        report = self.build(campaign_id, who)
        name = file_stem(report.campaign.name)
        if format == "csv":
            return results_csv(report).encode(), "text/csv", f"{name}.csv"
        if format == "extxyz":
            return winners_extxyz(report).encode(), "chemical/x-xyz", f"{name}.extxyz"
        document = {
            "name": report.campaign.name,
            "state": report.campaign.state,
            "config": report.campaign.config.model_dump(mode="json"),
            "best": list(report.trajectory.best),
            "baseline": list(report.trajectory.baseline),
            "candidates": [_candidate_document(c) for c in report.candidates],
            "notes": list(report.notes),
        }
        return json.dumps(document, indent=1).encode(), "application/json", f"{name}.json"


def file_stem(name: str) -> str:
    """A campaign's name as the name of a file or folder."""
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in name.strip().lower())
    return "-".join(part for part in kept.split("-") if part) or "campaign"


def acceleration_sentence(campaign: Campaign, trajectory: Trajectory) -> str | None:
    """How the campaign did beside its random baseline; None while there is nothing to say."""
    objective = campaign.config.objective
    if not trajectory.baseline or not trajectory.best:
        return None
    measured = acceleration(trajectory.best, [trajectory.baseline], objective)
    if measured is None:
        return None
    found = f"{measured.reached:.4g} {trajectory.unit}"
    took = f"found {found} after {measured.campaign_simulations} simulations"
    length = len(trajectory.baseline)
    if measured.is_lower_bound:
        end = next((v for v in reversed(trajectory.baseline) if v is not None), None)
        there = f"reached {end:.4g} {trajectory.unit}" if end is not None else "found nothing"
        beside = f"one random search of the same space {there} in {length}"
        if end is not None:
            same = simulations_to_reach(trajectory.best, end, objective)
            beside += f", which the campaign had passed after {same}" if same else ""
    else:
        beside = f"one random search needed {measured.random_simulations:.0f} for as much"
    return f"The campaign {took}; {beside}. One random search is an example, not a statistic."


def _notes(campaign: Campaign, winners: Sequence[Winner]) -> list[str]:
    by_dft = simulation_request(campaign.config.simulation).engine == "QE"
    names = [method_name(simulation_request(campaign.config.simulation))]
    notes = []
    if campaign.config.cross_check is not None:
        names.append(campaign.config.cross_check.potential)
        disputed = [winner.candidate.point_key for winner in winners if winner.disputed]
        if disputed:
            notes.append(
                f"Disputed: {' and '.join(names)} differ by more than {DISPUTED_ABOVE:.0%} for "
                f"{', '.join(disputed)}. At least one of them is wrong there; trust neither."
            )
    notes += [_CAVEATS[name] for name in names if name in _CAVEATS]
    return [*notes, _STABILITY_CAVEAT, _DFT_CAVEAT if by_dft else _POTENTIAL_CAVEAT]


def _candidate_document(candidate: CampaignCandidate) -> dict[str, Any]:
    return {
        "order": candidate.order + 1,
        "iteration": candidate.iteration,
        "candidate": candidate.point_key,
        "state": candidate.state,
        "value": candidate.value,
        "feasible": candidate.feasible,
        "predicted": candidate.predicted_value,
        "sigma": candidate.predicted_sigma,
        "values": candidate.values,
        "cross_check": candidate.cross_check_values,
        "reason": candidate.reason,
        "error": candidate.error,
        "cost_s": candidate.cost_s,
        "structure_id": str(candidate.structure_id),
        "simulation_id": str(candidate.simulation_id) if candidate.simulation_id else None,
    }


def results_csv(report: CampaignReport) -> str:
    """All candidates in the order chosen; the unit stands in each column's name."""
    unit = report.campaign.config.target.unit
    shown = list(TARGET_PROPERTIES.values())
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    name = report.campaign.config.target_property
    writer.writerow(
        [
            "order",
            "iteration",
            "candidate",
            "state",
            "feasible",
            f"predicted_{name} ({unit})",
            f"sigma ({unit})",
            *(f"{p.name} ({p.unit})" for p in shown),
            f"cross_check_{name} ({unit})",
            "cost (s)",
            "reason",
            "error",
            "structure_id",
            "simulation_id",
        ]
    )
    for c in report.candidates:
        values = c.values or {}
        check = report.campaign.config.target.of(c.cross_check_values or {})
        writer.writerow(
            [
                c.order + 1,
                c.iteration,
                c.point_key,
                c.state,
                c.feasible,
                c.predicted_value,
                c.predicted_sigma,
                *(p.of(values) for p in shown),
                check,
                c.cost_s,
                c.reason,
                (c.error or {}).get("message"),
                c.structure_id,
                c.simulation_id,
            ]
        )
    return buffer.getvalue()


def winners_extxyz(report: CampaignReport) -> str:
    """Relaxed structures of the winners, best first, values in the comment line."""
    from ase.io.extxyz import write_xyz

    buffer = io.StringIO()
    images = []
    for winner in report.winners:
        atoms = winner.structure.to_ase()
        values = winner.candidate.values or {}
        atoms.info = {
            "rank": winner.rank,
            "candidate": winner.candidate.point_key,
            "formula": winner.structure.formula,
            **{
                name: values[name]
                for p in TARGET_PROPERTIES.values()
                for name in p.value_names
                if name in values
            },
        }
        images.append(atoms)
    if images:
        write_xyz(buffer, images)
    return buffer.getvalue()


def report_html(report: CampaignReport) -> str:
    """The report as one page; the plot beside it is interactive."""
    campaign, target = report.campaign, report.campaign.config.target
    rows = "\n".join(_winner_row(winner) for winner in report.winners)
    notes = "\n".join(f"<li>{html.escape(note)}</li>" for note in report.notes)
    failed = sum(c.state == "failed" for c in report.candidates)
    faster = f"<p>{html.escape(report.acceleration)}</p>" if report.acceleration else ""
    constraints = "; ".join(campaign.config.constraint_texts) or "none"
    reason = html.escape(campaign.reason or "")
    return _PAGE.format(
        title=html.escape(campaign.name),
        description=html.escape(campaign.config.description),
        state=html.escape(campaign.state),
        reason=f" ({reason})" if reason else "",
        target=html.escape(target.label),
        unit=html.escape(target.unit),
        goal=html.escape(
            campaign.config.goal
            or " to ".join(f"{x:g}" for x in campaign.config.target_range or ())
        ),
        constraints=html.escape(constraints),
        simulated=len(report.candidates),
        failed=failed,
        cost=f"{report.cost_s:.0f}",
        faster=faster,
        plot=progress_figure_html(campaign, report.trajectory, full_page=False),
        rows=rows,
        notes=notes,
    )


def _winner_row(winner: Winner) -> str:
    values = winner.candidate.values or {}
    predicted = (
        f"{winner.candidate.predicted_value:.4g} ± {winner.candidate.predicted_sigma or 0:.3g}"
        if winner.candidate.predicted_value is not None
        else "–"
    )
    check = f"{winner.cross_check_value:.4g}" if winner.cross_check_value is not None else "–"
    check += " (disputed)" if winner.disputed else ""
    energy = values.get("formation_energy_ev_per_atom")
    cells = (
        str(winner.rank),
        winner.structure.formula,
        winner.candidate.point_key.partition(":")[0],
        f"{winner.candidate.value:.4g}" if winner.candidate.value is not None else "–",
        check,
        f"{energy:.3f}" if energy is not None else "–",
        predicted,
        winner.candidate.reason,
    )
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: .93rem; }}
th, td {{ text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #8884; vertical-align: top; }}
td:nth-child(n+4):nth-child(-n+7) {{ text-align: right; white-space: nowrap; }}
.facts {{ display: flex; flex-wrap: wrap; gap: .3rem 2rem; padding: 0; list-style: none; }}
</style></head><body>
<h1>{title}</h1><p>{description}</p>
<ul class="facts"><li><b>Searched:</b> {target}, {goal} ({unit})</li><li><b>Constraints:</b> {constraints}</li>
<li><b>Simulated:</b> {simulated} candidates, {failed} failed, {cost} s of computing</li>
<li><b>State:</b> {state}{reason}</li></ul>
{faster}
{plot}
<h2>Winners</h2>
<table><thead><tr><th>#</th><th>Formula</th><th>Structure</th><th>{target} ({unit})</th>
<th>Cross-check ({unit})</th><th>Formation energy (eV/atom)</th><th>Predicted before ({unit})</th>
<th>Why it was chosen</th></tr></thead><tbody>
{rows}
</tbody></table>
<p>Files beside this page: <a href="results.csv">results.csv</a> (every candidate),
<a href="winners.extxyz">winners.extxyz</a> and <a href="winners/">winners/</a> (relaxed structures).</p>
<h2>What these numbers are, and are not</h2>
<ul>{notes}</ul>
</body></html>
"""
