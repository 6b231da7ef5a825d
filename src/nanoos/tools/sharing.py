"""Large packages of the main environment, seen by a tool's environment through links.

A folder of links stands last on the tool's path, so its own packages come first, and pip finds
the linked ones installed and never touches them: they lie outside the tool's environment. Both
environments run the same interpreter, so compiled extensions fit. When the main environment
changes, the links would show something that was never tested together: the versions are kept
in the tool's record and compared each time.
"""

import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from nanoos.core.errors import UnavailableError

FOLDER: Final = "shared-packages"
_PATH_FILE: Final = "nanoos_shared_packages.pth"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPackage:
    """A distribution of the main environment that a tool uses.

    Attributes:
        name: Canonical name.
        version: As installed when the tool was.
        location: Folder that holds it.
    """

    name: str
    version: str
    location: str


def shared_packages(names: Iterable[str]) -> list[SharedPackage]:
    """The distributions ``names`` with all that they require, as installed here.

    Raises:
        UnavailableError: one of ``names`` is not installed.
    """
    found: dict[str, SharedPackage] = {}
    waiting = [canonicalize_name(name) for name in names]
    for name in waiting:
        if _distribution(name) is None:
            raise UnavailableError(
                f"The tool uses the package {name!r} of the main environment, which lacks it.",
                hint="pip install 'nanoos[ml]'",
            )
    while waiting:
        name = waiting.pop()
        distribution = None if name in found else _distribution(name)
        if distribution is None:
            continue
        found[name] = SharedPackage(
            name=name,
            version=distribution.version,
            location=str(distribution.locate_file("")),
        )
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return sorted(found.values(), key=lambda package: package.name)


def link(packages: Sequence[SharedPackage], environment: Path) -> None:
    """Show ``packages`` to the virtual environment at ``environment``."""
    folder = environment / FOLDER
    folder.mkdir()
    for package in packages:
        distribution = metadata.distribution(package.name)
        for top in _top_level(distribution):
            target = Path(str(distribution.locate_file(top)))
            place = folder / top
            if target.exists() and not place.is_symlink():
                place.symlink_to(target)
    site = Path(
        sysconfig.get_path(
            "purelib", "venv", vars={"base": str(environment), "platbase": str(environment)}
        )
    )
    up = "/".join([".."] * len(site.relative_to(environment).parts))
    (site / _PATH_FILE).write_text(f"{up}/{FOLDER}\n", encoding="utf-8")


def changed(packages: Iterable[SharedPackage]) -> list[str]:
    """Names of those that are no longer what and where they were."""
    gone = []
    for package in packages:
        distribution = _distribution(package.name)
        same = (
            distribution is not None
            and distribution.version == package.version
            and str(distribution.locate_file("")) == package.location
        )
        if not same:
            gone.append(package.name)
    return gone


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _top_level(distribution: metadata.Distribution) -> list[str]:
    """Files and folders directly in site-packages that belong to it, compiled caches apart."""
    parts = {path.parts[0] for path in distribution.files or ()}
    return sorted(top for top in parts if top not in {"..", "__pycache__"} and top[-4:] != ".pth")
