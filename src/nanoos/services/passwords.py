"""Password rules and hashing (Argon2id)."""

import secrets
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Final

from nanoos.core.errors import InvalidInputError

if TYPE_CHECKING:
    from pwdlib import PasswordHash

MIN_PASSWORD: Final = 10
MAX_PASSWORD: Final = 512
_MOST_AT_ONCE: Final = 2


class Passwords:
    """Hashes and checks passwords; a check costs the same whether the user exists or not."""

    def __init__(self) -> None:
        # each hash takes 64 MiB: a burst of logins must not take all memory
        self._turn = threading.BoundedSemaphore(_MOST_AT_ONCE)

    @cached_property
    def _hasher(self) -> "PasswordHash":
        from pwdlib import PasswordHash

        return PasswordHash.recommended()

    @cached_property
    def _nobody(self) -> str:
        with self._turn:
            return self._hasher.hash(secrets.token_urlsafe())

    def hash(self, password: str, *, username: str) -> str:
        """The hash to store.

        Raises:
            InvalidInputError: shorter than 10 or longer than 512 characters, or the user name.
        """
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise InvalidInputError(
                f"The password has {len(password)} characters.",
                hint=f"Use {MIN_PASSWORD} to {MAX_PASSWORD} characters.",
                code="weak_password",
            )
        if password.casefold() == username.casefold() or len(set(password)) == 1:
            raise InvalidInputError(
                "The password is too easy to guess.",
                hint="Use neither the user name nor one character repeated.",
                code="weak_password",
            )
        with self._turn:
            return self._hasher.hash(password)

    def verify(self, password: str, stored: str | None) -> bool:
        """Whether the password is the stored one; None (nobody, no password) is never."""
        if len(password) > MAX_PASSWORD:
            return False
        compared = stored or self._nobody
        with self._turn:
            matches = self._hasher.verify(password, compared)
        return matches and stored is not None
