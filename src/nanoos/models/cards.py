"""Model cards: what a checkpoint was made from, what was measured of it, where it may be used."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nanoos.models.checkpoints import Header

_LEVELS: Final = ("0.8", "0.9", "0.95")


def checkpoint_card(header: Header, *, sha256: str, size_bytes: int) -> str:
    """The card of a checkpoint as Markdown.

    Args:
        header: Of the checkpoint.
        sha256: Of the file.
        size_bytes: Of the file.
    """
    parts = [
        f"# {header.name}, version {header.version}",
        _identity(header, sha256, size_bytes),
        "## Error on held-out compositions",
        _errors(header),
        *_benchmark(header),
        *_coverage(header),
        "## Training",
        _pairs(header.training),
        "## Data and split",
        _pairs({**header.dataset, **{f"split: {k}": v for k, v in header.split.items()}}),
        "## Use",
        _use(header),
    ]
    return "\n\n".join(parts) + "\n"


def _identity(header: Header, sha256: str, size_bytes: int) -> str:
    kinds = Counter(
        (kind.family, ", ".join(f"{key} {value}" for key, value in kind.parameters.items()))
        for kind in header.architectures()
    )
    return _pairs(
        {
            "Family": f"{header.family}, {header.n_members} member(s)",
            **{
                f"Network, {n} x {family}" if header.networks else "Network": shape
                for (family, shape), n in kinds.items()
            },
            "Predicts": ", ".join(f"{t.name} ({t.unit})" for t in header.targets),
            "Licence": header.license,
            "SHA-256": f"`{sha256}`",
            "Size": f"{size_bytes / 1e6:.2f} MB",
            "Made with": f"nanoos {header.code_version}, {header.created}",
        }
    )


def _errors(header: Header) -> str:
    rows = []
    for target in header.targets:
        found = header.metrics.get(target.name)
        if found is None:
            continue
        if target.kind == "classification":
            text = f"accuracy {found['accuracy']:.3f}, area under ROC {found['roc_auc']:.3f}"
            rows.append((target.name, target.unit, str(found["n"]), text, "", _baseline(found)))
            continue
        rows.append(
            (
                target.name,
                target.unit,
                str(found["n"]),
                f"{found['mae']:.4g}",
                _interval(found.get("mae_interval")),
                _baseline(found),
            )
        )
    return _table(
        ("property", "unit", "rows", "mean absolute error", "95 % interval", "random forest"), rows
    )


def _benchmark(header: Header) -> list[str]:
    rows = [
        (
            target.name,
            str(found["n"]),
            f"{found['mae']:.4g}",
            _interval(found.get("mae_interval")),
        )
        for target in header.targets
        if target.kind == "regression"
        and (found := header.metrics.get(target.name, {}).get("in_bench40"))
    ]
    if not rows:
        return []
    return [
        "On the benchmark rows alone (at most 40 sites):",
        _table(("property", "rows", "mean absolute error", "95 % interval"), rows),
    ]


def _coverage(header: Header) -> list[str]:
    rows = []
    for target in header.targets:
        report = header.metrics.get(target.name, {}).get("uncertainty")
        if report is None:
            continue
        shown = [
            f"{c['observed']:.3f} ({c['expected'][0]:.3f} to {c['expected'][1]:.3f})"
            for c in report["coverage"]
            if f"{c['level']:g}" in _LEVELS
        ]
        width = next((c["mean_width"] for c in report["coverage"] if c["level"] == 0.9), None)  # noqa: PLR2004
        rows.append(
            (
                target.name,
                *shown,
                "" if width is None else f"{width:.3g}",
                f"{report['spearman']:.2f}",
                f"{report['ause']:.2f} ({report['ause_random']:.2f})",
            )
        )
    if not rows:
        return ["This checkpoint is not calibrated: its predictions carry no interval."]
    heads = (
        "property",
        *(f"at {level}" for level in _LEVELS),
        "mean width at 0.9",
        "Spearman",
        "AUSE (random)",
    )
    return [
        "## Uncertainty",
        (
            "Observed coverage, and in brackets what chance allows (95 %, beta-binomial); rank "
            "correlation of sigma and error; area under the sparsification error curve."
        ),
        _table(heads, rows),
    ]


def _use(header: Header) -> str:
    lines = [
        (
            "Predicts structures as given; nothing is relaxed. Trained on relaxed crystals: a "
            "structure that is compressed, stretched, shaken or made of rare elements is flagged as "
            "outside the domain and its intervals widen."
        ),
        *header.notes,
    ]
    return "\n\n".join(lines)


def _baseline(found: Mapping[str, Any]) -> str:
    baseline = found.get("baseline")
    return "" if baseline is None else f"{baseline['mae']:.4g}"


def _interval(pair: Sequence[float] | None) -> str:
    return "" if pair is None else f"{pair[0]:.4g} to {pair[1]:.4g}"


def _pairs(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in values.items())


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
