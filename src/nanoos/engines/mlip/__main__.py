"""Repeat a run by hand: ``python -m nanoos.engines.mlip INPUT_DIR OUTPUT_DIR``."""

import sys

from nanoos.engines.by_hand import run_by_hand
from nanoos.engines.mlip.engine import MLIPEngine

if __name__ == "__main__":
    sys.exit(run_by_hand(MLIPEngine(), "nanoos.engines.mlip"))
