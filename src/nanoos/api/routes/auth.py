"""Logging in and out, one's own account and API keys."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request

from nanoos.api.context import Context, Lab
from nanoos.api.errors import answers
from nanoos.api.schemas.accounts import (
    ApiKeyBody,
    ApiKeyList,
    LoginForm,
    MeAnswer,
    NewApiKeyAnswer,
    PasswordBody,
    RefreshBody,
    TokenAnswer,
)
from nanoos.api.security import Reader, Writer, credential_of
from nanoos.services.api_keys import KEY_PREFIX

router = APIRouter(prefix="/auth", tags=["auth"], responses=answers(401, 422, 500, 503))


@router.post("/login", response_model=TokenAnswer, responses=answers(413, 429))
def login(form: Annotated[LoginForm, Form()], request: Request, context: Context) -> Any:
    """Begin a session with user name and password."""
    address = request.client.host if request.client else "unknown"
    context.login_limiter.check(address, form.username)
    return context.services.users.sessions.login(form.username, form.password)


@router.post("/refresh", response_model=TokenAnswer, responses=answers(413))
def refresh(body: RefreshBody, lab: Lab) -> Any:
    """Trade a refresh token for a new pair; one that was used before ends the session."""
    return lab.users.sessions.refresh(body.refresh_token)


@router.post("/logout", status_code=204, responses=answers(403))
def logout(request: Request, lab: Lab, who: Reader) -> None:
    """End the session of the access token; an API key is revoked, not logged out."""
    del who
    credential = credential_of(request.headers) or ""
    if not credential.startswith(KEY_PREFIX):
        lab.users.sessions.logout(credential)


@router.get("/me", response_model=MeAnswer, responses=answers(403, 404))
def me(lab: Lab, who: Reader) -> Any:
    """One's own account."""
    record = lab.users.get(who.user_id, who)
    fields = {name: getattr(record, name) for name in record.__slots__}
    return {**fields, "scopes": sorted(who.scopes)}


@router.post("/password", status_code=204, responses=answers(403, 413, 429))
def change_password(body: PasswordBody, request: Request, context: Context, who: Writer) -> None:
    """Change one's own password; ends all sessions of the account."""
    address = request.client.host if request.client else "unknown"
    context.login_limiter.check(address, who.username)
    context.services.users.change_password(
        who, current=body.current_password, new=body.new_password
    )


@router.post(
    "/api-keys", status_code=201, response_model=NewApiKeyAnswer, responses=answers(403, 413)
)
def create_api_key(body: ApiKeyBody, lab: Lab, who: Writer) -> Any:
    """Make an API key; the key is shown this once."""
    record, key = lab.users.api_keys.create(
        body.name, who, scopes=body.scopes, expires_at=body.expires_at
    )
    return {**{name: getattr(record, name) for name in record.__slots__}, "key": key}


@router.get("/api-keys", response_model=ApiKeyList, responses=answers(403))
def list_api_keys(lab: Lab, who: Reader) -> Any:
    """One's own API keys."""
    return {"items": lab.users.api_keys.list(who)}


@router.delete("/api-keys/{key_id}", status_code=204, responses=answers(403, 404))
def revoke_api_key(key_id: uuid.UUID, lab: Lab, who: Writer) -> None:
    """Revoke an API key; within 2 s no process accepts it."""
    lab.users.api_keys.revoke(key_id, who)
