"""The queues that a worker may be told to serve."""

import difflib
from collections.abc import Sequence


def checked_queues(names: Sequence[str] | None) -> list[str]:
    """``names``, or all queues where none is given.

    Raises:
        InvalidInputError: there is no such queue; names the nearest.
    """
    from nanoos.core.errors import InvalidInputError
    from nanoos.db.jobs import QUEUES

    for name in names or ():
        if name not in QUEUES:
            near = difflib.get_close_matches(name, QUEUES, n=1)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise InvalidInputError(
                f"There is no queue {name!r}.", hint=f"{meant}Queues: {', '.join(QUEUES)}."
            )
    return list(dict.fromkeys(names)) if names else list(QUEUES)
