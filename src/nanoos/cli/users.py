"""``nanoos users``: accounts of the people who use the server."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import page_document, print_document
from nanoos.cli.opening import local_user, services
from nanoos.cli.render import Column, print_table, say, say_next, short_id
from nanoos.core.errors import InvalidInputError

if TYPE_CHECKING:
    from nanoos.services.users import UserRecord

app = typer.Typer(name="users", help="Create, list and disable accounts.", no_args_is_help=True)

_COLUMNS = (
    Column(title="user", of=lambda user: user.username),
    Column(title="role", of=lambda user: user.role),
    Column(title="active", of=lambda user: user.is_active),
    Column(title="e-mail", of=lambda user: user.email),
    Column(title="made, UTC", of=lambda user: user.created_at),
    Column(title="id", of=lambda user: short_id(user.id)),
)
_FromInput = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
_Username = Annotated[str, typer.Argument(help="User name.")]


def _ask_password(*, from_input: bool) -> str:
    """The password, typed unseen twice or read from standard input; never an argument."""
    if from_input:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidInputError(
            "There is no terminal to type a password at.",
            hint="Give --password-stdin and send the password to standard input.",
        )
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def _report(user: "UserRecord", text: str, *, as_json: bool) -> None:
    if as_json:
        print_document(user)
    else:
        say(text)


@app.command()
def create(
    username: _Username,
    *,
    admin: Annotated[bool, typer.Option("--admin", help="An administrator.")] = False,
    email: Annotated[str | None, typer.Option(help="E-mail address.")] = None,
    password_stdin: _FromInput = False,
    as_json: options.Json = False,
) -> None:
    """Make an account. JSON: {"id", "username", "email", "role", "is_active", "created_at"}."""
    password = _ask_password(from_input=password_stdin)
    with services() as lab:
        role = "admin" if admin else "user"
        user = lab.users.create(username, password, local_user(), role=role, email=email)
    _report(user, f"{user.username} ({user.role}) can log in now.", as_json=as_json)


@app.command("list")
def list_users(
    *, limit: options.Limit = 50, cursor: options.Cursor = None, as_json: options.Json = False
) -> None:
    """List accounts, newest first. JSON: {"items": [user], "total", "next"}."""
    with services() as lab:
        page = lab.users.page(local_user(), cursor=cursor, limit=limit)
    if as_json:
        print_document(page_document(page))
        return
    print_table(_COLUMNS, page.items, empty="No users.")
    say_next(page, len(page.items))


@app.command()
def passwd(
    username: _Username, *, password_stdin: _FromInput = False, as_json: options.Json = False
) -> None:
    """Set a user's password; ends the user's sessions. JSON: the user."""
    password = _ask_password(from_input=password_stdin)
    with services() as lab:
        user = lab.users.find(username, local_user())
        user = lab.users.update(user.id, local_user(), password=password)
    _report(user, f"{user.username} has a new password.", as_json=as_json)


@app.command()
def disable(username: _Username, *, as_json: options.Json = False) -> None:
    """Lock an account: its sessions and keys end within two seconds. JSON: the user."""
    _set_active(username, active=False, as_json=as_json)


@app.command()
def enable(username: _Username, *, as_json: options.Json = False) -> None:
    """Unlock an account. JSON: the user."""
    _set_active(username, active=True, as_json=as_json)


def _set_active(username: str, *, active: bool, as_json: bool) -> None:
    with services() as lab:
        user = lab.users.find(username, local_user())
        user = lab.users.update(user.id, local_user(), is_active=active)
    state = "enabled" if active else "disabled"
    _report(user, f"{user.username} is {state}.", as_json=as_json)
