"""How much faster than random a campaign finds the answer, where the answer is known.

``python benchmarks/discovery.py --data-dir FOLDER`` simulates the whole space of
``examples/hard_coatings.yaml`` once, as a campaign of jobs (resumable: run it again), then
replays the policy many times on the stored values: other seeds, other acquisition functions,
and random orders. Prints a markdown table.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from nanoos.bootstrap import open_services
from nanoos.design import BOConfig, propose
from nanoos.design.campaign import CampaignConfig, observed
from nanoos.design.campaign_file import load_campaign_file
from nanoos.design.descriptors import describe_points
from nanoos.design.metrics import best_so_far, simulations_to_reach
from nanoos.design.spaces import build_space
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.worker import LocalWorker

EXAMPLE = Path(__file__).parents[1] / "examples" / "hard_coatings.yaml"
Known = dict[str, dict[str, float] | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--values", type=Path, help="write or read the known values (JSON)")
    arguments = parser.parse_args()
    config = load_campaign_file(EXAMPLE)
    if arguments.values and arguments.values.exists():
        known: Known = json.loads(arguments.values.read_text())
    else:
        known = simulate_all(config, arguments.data_dir)
        if arguments.values:
            arguments.values.write_text(json.dumps(known))
    report(config, known, seeds=arguments.seeds, budget=arguments.budget)


def simulate_all(config: CampaignConfig, data_dir: Path) -> Known:
    """Every point of the space, by a campaign in random order."""
    whole = config.model_copy(
        update={
            "name": "whole space",
            "strategy": "random",
            "simulation_budget": 1_000_000,
            "cross_check": None,
            "bo_config": config.bo_config.model_copy(
                update={"batch_size": 100, "n_initial_random": 100}
            ),
        }
    )
    settings, services = open_services(data_dir=data_dir)
    campaign = services.campaigns.create(whole, LOCAL_PRINCIPAL, key="whole-space")
    if campaign.state != "completed":
        services.campaigns.run(campaign.id, LOCAL_PRINCIPAL)
        worker = LocalWorker(
            services,
            settings,
            queues=["default", "ml", "md", "dft"],
            concurrency=os.cpu_count() or 1,
        )
        worker.start()
        while services.campaigns.get(campaign.id, LOCAL_PRINCIPAL).state == "running":
            time.sleep(2)
        worker.stop()
    known: Known = {
        candidate.point_key: observed(candidate.values) if candidate.values else None
        for candidate in services.campaigns.candidates(campaign.id, LOCAL_PRINCIPAL)
    }
    services.close()
    return known


def replay(config: CampaignConfig, known: Known, *, name: str, seed: int, budget: int) -> list:
    """Outcomes in the order that one campaign would have chosen."""
    points = list(build_space(config.parameter_space))
    keys = [point.key for point in points]
    if name == "random":
        order = np.random.default_rng(seed).permutation(len(keys))[:budget]
        return [known[keys[i]] for i in order]
    descriptors = describe_points(points).values
    settings = BOConfig(
        target_property=config.target_property,
        goal=config.goal,
        constraints=tuple(config.constraints),
        acquisition_function=name,
        n_initial_random=config.bo_config.n_initial_random,
        batch_size=config.bo_config.batch_size,
    )
    seen: Known = {}
    iteration = 0
    while len(seen) < budget:
        proposal = propose(
            keys,
            descriptors,
            seen,
            config=settings,
            seed=seed,
            iteration=iteration,
            n_suggestions=settings.n_initial_random if not seen else settings.batch_size,
        )
        for choice in proposal.chosen:
            seen[choice.key] = known[choice.key]
        iteration += 1
    return list(seen.values())[:budget]


def report(config: CampaignConfig, known: Known, *, seeds: int, budget: int) -> None:
    objective = config.objective
    feasible = {
        key: values[config.target_property]
        for key, values in known.items()
        if values is not None and objective.feasible(values)
    }
    ranked = sorted(feasible, key=feasible.get, reverse=config.goal == "max")
    failed = sum(values is None for values in known.values())
    top = {id(known[key]) for key in ranked[: max(1, len(known) // 50)]}
    print(
        f"{len(known)} candidates, {failed} failed, {len(feasible)} keep the constraints; best: "
        + ", ".join(f"{key} {feasible[key]:.0f} {config.target.unit}" for key in ranked[:5])
    )
    third = feasible[ranked[2]]
    print(
        f"\n| choice | best after {budget}, mean | share of the top 2 % found | simulations to one "
        "of the best three, median | runs that found one |\n|---|---:|---:|---:|---:|"
    )
    for name in ("random", "ucb", "log_ei", "poi", "ei"):
        bests, shares, needed = [], [], []
        for seed in range(seeds):
            outcome = replay(config, known, name=name, seed=seed, budget=budget)
            series = best_so_far(outcome, objective)
            bests.append(series[-1] if series[-1] is not None else float("nan"))
            shares.append(sum(id(values) in top for values in outcome) / len(top))
            needed.append(simulations_to_reach(series, third, objective))
        found = [n for n in needed if n is not None]
        middle = np.median([n if n is not None else np.inf for n in needed])
        shown = f"{middle:.0f}" if np.isfinite(middle) else f"over {budget}"
        print(
            f"| {name} | {np.nanmean(bests):.0f} {config.target.unit} | {np.mean(shares):.0%} "
            f"| {shown} | {len(found)} of {seeds} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
