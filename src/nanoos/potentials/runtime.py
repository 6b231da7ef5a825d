"""How this process computes: how many threads, and on which device.

One thread unless somebody says otherwise: small crystals do not fill more than one core, and
on shared cores several workers with many threads each are far slower than with one.
"""

import os
import sys

from nanoos.core.errors import InvalidInputError, UnavailableError

_threads = 1
_device = "cpu"


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


def threads() -> int:
    """What :func:`set_threads` said last; 1 at first."""
    return _threads


def apply_threads() -> None:
    """Give torch the number set last; potentials call it when they load."""
    import torch

    if torch.get_num_threads() != _threads:
        torch.set_num_threads(_threads)


def set_device(device: str) -> None:
    """Where potentials that are loaded from now on compute: ``cpu``, ``cuda``, ``cuda:1``."""
    global _device  # noqa: PLW0603  (a property of the process)
    _device = device


def default_device() -> str:
    """What :func:`set_device` said last; ``cpu`` at first."""
    return _device


def torch_device(device: str) -> str:
    """``device``, if this machine has it.

    Raises:
        InvalidInputError: not a device name.
        UnavailableError: CUDA was asked for and is not there.
    """
    import torch

    if device.partition(":")[0] not in {"cpu", "cuda"}:
        raise InvalidInputError(f"There is no device {device!r}.", hint="Use 'cpu' or 'cuda'.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UnavailableError(
            "CUDA was asked for, but torch sees no CUDA device.",
            hint="Set the device to 'cpu', or install a CUDA build of torch.",
        )
    return device
