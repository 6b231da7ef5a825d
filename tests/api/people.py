"""Users of the API under test, and what they upload."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi.testclient import TestClient

from nanoos.services.access import Principal

ROCKSALT = """{name}
1.0
0 {half} {half}
{half} 0 {half}
{half} {half} 0
{first} {second}
1 1
Direct
0 0 0
0.5 0.5 0.5
"""


@dataclass(frozen=True)
class Person:
    """A user and a client that carries an API key of theirs."""

    who: Principal
    client: TestClient
    key: str


MakePerson = Callable[..., Person]


def poscar(first: str = "Na", second: str = "Cl", half: float = 2.82) -> str:
    """A rocksalt crystal as a file."""
    return ROCKSALT.format(name=first + second, first=first, second=second, half=half)


def add_structure(person: Person, *elements: str) -> str:
    """Upload a structure; its id."""
    answer = person.client.post("/api/v1/structures", files={"file": ("POSCAR", poscar(*elements))})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
