"""The engines there are."""

from typing import Any

from nanoos.core.registry import Registry
from nanoos.engines.base import Engine

ENGINES: Registry[type[Engine[Any]]] = Registry(
    "nanoos.engines",
    {
        "LAMMPS": "nanoos.engines.lammps.engine:LammpsEngine",
        "LJ": "nanoos.engines.mlip.engine:LennardJonesEngine",
        "MLIP": "nanoos.engines.mlip.engine:MLIPEngine",
        "QE": "nanoos.engines.espresso.engine:EspressoEngine",
        "VASP": "nanoos.engines.vasp.engine:VaspEngine",
    },
    extra="ml",
    aliases={"LAMMPS_MD": "LAMMPS"},
)
"""Name to class. ``LJ`` is the reference member for tests and is never a default."""


def get_engine(name: str) -> type[Engine[Any]]:
    """The engine class called ``name``, in any case; call it to get an engine.

    Raises:
        NotFoundError: no such engine; the hint gives the nearest name.
        UnavailableError: a package it needs is not installed.
    """
    return ENGINES.get(name)
