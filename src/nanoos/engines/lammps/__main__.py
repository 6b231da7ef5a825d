"""Repeat a run by hand: ``python -m nanoos.engines.lammps INPUT_DIR OUTPUT_DIR``."""

import sys

from nanoos.engines.by_hand import run_by_hand
from nanoos.engines.lammps.engine import LammpsEngine

if __name__ == "__main__":
    sys.exit(run_by_hand(LammpsEngine(), "nanoos.engines.lammps"))
