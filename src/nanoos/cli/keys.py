"""``nanoos keys``: API keys for programs."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document, to_document
from nanoos.cli.opening import local_user, services
from nanoos.cli.render import Column, print_table, say, short_id
from nanoos.core.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from nanoos.services.access import Principal
    from nanoos.services.container import Services

app = typer.Typer(name="keys", help="Create, list and revoke API keys.", no_args_is_help=True)

_COLUMNS = (
    Column(title="id", of=lambda key: short_id(key.id)),
    Column(title="name", of=lambda key: key.name),
    Column(title="begins", of=lambda key: key.prefix),
    Column(title="scopes", of=lambda key: key.scopes),
    Column(title="expires, UTC", of=lambda key: key.expires_at),
    Column(title="last used, UTC", of=lambda key: key.last_used_at),
)
_User = Annotated[
    str | None, typer.Option("--user", help="Whose; default: the local user of this machine.")
]


def _owner(lab: "Services", username: str | None) -> "Principal":
    from nanoos.services.access import Principal
    from nanoos.services.sessions import scopes_of

    if username is None:
        return local_user()
    user = lab.users.find(username, local_user())
    return Principal(
        user_id=user.id, username=user.username, role=user.role, scopes=scopes_of(user.role)
    )


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    *,
    user: _User = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write or admin; may be repeated.")
    ] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, help="Days until it ends.")] = None,
    as_json: options.Json = False,
) -> None:
    """Make a key; it is shown now and never again. JSON: the key's fields and "key"."""
    ends = datetime.now(UTC) + timedelta(days=expires_days) if expires_days else None
    with services() as lab:
        record, key = lab.users.api_keys.create(
            name, _owner(lab, user), scopes=scope or ["read", "write"], expires_at=ends
        )
    if as_json:
        print_document({**to_document(record), "key": key})
        return
    print(key)  # noqa: T201
    say("Keep it: it cannot be shown again. Send it as 'Authorization: Bearer KEY'.")


@app.command("list")
def list_keys(*, user: _User = None, as_json: options.Json = False) -> None:
    """List a user's keys. JSON: {"items": [key without the key itself]}."""
    with services() as lab:
        keys = list(lab.users.api_keys.list(_owner(lab, user)))
    if as_json:
        print_document({"items": keys})
        return
    print_table(_COLUMNS, keys, empty="No keys.")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, the beginning of it, or its name.")],
    *,
    user: _User = None,
    as_json: options.Json = False,
) -> None:
    """End a key; every server refuses it within two seconds. JSON: {"revoked": id}."""
    with services() as lab:
        owner = _owner(lab, user)
        keys = lab.users.api_keys.list(owner)
        meant = [one for one in keys if str(one.id).startswith(key.lower()) or one.name == key]
        if not meant:
            raise NotFoundError(
                f"There is no API key {key!r}.", hint="'nanoos keys list' shows them."
            )
        if len(meant) > 1:
            raise ConflictError(
                f"{len(meant)} keys are meant by {key!r}.", hint="Give the id instead."
            )
        lab.users.api_keys.revoke(meant[0].id, owner)
    if as_json:
        print_document({"revoked": meant[0].id})
    else:
        say(f"The key {meant[0].name!r} is revoked.")
