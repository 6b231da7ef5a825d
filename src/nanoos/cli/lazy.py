"""A command group that imports a command when it is used.

``nanoos --help`` needs only names and one line each, which stand in a table; the module of a
command, and all that it imports, is loaded when the command is called or completed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyCommand:
    """Where a command is and what its one line in the help says.

    Attributes:
        name: As typed.
        target: ``module:attribute`` of its ``typer.Typer``.
        help: One line.
        panel: Heading it stands under.
    """

    name: str
    target: str
    help: str
    panel: str


class _Placeholder(TyperCommand):
    """Stands in the help for a command that was not imported."""

    def __init__(self, command: LazyCommand) -> None:
        super().__init__(name=command.name, help=command.help, rich_help_panel=command.panel)
        self.target = command.target

    def load(self) -> Any:
        """The command itself."""
        module, _, attribute = self.target.partition(":")
        app = getattr(import_module(module), attribute)
        app.rich_markup_mode = None  # plain: as markup, the brackets of JSON would be lost
        command = get_command(app)
        command.name = self.name
        return command


class PipeClosedError(Exception):
    """Whoever read our output has gone (``nanoos ... | head``)."""


class LazyGroup(TyperGroup):
    """The group of all commands."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One section for each heading, in the order of the table."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.commands[name]
            line = command.get_short_help_str(formatter.width)
            panels.setdefault(command.rich_help_panel or "Commands", []).append((name, line))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def add_lazy(self, commands: Iterable[LazyCommand]) -> None:
        """Fill the group; nothing is imported."""
        for command in commands:
            self.add_command(_Placeholder(command))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that ``args`` name, imported now."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, _Placeholder) else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a closed pipe is kept from the framework, which would answer 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeClosedError from error
