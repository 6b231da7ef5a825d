"""``nanoos relax``: crystals to their nearest minima, in this process."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.output import STANDARD_OUTPUT, format_for, refuse_both_on_stdout, write_bytes
from nanoos.cli.render import Column, print_facts, print_table, progress, say

if TYPE_CHECKING:
    from nanoos.core.errors import NanoosError
    from nanoos.potentials import Potential, Relaxation
    from nanoos.structures import Structure

app = typer.Typer(name="relax")

SOME_FAILED = 3
"""Exit code of a batch in which not every crystal ended at a minimum."""

_WHEN = ("before", "after")
_LENGTHS = ("a, Å", "b, Å", "c, Å")
_ANGLES = ("α, °", "β, °", "γ, °")


@app.command()
def relax(
    files: Annotated[
        list[Path], typer.Argument(help="Files with one structure each; several in one batch.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it; - for stdout.")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="cif, poscar, extxyz or json; default by the name."),
    ] = None,
    potential: Annotated[
        str, typer.Option("--potential", "-p", help="'nanoos models list' shows them.")
    ] = "CHGNet",
    fmax: Annotated[float, typer.Option(help="Largest force that is left, eV/Å.")] = 0.01,
    max_steps: Annotated[int, typer.Option(min=1, help="Give up after so many.")] = 300,
    fix_cell: Annotated[bool, typer.Option("--fix-cell", help="Move the atoms only.")] = False,
    break_symmetry: Annotated[
        bool, typer.Option("--break-symmetry", help="Do not impose the space group.")
    ] = False,
    pressure_gpa: Annotated[
        float, typer.Option("--pressure", help="GPa, positive in compression.")
    ] = 0.0,
    as_json: options.Json = False,
) -> None:
    """Relax crystals with a universal potential, their symmetry kept; say what moved.

    Several are relaxed in one batch; one that fails is listed with its error, and the exit code
    is 3 then.

    JSON for one file: {"file", "output", "formula", "potential", "potential_version", "steps",
    "energy_ev_per_atom": {"before", "after"}, "volume_a3", "lengths_a", "angles_deg",
    "space_group" (each {"before", "after"}), "max_displacement_a", "max_force_ev_a",
    "structure"}. JSON for several: {"potential", "potential_version", "output", "items": [{"file",
    "formula", "steps", "energy_ev_per_atom", "volume_a3", "space_group", "structure", "error"}]}.
    """
    from nanoos.potentials import get_potential
    from nanoos.potentials import relax as run_relaxation
    from nanoos.structures import export_bytes, read_structure

    refuse_both_on_stdout(output, as_json=as_json)
    kind = format_for(output, format_) if output is not None else None
    if len(files) > 1:
        _Many(
            files=files,
            output=output,
            kind=kind,
            potential=get_potential(potential),
            as_json=as_json,
        ).run(
            fmax=fmax,
            max_steps=max_steps,
            relax_cell=not fix_cell,
            keep_symmetry=not break_symmetry,
            pressure_gpa=pressure_gpa,
        )
        return
    (file,) = files
    structure = read_structure(file)
    chosen = get_potential(potential)
    with progress(f"relaxing {structure.formula}") as report:
        relaxation = run_relaxation(
            structure,
            chosen,
            fmax=fmax,
            max_steps=max_steps,
            relax_cell=not fix_cell,
            keep_symmetry=not break_symmetry,
            pressure_gpa=pressure_gpa,
            progress=report,
        )
    if output is not None and kind is not None:
        names = [structure.label or structure.formula]
        write_bytes(output, export_bytes([relaxation.structure], kind, names=names).data)
    document = _document(file, output, structure, chosen, relaxation)
    if as_json:
        print_document(document)
    elif output != STANDARD_OUTPUT:
        _print(document)
        say(f"Written to {output}." if output else "Not written: give -o FILE to keep it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Many:
    """Several files in one batch."""

    files: list[Path]
    output: Path | None
    kind: str | None
    potential: "Potential"
    as_json: bool

    def run(self, **options: Any) -> None:
        """Read, relax, write what ended, list all.

        Raises:
            typer.Exit: some failed.
        """
        from nanoos.core.errors import NanoosError
        from nanoos.potentials import relax_many
        from nanoos.structures import export_bytes, read_structure

        found: dict[Path, Relaxation | NanoosError] = {}
        given: dict[Path, Structure] = {}
        for file in self.files:
            try:
                given[file] = read_structure(file)
            except NanoosError as error:
                found[file] = error
        with progress(f"relaxing {len(given)} crystals") as report:
            outcomes = relax_many(list(given.values()), self.potential, progress=report, **options)
        found |= zip(given, outcomes, strict=True)
        items = [_item(file, given.get(file), found[file]) for file in dict.fromkeys(self.files)]
        ended = [item for item in items if item["structure"] is not None]
        if self.output is not None and self.kind is not None and ended:
            names = [item["file"].stem for item in ended]
            structures = [item["structure"] for item in ended]
            write_bytes(self.output, export_bytes(structures, self.kind, names=names).data)
        if self.as_json:
            print_document(
                {
                    "potential": self.potential.name,
                    "potential_version": self.potential.version,
                    "output": self.output,
                    "items": items,
                }
            )
        elif self.output != STANDARD_OUTPUT:
            _print_items(items)
            say(f"Written to {self.output}." if self.output else "Not written: give -o FILE.")
        if len(ended) < len(items):
            raise typer.Exit(SOME_FAILED)


def _item(
    file: Path, structure: "Structure | None", outcome: "Relaxation | NanoosError"
) -> dict[str, Any]:
    from nanoos.core.errors import NanoosError

    item: dict[str, Any] = {"file": file, "formula": structure.formula if structure else None}
    if isinstance(outcome, NanoosError):
        empty = ("steps", "energy_ev_per_atom", "volume_a3", "space_group", "structure")
        return item | dict.fromkeys(empty) | {"error": outcome.as_dict()}
    return item | {
        "steps": len(outcome.steps) - 1,
        "energy_ev_per_atom": outcome.result.energy_ev_per_atom,
        "volume_a3": outcome.structure.volume,
        "space_group": outcome.space_group_after,
        "structure": outcome.structure,
        "error": None,
    }


def _print_items(items: list[dict[str, Any]]) -> None:
    def number(name: str, digits: int) -> Any:
        return lambda item: "" if item[name] is None else f"{item[name]:.{digits}f}"

    columns = (
        Column(title="file", of=lambda item: str(item["file"])),
        Column(title="formula", of=lambda item: item["formula"] or ""),
        Column(title="energy, eV/atom", of=number("energy_ev_per_atom", 5), right=True),
        Column(title="volume, Å³", of=number("volume_a3", 3), right=True),
        Column(title="steps", of=number("steps", 0), right=True),
        Column(
            title="space group, or why not",
            of=lambda item: item["space_group"] or item["error"]["message"],
        ),
    )
    print_table(columns, items, empty="There is nothing to relax.")


def _document(
    file: Path,
    output: Path | None,
    structure: "Structure",
    potential: "Potential",
    relaxation: "Relaxation",
) -> dict[str, Any]:
    final = relaxation.structure
    steps = relaxation.steps

    def change(before: Any, after: Any) -> dict[str, Any]:
        return {"before": before, "after": after}

    return {
        "file": file,
        "output": output,
        "formula": structure.formula,
        "potential": potential.name,
        "potential_version": potential.version,
        "steps": len(steps) - 1,
        "energy_ev_per_atom": change(
            steps[0].energy_ev / structure.n_sites, relaxation.result.energy_ev_per_atom
        ),
        "volume_a3": change(structure.volume, final.volume),
        "lengths_a": change(structure.lengths, final.lengths),
        "angles_deg": change(structure.angles, final.angles),
        "space_group": change(relaxation.space_group_before, relaxation.space_group_after),
        "max_displacement_a": relaxation.max_displacement_a,
        "max_force_ev_a": steps[-1].max_force_ev_a,
        "structure": final,
    }


def _print(document: dict[str, Any]) -> None:
    print_facts(
        [
            ("formula", document["formula"]),
            ("potential", f"{document['potential']} {document['potential_version']}"),
            ("steps", document["steps"]),
            ("largest force left, eV/Å", document["max_force_ev_a"]),
            ("farthest moved atom, Å", document["max_displacement_a"]),
        ]
    )
    rows = [
        ("energy, eV/atom", *(f"{document['energy_ev_per_atom'][when]:.5f}" for when in _WHEN)),
        ("volume, Å³", *(f"{document['volume_a3'][when]:.3f}" for when in _WHEN)),
    ]
    for titles, name in ((_LENGTHS, "lengths_a"), (_ANGLES, "angles_deg")):
        before, after = (document[name][when] for when in _WHEN)
        rows += [
            (title, f"{old:.4f}", f"{new:.4f}")
            for title, old, new in zip(titles, before, after, strict=True)
        ]
    rows.append(("space group", *(document["space_group"][when] for when in _WHEN)))
    columns = (
        Column(title="", of=lambda row: row[0]),
        Column(title="before", of=lambda row: row[1], right=True),
        Column(title="after", of=lambda row: row[2], right=True),
    )
    print_table(columns, rows, empty="Nothing moved.")
