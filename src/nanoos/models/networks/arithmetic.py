"""The floating-point mode in which networks run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

_DENORMAL: Final = 1e-40  # in float32


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Treat denormal numbers as zero in this thread for as long as the context lasts.

    Gaussians of distances underflow into them, and arithmetic with them is tens of times slower
    on a CPU. The mode belongs to the thread, not to PyTorch, so it is put back: the numbers of
    whoever called keep their precision.
    """
    already = float(torch.tensor(_DENORMAL) * 1.0) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if not already:
            torch.set_flush_denormal(False)
