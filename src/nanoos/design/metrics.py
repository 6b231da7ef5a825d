"""How well a campaign did: best so far, hits, and its acceleration over a random baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from nanoos.design.objective import Objective


def best_so_far(
    results: Sequence[Mapping[str, float] | None], objective: Objective
) -> list[float | None]:
    """The best value after each simulation, among those that satisfy the constraints.

    Args:
        results: Values of each simulation in the order they were done; None where one failed
            (it still counts as a simulation).
        objective: Goal or range, and constraints. For a range the best is the nearest to it.

    Returns:
        As long as ``results``; None until something satisfies the constraints.
    """
    series: list[float | None] = []
    best: float | None = None
    for values in results:
        if values is not None and objective.feasible(values):
            value = float(values[objective.target_property])
            if best is None or objective.merit(value) > objective.merit(best):
                best = value
        series.append(best)
    return series


def hits_so_far(results: Sequence[Mapping[str, float] | None], objective: Objective) -> list[int]:
    """Number of feasible results inside the target range after each simulation."""
    count, series = 0, []
    for values in results:
        if values is not None and objective.feasible(values):
            count += int(objective.hits(values[objective.target_property]))
        series.append(count)
    return series


def simulations_to_reach(
    series: Sequence[float | None], value: float, objective: Objective
) -> int | None:
    """How many simulations a best-so-far series took to be at least as good as ``value``."""
    wanted = objective.merit(value)
    for count, best in enumerate(series, start=1):
        if best is not None and objective.merit(best) >= wanted:
            return count
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """A campaign beside random runs on the same space.

    Attributes:
        reached: Best value the campaign found.
        campaign_simulations: How many simulations it took to get there.
        random_simulations: Median over the random runs to get as far; None where fewer than
            half of them did within their length.
        random_runs_reaching: Share of the random runs that got as far.
        factor: random / campaign simulations. A lower bound (see ``is_lower_bound``) where most
            random runs never got there.
        is_lower_bound: The length of the random runs stands for what they would have needed.
        enhancement: Merit of the campaign less the median merit of the random runs after
            equally many simulations; unit of the property.
    """

    reached: float
    campaign_simulations: int
    random_simulations: float | None
    random_runs_reaching: float
    factor: float
    is_lower_bound: bool
    enhancement: float | None


def acceleration(
    campaign: Sequence[float | None],
    random_runs: Sequence[Sequence[float | None]],
    objective: Objective,
) -> Acceleration | None:
    """Acceleration over random, from best-so-far series; None while nothing is found.

    Definitions as in Liang et al. 2021, DOI 10.1038/s41524-021-00656-9: acceleration is the
    ratio of simulations needed for the same result, enhancement compares results after the same
    number of simulations.
    """
    reached = next((best for best in reversed(campaign) if best is not None), None)
    if reached is None or not random_runs:
        return None
    own = simulations_to_reach(campaign, reached, objective) or len(campaign)
    counts = [simulations_to_reach(run, reached, objective) for run in random_runs]
    reaching = [count for count in counts if count is not None]
    filled = [c if c is not None else len(r) for c, r in zip(counts, random_runs, strict=True)]
    most = 2 * len(reaching) > len(counts)
    at_same = [run[min(own, len(run)) - 1] for run in random_runs if run]
    merits = [float(objective.merit(best)) for best in at_same if best is not None]
    return Acceleration(
        reached=reached,
        campaign_simulations=own,
        random_simulations=float(median(filled)) if most else None,
        random_runs_reaching=len(reaching) / len(counts),
        factor=float(median(filled)) / own,
        is_lower_bound=not most,
        enhancement=float(objective.merit(reached)) - median(merits) if merits else None,
    )
