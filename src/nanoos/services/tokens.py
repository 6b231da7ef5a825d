"""Signed tokens of login sessions: what they say, and telling them apart."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import jwt

from nanoos.core.errors import UnauthorizedError

TokenUse = Literal["access", "refresh", "web"]
_ALGORITHM: Final = "HS256"
_REQUIRED: Final = ["sub", "sid", "gen", "use", "iat", "exp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """What a token that we signed says.

    Attributes:
        user_id: Whose it is.
        session_id: The login that it came from.
        generation: The user's token generation when it was made.
        expires_at: End of its life, UTC.
    """

    user_id: uuid.UUID
    session_id: uuid.UUID
    generation: int
    expires_at: datetime


class TokenSigner:
    """Makes and checks JSON web tokens (HS256).

    A token's ``use`` keeps its kinds apart: an access token opens the API, a refresh token only
    buys a new pair, a web token lives in a cookie and opens only pages.

    Args:
        secret_key: At least 32 bytes; shared by all processes of an installation.
    """

    def __init__(self, secret_key: str) -> None:
        # a derived key has the right length whatever the setting holds
        self._key = hashlib.sha256(b"nanoos tokens\0" + secret_key.encode()).digest()

    def sign(
        self,
        use: TokenUse,
        *,
        user_id: uuid.UUID,
        session_id: uuid.UUID,
        generation: int,
        life: timedelta,
    ) -> str:
        """A new token; no two are equal."""
        now = datetime.now(UTC)
        claims = {
            "sub": str(user_id),
            "sid": str(session_id),
            "gen": generation,
            "use": use,
            "jti": uuid.uuid4().hex,
            "iat": now,
            "exp": now + life,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str, use: TokenUse) -> TokenClaims:
        """The claims of a token of that use.

        Raises:
            UnauthorizedError: not ours, another use, or expired.
        """
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[_ALGORITHM], options={"require": _REQUIRED}
            )
            if claims["use"] != use:
                raise UnauthorizedError(f"This is no {use} token.", code="invalid_token")
            return TokenClaims(
                user_id=uuid.UUID(claims["sub"]),
                session_id=uuid.UUID(claims["sid"]),
                generation=int(claims["gen"]),
                expires_at=datetime.fromtimestamp(claims["exp"], UTC),
            )
        except jwt.ExpiredSignatureError as error:
            raise UnauthorizedError(
                "The token has expired.",
                hint="Refresh it or log in again.",
                code="token_expired",
            ) from error
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise UnauthorizedError(
                "The token is not valid.", hint="Log in again.", code="invalid_token"
            ) from error


def token_sha256(token: str) -> str:
    """What is stored of a secret that has enough entropy of its own."""
    return hashlib.sha256(token.encode()).hexdigest()
