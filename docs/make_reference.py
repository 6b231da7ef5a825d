"""Write the reference pages from the code: ``python docs/make_reference.py``.

Commands, routes, settings, campaign files and plug-ins are described where they are defined;
these pages only arrange that. A test fails when a page is not what this script writes.
"""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

FOLDER = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/make_reference.py: change the code, not this page. -->\n\n"


def settings_page() -> str:
    """Every setting: environment variable, type, default, meaning."""
    from nanoos.config import Settings

    lines = [
        "# Settings",
        "",
        "An environment variable wins over the TOML file (`nanoos config show` says where each",
        "value comes from, and where the file is), and the file over the default. In the file the",
        'names are lower case without the prefix: `broker_url = "redis://localhost:6379/0"`.',
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "the user's data folder" if name == "data_dir" else _default(field.default)
        lines.append(f"| `NANO_OS_{name.upper()}` | {default} | {field.description} |")
    lines += [
        "",
        "Besides: `NANO_OS_CONFIG_FILE` names the TOML file, `NANO_OS_DEBUG=1` shows tracebacks",
        "on the command line, `NO_COLOR` turns colours off.",
    ]
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return f"`{shown}`" if shown not in ("", None) else "empty"


def campaign_page() -> str:
    """Every key of a campaign file."""
    from nanoos.design.campaign import TARGET_PROPERTIES, CampaignConfig
    from nanoos.design.spaces import SPACES

    lines = ["# Campaign files", "", "Keys of the file that `nanoos discover` runs.", ""]
    lines += _keys("Campaign", CampaignConfig)
    for name, space in SPACES.items():
        lines += _keys(f"parameter_space, type {name}", space.Config)
    lines += ["## Properties", "", "| name | unit |", "|---|---|"]
    lines += [f"| `{p.name}` | {p.unit} |" for p in TARGET_PROPERTIES.values()]
    return "\n".join(lines) + "\n"


def _keys(title: str, model: type[BaseModel]) -> list[str]:
    lines = [f"## {title}", "", "| key | default | meaning |", "|---|---|---|"]
    sections: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        nested = _section(field.annotation)
        if field.is_required():
            default = "required"
        elif nested is not None or field.default_factory is not None:
            default = "see below" if nested is not None and field.default else "none"
        else:
            default = f"`{field.default}`" if field.default not in (None, "") else "none"
        if nested is not None:
            sections.append((name, nested))
        meaning = (field.description or "").replace("|", "\\|").replace("\n", " ")
        lines.append(f"| `{name}` | {default} | {meaning} |")
    lines.append("")
    for name, nested in sections:
        lines += _keys(name, nested)
    return lines


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for a in get_args(annotation) if (found := _section(a))), None)


def plugins_page() -> str:
    """Every member of every registry."""
    from nanoos.design import ACQUISITIONS, SPACES
    from nanoos.engines import ENGINES
    from nanoos.models import MODEL_REGISTRY
    from nanoos.potentials import POTENTIALS
    from nanoos.services.job_kinds import JOB_KINDS
    from nanoos.tools import TOOLS

    lines = [
        "# Plug-ins",
        "",
        "Members of each registry. An installed package adds one through the entry-point group of",
        "the same name; see [Contributing](../contributing.md).",
        "",
    ]
    for registry in (MODEL_REGISTRY, POTENTIALS, ENGINES, SPACES, ACQUISITIONS, JOB_KINDS, TOOLS):
        lines += [f"## {registry.group}", "", "| name | |", "|---|---|"]
        for name, member in registry.items():
            text = getattr(member, "title", None) or getattr(member, "purpose", None)
            text = text or (member.__doc__ or "").strip()
            lines.append(f"| `{name}` | {str(text).splitlines()[0] if text else ''} |")
        lines.append("")
    return "\n".join(lines)


def commands_page() -> str:
    """Every command with its options."""
    from nanoos.cli.app import command_group

    lines = [
        "# Commands",
        "",
        "`nanoos COMMAND --help` says the same. `--json` gives JSON on standard output and",
        "nothing else there; the exit code says how it went (`nanoos --help` lists them).",
        "",
    ]
    group = command_group()
    context = group.make_context("nanoos", [], resilient_parsing=True)
    for name in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [name])
        lines += _command(f"nanoos {name}", command)
    return "\n".join(lines) + "\n"


def _command(path: str, command: Any) -> Iterator[str]:
    help_text = (command.help or "").split("\f")[0].strip()
    yield from (f"## {path}", "", help_text, "")
    parameters = [
        p for p in command.params if p.name not in {"help", "install_completion", "show_completion"}
    ]
    if parameters:
        yield from ("| argument or option | meaning |", "|---|---|")
        for parameter in parameters:
            names = ", ".join([*parameter.opts, *parameter.secondary_opts])
            if parameter.param_type_name == "argument":
                names = (parameter.metavar or parameter.name or "").upper()
            meaning = (getattr(parameter, "help", None) or "").replace("|", "\\|")
            yield f"| `{names}` | {meaning} |"
        yield ""
    for name, child in getattr(command, "commands", {}).items():
        yield from _command(f"{path} {name}", child)


def routes_page() -> str:
    """Every route with its answers."""
    import tempfile

    from nanoos.api.app import create_app
    from nanoos.bootstrap import build_services, prepare
    from nanoos.config import Settings

    with tempfile.TemporaryDirectory() as folder:
        settings = prepare(Settings(data_dir=Path(folder)))
        services = build_services(settings)
        document = create_app(settings, services).openapi()
        services.close()
    lines = [
        "# Routes",
        "",
        "The OpenAPI document (`/openapi.json`, readable at `/docs` of a running server) has the",
        'fields. Every error is `{"error": {code, message, hint, details}}`.',
        "",
        "| route | | answers |",
        "|---|---|---|",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = ", ".join(sorted(operation["responses"]))
            summary = operation.get("summary", "").replace("|", "\\|")
            lines.append(f"| `{method.upper()} {path}` | {summary} | {answers} |")
    return "\n".join(lines) + "\n"


def model_cards_page() -> str:
    """The card of each shipped checkpoint."""
    import hashlib

    from nanoos.kpoints import kpoint_models
    from nanoos.kpoints.cards import kpoint_card
    from nanoos.models.cards import checkpoint_card
    from nanoos.models.checkpoints import read_header, shipped_checkpoints

    lines = [
        "# Model cards",
        "",
        "Of the checkpoints inside the package. `benchmarks/shipped_models.py` joins, calibrates and",
        "measures them, `benchmarks/kpoints_models.py` those of k-points; what each was trained with",
        "stands in its card.",
        "",
    ]
    cards = [
        checkpoint_card(
            read_header(path),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            size_bytes=path.stat().st_size,
        )
        for path in shipped_checkpoints()
    ]
    cards += [kpoint_card(info) for info in kpoint_models() if info.available]
    for card in cards:
        lines += [f"#{line}" if line.startswith("#") else line for line in card.splitlines()]
        lines.append("")
    return "\n".join(lines)


PAGES = {
    "campaigns.md": campaign_page,
    "commands.md": commands_page,
    "model_cards.md": model_cards_page,
    "plugins.md": plugins_page,
    "routes.md": routes_page,
    "settings.md": settings_page,
}


def main() -> int:
    """Write all pages."""
    logging.disable(logging.WARNING)
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(HEAD + page(), encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
