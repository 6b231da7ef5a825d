"""``nanoos models pull|add|remove``: weights of others on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.opening import confirmed
from nanoos.cli.render import Column, print_table, progress, say

if TYPE_CHECKING:
    from nanoos.potentials.installed_weights import InstalledWeights

_COLUMNS = (
    Column(title="weights", of=lambda row: row["name"]),
    Column(title="here", of=lambda row: row["installed"]),
    Column(title="for", of=lambda row: "untried, kept only" if row["untried"] else row["gives"]),
    Column(title="license", of=lambda row: row["license"]),
    Column(title="to get them", of=lambda row: row["command"], shrinks=True),
)


def weights_rows() -> list[dict[str, object]]:
    """Published sets and what else was added, as ``nanoos models list --json`` gives them."""
    from nanoos.potentials.installed_weights import installed_weights
    from nanoos.potentials.published_weights import PUBLISHED, UNTRIED_FAMILIES

    here = installed_weights()
    rows: list[dict[str, object]] = []
    for name in sorted({*PUBLISHED, *here}, key=str.casefold):
        known, added = PUBLISHED.get(name), here.get(name)
        family = added.family if added else known and known.family
        rows.append(
            {
                "name": name,
                "installed": added is not None,
                "gives": list(known.gives) if known else [],
                "untried": family in UNTRIED_FAMILIES,
                "license": added.license if added else known.license if known else None,
                "source": added.source if added else known.source if known else None,
                "sha256": added.sha256 if added else None,
                "added_at": added.added_at if added else None,
                "command": None if added else f"nanoos models pull {name}",
            }
        )
    return rows


def print_weights(rows: list[dict[str, object]]) -> None:
    """The table for people."""
    print_table(_COLUMNS, rows, empty="No weights.")


def pull(
    name: Annotated[str, typer.Argument(help="Of the weights, or of the model that needs them.")],
    *,
    as_json: options.Json = False,
) -> None:
    """Download published weights, verify them and keep them on this machine.

    Without a network: fetch the files elsewhere and use `nanoos models add`.

    JSON: [{"name", "family", "files", "license", "source", "added_at", "folder"}].
    """
    from nanoos.models.store import pull as fetch

    with progress(f"pulling {name}") as report:
        added = fetch(name, progress=report)
    _tell([added], as_json=as_json)


def add(
    path: Annotated[Path, typer.Argument(help="Folder with the files, or one of them.")],
    *,
    as_: Annotated[
        str | None,
        typer.Option("--as", help="Only this set (default: every complete one), or MACE."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="MACE: what to call the weights. Default: the file's name.")
    ] = None,
    functional: Annotated[
        str, typer.Option(help="MACE: of the data it was trained on, PBE for example.")
    ] = "not stated",
    corrections: Annotated[
        str, typer.Option(help="MACE: of those data's energies; none where there are none.")
    ] = "not stated",
    head: Annotated[str | None, typer.Option(help="MACE: which read-out of several.")] = None,
    license_: Annotated[
        str, typer.Option("--license", help="MACE: of the weights, as SPDX identifier.")
    ] = "not stated",
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Copy published weights that are on a disk, after loading them once as a check.

    They are recognised by their content. With `--as MACE` a MACE model file is converted; that
    RUNS THE CODE in it, in the tool's process. JSON as of `pull`.
    """
    from nanoos.models.store import add_from

    if as_ is not None and as_.casefold() == "mace":
        from nanoos.models.mace_weights import add_mace_model
        from nanoos.potentials.mace import MACECard

        if not _code_may_run(path, yes=yes, as_json=as_json):
            raise typer.Exit(1)
        card = MACECard(
            version=version or path.stem,
            functional=functional,
            corrections=corrections,
            head=head,
        )
        with progress(f"converting {path.name}") as report:
            weights = add_mace_model(path, card, license_=license_, progress=report)
        _tell([weights], as_json=as_json)
        return
    with progress("checking weights"):
        added = add_from(path, name=as_)
    _tell(added, as_json=as_json)


def _code_may_run(file: Path, *, yes: bool, as_json: bool) -> bool:
    """Whether the user trusts a pickle.

    Raises:
        InvalidInputError: nobody can be asked.
    """
    from nanoos.core.errors import InvalidInputError

    if as_json and not yes:
        raise InvalidInputError(
            f"{file.name} is a pickle: reading it runs the code in it.",
            hint="If you trust where it comes from, add --yes.",
            code="not_confirmed",
        )
    return confirmed(f"Reading {file.name} runs the code in it. Do you trust it?", yes=yes)


def remove(
    name: Annotated[str, typer.Argument(help="Of the weights.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.Json = False,
) -> None:
    """Take weights off this machine. JSON as of `pull`: what was removed."""
    from nanoos.models.store import remove as drop

    if not confirmed(f"Remove the weights {name} from this machine?", yes=yes or as_json):
        raise typer.Exit(1)
    gone = drop(name)
    if as_json:
        print_document([{**gone.as_dict(), "folder": str(gone.folder)}])
    else:
        say(f"{gone.name} is no longer on this machine.")


def _tell(added: "list[InstalledWeights]", *, as_json: bool) -> None:
    if as_json:
        print_document([{**weights.as_dict(), "folder": str(weights.folder)} for weights in added])
        return
    for weights in added:
        say(f"{weights.name} is on this machine ({weights.license}; {weights.source}).")
