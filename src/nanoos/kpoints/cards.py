"""Cards of k-point models: what they learnt from, and what was measured of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from nanoos.kpoints.base import KpointModelInfo, MeasuredCoverage

_HEADS = (
    "level",
    "coverage",
    "chance allows",
    "meshes too coarse",
    "points, of those that were enough",
)


def kpoint_card(info: KpointModelInfo) -> str:
    """The card of a model as Markdown.

    Args:
        info: As the model tells it.
    """
    error = info.test_error
    parts = [
        f"# {info.weights}, version {info.version}",
        info.description,
        _pairs(
            {
                "Answers as": info.name,
                "Labels": info.label_code,
                "Converged": info.criterion,
                "Licence": info.license,
                "SHA-256": f"`{info.weights_sha256}`",
            }
        ),
    ]
    if error:
        parts += ["## Error of the length on held-out compositions", _errors(error)]
    if info.coverage:
        parts += ["## Intervals on held-out compositions", _coverage(info.coverage)]
    split = {f"split: {key}": value for key, value in info.split.items()}
    parts += [
        "## Training",
        _pairs(info.training),
        "## Data and split",
        _pairs({**info.dataset, **split}),
        "## Use",
        *info.notes,
    ]
    return "\n\n".join(parts) + "\n"


def _errors(error: Mapping[str, Any]) -> str:
    low, high = error["mae_interval"]
    exact = error["exact"]
    held = ", ".join(f"{share:.3f} at {level}" for level, share in exact["coverage"].items())
    return _pairs(
        {
            f"mean absolute error, {error['n']:,} rows": f"{error['mae_length_a']:.2f} Å "
            f"({low:.2f} to {high:.2f})",
            "always the median": f"{error['median_baseline_mae_a']:.2f} Å",
            f"the {exact['n']} rows whose structure and label belong together": (
                f"{exact['mae_length_a']:.2f} Å; coverage {held}"
            ),
            "flagged as outside the domain": _percent(error["out_of_domain_share"]),
        }
    )


def _coverage(coverage: Sequence[MeasuredCoverage]) -> str:
    rows = [
        (
            f"{one.level:g}",
            f"{one.observed:.3f}",
            f"{one.expected[0]:.3f} to {one.expected[1]:.3f}",
            _percent(one.too_coarse),
            f"{one.extra_points:.1f} times",
        )
        for one in coverage
    ]
    lines = [_HEADS, ["---"] * len(_HEADS), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _pairs(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in values.items())
