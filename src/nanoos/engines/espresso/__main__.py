"""Repeat a run by hand: ``python -m nanoos.engines.espresso INPUT_DIR OUTPUT_DIR``."""

import sys

from nanoos.engines.by_hand import run_by_hand
from nanoos.engines.espresso.engine import EspressoEngine

if __name__ == "__main__":
    sys.exit(run_by_hand(EspressoEngine(), "nanoos.engines.espresso"))
