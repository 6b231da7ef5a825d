"""How many threads torch may use: one, unless somebody says otherwise.

Small crystals do not fill more than one core, and on shared cores several workers with many
threads each are far slower than with one.
"""

import os
import sys

_threads = 1


def set_threads(n: int = 1) -> None:
    """Let every potential and model of this process use ``n`` threads.

    Call it at any time; a worker calls it first thing in a job's child process. It also sets
    ``OMP_NUM_THREADS``, which only libraries that are not loaded yet will read.
    """
    global _threads  # noqa: PLW0603  (a property of the process)
    _threads = max(1, n)
    os.environ["OMP_NUM_THREADS"] = str(_threads)
    if "torch" in sys.modules:
        apply_threads()


def apply_threads() -> None:
    """Give torch the number set last; potentials call it when they load."""
    import torch

    if torch.get_num_threads() != _threads:
        torch.set_num_threads(_threads)
