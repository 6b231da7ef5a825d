"""Figures of the equations of state in ``acwf.py``: on the screen, drawn, and as tables."""

from pathlib import Path

import numpy as np

SAME_PSEUDOS = "quantum_espresso-PseudoDojo-0.4-PBE-SR-standard-upf-trim"
MARKS = {"reference": "*", "coarse": "o", "default": "^", "trial": "x"}
OFFSETS = {"reference": 0.0, "coarse": -0.2, "default": 0.2, "trial": 0.0}
MOMENT = 0.05  # Bohr magnetons for each atom, from which on a crystal is magnetic
PROTOTYPES = {"FCC": "fcc", "BCC": "bcc", "SC": "sc", "Diamond": "diamond"}
HEAD = (
    "crystal", "k-points apart, 1/Å", "V0, Å³/atom", "B0, GPa", "B1", "ε", "ν",
    "the study's QE: ε, ν", "median ε of all codes", "processor, min",
)  # fmt: skip
FIGURES = {"b1": ".2f", "epsilon": ".3f", "nu": ".3f"}


def draw(rows, path: Path) -> None:
    """Epsilon of each crystal, beside the study's QE and all its codes."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["moment"] <= MOMENT and row["protocol"] in MARKS]
    names = list(dict.fromkeys(row["system"] for row in rows))
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        of_it = [row for row in rows if row["system"] == name]
        others = of_it[0]["others"]
        every = [other["epsilon"] for other in others.values()]
        axes.plot([place] * len(every), every, "_", color="#aaaaaa", ms=9)
        if SAME_PSEUDOS in others:
            axes.plot(
                place, others[SAME_PSEUDOS]["epsilon"], "D", color="#b5651d", ms=6, mfc="none"
            )
        for row in of_it:
            there = place + OFFSETS[row["protocol"]]
            axes.plot(there, row["epsilon"], MARKS[row["protocol"]], color="#0b6e99", ms=5)
    for label, mark, colour in (
        ("other codes of the study", "_", "#aaaaaa"),
        ("the study's QE, same pseudopotentials", "D", "#b5651d"),
        *((f"here, {protocol}", MARKS[protocol], "#0b6e99") for protocol in MARKS
          if any(row["protocol"] == protocol for row in rows)),
    ):  # fmt: skip
        axes.plot([], [], mark, color=colour, label=label, mfc="none" if mark == "D" else colour)
    for limit, what in ((0.06, "excellent"), (0.20, "good")):
        axes.axhline(limit, color="#2a9d8f", linewidth=0.8, linestyle=":")
        axes.text(
            len(names) + 0.5, limit, what, fontsize=7, va="bottom", ha="right", color="#2a9d8f"
        )
    axes.set_xlim(-0.6, len(names) + 0.6)
    axes.set_yscale("log")
    axes.set_xticks(
        range(len(names)), [name.replace("-X", "") for name in names], rotation=45, ha="right"
    )
    axes.set_ylabel("ε from the all-electron average")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path, metadata={"Date": None})
    print(f"Drawn to {path}")


def show(rows) -> None:
    print(
        f"{'system':14} {'protocol':11} {'V0':>8} {'B0':>7} {'B1':>5} {'eps':>6} {'nu':>6}  QE-PseudoDojo-trim: eps, nu   others' median eps"
    )
    for row in rows:
        same = row["others"].get(SAME_PSEUDOS)
        beside = f"{same['epsilon']:.3f}, {same['nu']:.3f}" if same else "-"
        median = float(np.median([other["epsilon"] for other in row["others"].values()]))
        mark = "  magnetic: no reference" if row["moment"] > MOMENT else ""
        print(
            f"{row['system']:14} {row['protocol']:11} {row['v0_a3']:8.3f} {row['b0_gpa']:7.1f} "
            f"{row['b1']:5.2f} {row['epsilon']:6.3f} {row['nu']:6.3f}  {beside:>22} {median:10.3f}{mark}"
        )
    for protocol in MARKS:
        values = [
            row["epsilon"]
            for row in rows
            if row["protocol"] == protocol and row["moment"] <= MOMENT
        ]
        if values:
            print(
                f"{protocol}: {len(values)} crystals, median epsilon {np.median(values):.3f}, largest {max(values):.3f}"
            )


def table(rows) -> str:
    """A table in Markdown for each protocol, with its medians."""
    text = []
    for protocol in MARKS:
        done = [row for row in rows if row["protocol"] == protocol]
        done.sort(key=lambda row: ("O" in row["system"], row["epsilon"]))
        if not done:
            continue
        lines = [line(HEAD), "|---|" + "---:|" * (len(HEAD) - 1)]
        for row in done:
            same = row["others"].get(SAME_PSEUDOS)
            every = [other["epsilon"] for other in row["others"].values()]
            cells = [
                crystal_name(row["system"]) + (" (magnetic)" if row["moment"] > MOMENT else ""),
                f"{row['kdist']:.2g}",
                f"{row['v0_a3']:.3f}",
                f"{row['b0_gpa']:.1f}",
                *(f"{row[name]:{digits}}" for name, digits in FIGURES.items()),
                f"{same['epsilon']:.3f}, {same['nu']:.3f}" if same else "",
                f"{np.median(every):.3f}",
                f"{row['cpu_s'] / 60:.0f}",
            ]
            lines.append(line(cells))
        compared = [r for r in done if r["moment"] <= MOMENT and SAME_PSEUDOS in r["others"]]
        closing = "No crystal to compare with the study's QE."
        if compared:
            ours = np.median([row["epsilon"] for row in compared])
            theirs = np.median([row["others"][SAME_PSEUDOS]["epsilon"] for row in compared])
            closing = (
                f"Median ε of {len(compared)} crystals: {ours:.3f}; the study's QE: {theirs:.3f}."
            )
        text.append("\n".join((f"Protocol `{protocol}`:", "", *lines, "", closing, "")))
        text.append("\n".join((*medians(compared), "")))
    return "\n".join(text)


def variants(rows, protocols) -> str:
    """A table of the default with one choice changed, below the default itself."""
    lines = [line(("crystal", "protocol", *HEAD[1:6])), "|---|---|" + "---:|" * 5]
    for system in sorted({row["system"] for row in rows if row["protocol"] in protocols}):
        shown = [
            r for r in rows if r["system"] == system and r["protocol"] in ("default", *protocols)
        ]
        for row in sorted(shown, key=lambda row: ("default", *protocols).index(row["protocol"])):
            cells = [
                crystal_name(system),
                f"`{row['protocol']}`",
                f"{row['kdist']:.2g}",
                f"{row['v0_a3']:.3f}",
                f"{row['b0_gpa']:.1f}",
                f"{row['b1']:.2f}",
                f"{row['epsilon']:.3f}",
            ]
            lines.append(line(cells))
    return "\n".join((*lines, ""))


def medians(rows) -> list[str]:
    """A table of the median epsilon of every code that has all crystals of ``rows``, and of ours."""
    systems = {row["system"]: row["others"] for row in rows}
    if not systems:
        return []
    every = set.intersection(*(set(others) for others in systems.values()))
    found = {
        code: np.median([others[code]["epsilon"] for others in systems.values()]) for code in every
    }
    found["here"] = np.median([row["epsilon"] for row in rows])
    lines = [line(("code", f"median ε of {len(systems)} crystals")), "|---|---:|"]
    lines += [line((code, f"{found[code]:.3f}")) for code in sorted(found, key=lambda c: found[c])]
    return lines


def line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def crystal_name(system: str) -> str:
    """``Al-X/FCC`` as "Al, fcc", ``Ti-XO2`` as "TiO2"."""
    element, _, kind = system.partition("-X")
    if kind.startswith("/"):
        return f"{element}, {PROTOTYPES[kind[1:]]}"
    return f"{element}2{kind[1:]}" if kind.startswith("2") else f"{element}{kind}"
