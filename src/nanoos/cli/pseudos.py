"""``nanoos pseudos``: pseudopotential families for plane-wave DFT."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.opening import confirmed
from nanoos.cli.render import Column, print_facts, print_table, progress, say

if TYPE_CHECKING:
    from nanoos.pseudopotentials import PseudopotentialFamily

app = typer.Typer(
    name="pseudos",
    help="Pseudopotential families: named, hashed, with licence and citation.",
    no_args_is_help=True,
)

_COLUMNS = (
    Column(title="family", of=lambda row: row["name"]),
    Column(title="installed", of=lambda row: row["installed"]),
    Column(title="elements", of=lambda row: row["n_elements"], right=True),
    Column(title="functional", of=lambda row: row["functional"]),
    Column(title="relativistic", of=lambda row: row["relativistic"]),
    Column(title="verified", of=lambda row: row["verified"]),
    Column(title="license", of=lambda row: row["license"], shrinks=True),
)
_ELEMENT_COLUMNS = (
    Column(title="element", of=lambda row: row["element"]),
    Column(title="kind", of=lambda row: row["kind"]),
    Column(title="valence", of=lambda row: row["z_valence"], right=True),
    Column(title="cutoffs low/normal/high, Ry", of=lambda row: row["shown"]),
    Column(title="SHA-256", of=lambda row: row["sha256"][:16]),
)


@app.callback()
def _place() -> None:
    from nanoos.config import load_settings
    from nanoos.pseudopotentials import set_pseudo_folder

    set_pseudo_folder(load_settings().resolved_pseudo_dir)


@app.command("list")
def list_families(
    family: Annotated[
        str | None, typer.Argument(help="Show the elements of this one, with hashes and cutoffs.")
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """List the families that are installed and those that can be installed by name.

    JSON: {"families": [{"name", "installed", "version", "functional", "relativistic", "license",
    "citation", "source", "verified", "n_elements", "elements", "sha256", "folder", "url"}]}; with
    FAMILY that family with "pseudos": {element: {"file", "sha256", "z_valence", "kind",
    "cutoffs": {accuracy: {"wfc_ry", "rho_ry"}}}}.
    """
    from nanoos.pseudopotentials import KNOWN_FAMILIES, families, get_family

    if family is not None:
        _show(get_family(family), as_json=as_json)
        return
    here = [_row(one) for one in families()]
    names = {row["name"] for row in here}
    known = [
        {
            "name": one.name,
            "installed": False,
            "version": one.version,
            "functional": one.functional,
            "relativistic": one.relativistic,
            "license": one.license,
            "citation": one.citation,
            "source": None,
            "verified": None,
            "n_elements": None,
            "elements": None,
            "sha256": None,
            "folder": None,
            "url": one.url,
        }
        for one in KNOWN_FAMILIES.values()
        if one.name not in names
    ]
    if as_json:
        print_document({"families": [*here, *known]})
        return
    print_table(_COLUMNS, [*here, *known], empty="No families.")
    if not here:
        say("None is installed: nanoos pseudos install NAME, or an archive on disk.")


@app.command()
def install(
    what: Annotated[str, typer.Argument(help="A family by name, or an archive or folder of UPF.")],
    *,
    name: Annotated[
        str | None, typer.Option(help="What to call a family that nobody here knows.")
    ] = None,
    license_: Annotated[str | None, typer.Option("--license", help="Of its files.")] = None,
    citation: Annotated[str | None, typer.Option(help="What to cite.")] = None,
    cutoffs: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="PseudoDojo's djson or SSSP's json."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Install a family: from where it is published, or from an archive on disk.

    Files are checked against the hashes that are known of the family. JSON: as `list` shows it.
    """
    from nanoos.pseudopotentials import Label, install_family

    label = Label(name=name, license=license_, citation=citation, metadata=cutoffs)
    with progress(f"installing {what}") as report:
        family = install_family(what, label=label, progress=report)
    if as_json:
        print_document(_row(family))
        return
    info = family.info
    checked = "every file as published" if info.verified else "not checked against a publication"
    say(f"{family.name}: {len(family.pseudos)} elements, {info.functional}, {checked}.")
    say(f"License: {info.license}. Cite: {info.citation}.")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Of the family.")],
    *,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Take a family off this machine. JSON: what was removed, as `list` shows it."""
    from nanoos.pseudopotentials import get_family, remove_family

    family = get_family(name)
    if not confirmed(f"Delete the family {family.name}?", yes=yes or as_json):
        return
    gone = remove_family(name)
    if as_json:
        print_document(_row(gone))
    else:
        say(f"{gone.name} is no longer on this machine.")


def _row(family: "PseudopotentialFamily") -> dict[str, Any]:
    document = family.as_dict()
    del document["pseudos"]
    return {
        **document,
        "installed": True,
        "n_elements": len(family.pseudos),
        "elements": list(family.elements),
        "sha256": family.sha256,
        "folder": str(family.folder),
        "url": None,
    }


def _show(family: "PseudopotentialFamily", *, as_json: bool) -> None:
    pseudos = family.as_dict()["pseudos"]
    if as_json:
        print_document({**_row(family), "pseudos": pseudos})
        return
    info = family.info
    print_facts(
        [
            ("family", info.name),
            ("version", info.version),
            ("functional", info.functional),
            ("relativistic", info.relativistic),
            ("license", info.license),
            ("citation", info.citation),
            ("source", info.source),
            ("verified", info.verified),
            ("folder", family.folder),
        ]
    )
    rows = [
        {
            **pseudo,
            "shown": " / ".join(f"{pair['wfc_ry']:g}" for pair in pseudo["cutoffs"].values()),
        }
        for pseudo in pseudos.values()
    ]
    print_table(_ELEMENT_COLUMNS, rows, empty="No elements.")
