"""Registries of plug-ins: one file, one line, loaded on first use."""

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from nanoos.core.errors import ConflictError, NotFoundError, UnavailableError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects, imported on first use.

    Args:
        group: Entry-point group whose members are merged in (``nanoos.engines``); the same
            name in an installed package adds a member without touching this one.
        members: Name to ``"module:attribute"``. Names are matched without regard to case.
        extra: The extra of this distribution that holds the members' dependencies, named in
            the error when one is missing.
        aliases: Other names by which members are known; they are not listed.
    """

    def __init__(
        self,
        group: str,
        members: Mapping[str, str],
        *,
        extra: str = "all",
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.group = group
        self._aliases = {other.casefold(): name for other, name in (aliases or {}).items()}
        self._extra = extra
        self._targets: dict[str, str] = dict(members)
        self._loaded: dict[str, T] = {}
        self._discovered = False

    def _discover(self) -> None:
        if not self._discovered:
            for point in entry_points(group=self.group):
                self._targets.setdefault(point.name, point.value)
            self._discovered = True

    def names(self) -> list[str]:
        """All member names, sorted."""
        self._discover()
        return sorted(self._targets | dict.fromkeys(self._loaded, ""))

    def register(self, name: str, member: T) -> None:
        """Add a member at run time (a notebook, a test).

        Raises:
            ConflictError: the name is taken.
        """
        if self._canonical(name) is not None:
            raise ConflictError(
                f"{name!r} is already registered in {self.group}.",
                hint="Choose another name.",
            )
        self._loaded[name] = member

    def unregister(self, name: str) -> None:
        """Remove a member that was added with :meth:`register`."""
        self._loaded.pop(name, None)

    def _canonical(self, name: str) -> str | None:
        folded = name.casefold()
        folded = self._aliases.get(folded, folded).casefold()
        return next((n for n in self.names() if n.casefold() == folded), None)

    def canonical_name(self, name: str) -> str:
        """The registered spelling of ``name``.

        Raises:
            NotFoundError: no such member; the hint gives the nearest name.
        """
        found = self._canonical(name)
        if found is None:
            names = self.names()
            near = difflib.get_close_matches(name.casefold(), [n.casefold() for n in names], n=1)
            nearest = next((n for n in names if near and n.casefold() == near[0]), None)
            known = "Known: " + ", ".join(names) + "."
            hint = f"Did you mean {nearest!r}? {known}" if nearest else known
            kind = self.group.rpartition(".")[2].rstrip("s").replace("_", " ")
            raise NotFoundError(f"There is no {kind} named {name!r}.", hint=hint)
        return found

    def get(self, name: str) -> T:
        """The member called ``name``, imported now if it was not before.

        Raises:
            NotFoundError: no such member.
            UnavailableError: a package it needs is not installed.
        """
        key = self.canonical_name(name)
        if key not in self._loaded:
            module_name, _, attribute = self._targets[key].partition(":")
            try:
                module = import_module(module_name)
            except ModuleNotFoundError as error:
                if error.name and error.name.split(".")[0] == "nanoos":
                    raise
                raise UnavailableError(
                    f"{key} needs the Python package {error.name!r}, which is not installed.",
                    hint=f"pip install 'nanoos[{self._extra}]'",
                ) from error
            self._loaded[key] = cast("T", getattr(module, attribute))
        return self._loaded[key]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._canonical(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def items(self) -> Iterator[tuple[str, Any]]:
        """Every name with its member; a member whose dependency is missing raises."""
        for name in self.names():
            yield name, self.get(name)
