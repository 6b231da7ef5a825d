"""Accounts, for administrators."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query

from nanoos.api.context import Lab
from nanoos.api.errors import answers
from nanoos.api.schemas.accounts import UserAnswer, UserBody, UserChange
from nanoos.api.schemas.common import PageAnswer, PageQuery
from nanoos.api.security import Admin

router = APIRouter(prefix="/users", tags=["users"], responses=answers(401, 403, 422, 500, 503))


@router.get("", response_model=PageAnswer[UserAnswer])
def list_users(query: Annotated[PageQuery, Query()], lab: Lab, who: Admin) -> Any:
    """All accounts, newest first."""
    return lab.users.page(who, cursor=query.cursor, limit=query.limit)


@router.post("", status_code=201, response_model=UserAnswer, responses=answers(409, 413))
def create_user(body: UserBody, lab: Lab, who: Admin) -> Any:
    """Make an account."""
    return lab.users.create(body.username, body.password, who, role=body.role, email=body.email)


@router.patch("/{user_id}", response_model=UserAnswer, responses=answers(404, 409, 413))
def change_user(user_id: uuid.UUID, body: UserChange, lab: Lab, who: Admin) -> Any:
    """Change an account; a new password, role or state ends its sessions."""
    return lab.users.update(user_id, who, **body.changes())


@router.delete("/{user_id}", status_code=204, responses=answers(404, 409))
def delete_user(user_id: uuid.UUID, lab: Lab, who: Admin) -> None:
    """Delete an account and everything it owns."""
    lab.users.delete(user_id, who)
