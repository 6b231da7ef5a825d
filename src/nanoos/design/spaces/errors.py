"""From a pydantic refusal to an error that a person can act on."""

import difflib

from pydantic import ValidationError

from nanoos.core.errors import ConfigError


def config_error(what: str, error: ValidationError, *, known: tuple[str, ...] = ()) -> ConfigError:
    """A ConfigError with one sentence for each problem, and the nearest valid key for a typo.

    Args:
        what: The thing that was being configured.
        error: What pydantic found.
        known: Valid top-level keys, for the nearest-name hint.
    """
    problems: list[str] = []
    hints: list[str] = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        problems.append(f"{where}: {message}" if where else message)
        if item["type"] == "extra_forbidden" and item["loc"]:
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            hints.append(f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}.")
    return ConfigError(
        f"{what} cannot be used: " + "; ".join(problems),
        hint=" ".join(hints) or None,
        details={"problems": problems},
    )
