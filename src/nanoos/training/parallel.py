"""One network trained by several processes of this machine.

``python -m nanoos.training.parallel FOLDER RANK`` is one of them. They meet through a file in
the folder and talk over the loopback interface.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

from nanoos.core import errors
from nanoos.core.errors import NanoosError, TrainingError, TransientError
from nanoos.core.processes import die_with_parent, start_bound
from nanoos.training.config import TrainingConfig
from nanoos.training.data import Progress, TrainingSet

_POLL_S: Final = 0.1
_LAST_WORDS_S: Final = 2.0
_LOOPBACK: Final = "127.0.0.1"


def fit_in_processes(
    data: TrainingSet,
    config: TrainingConfig,
    folder: Path,
    *,
    first_weights: Mapping[str, Any],
    parameters: Mapping[str, Any],
    units: Mapping[str, str],
    report: Progress,
    run_key: str,
) -> None:
    """As :func:`nanoos.training.loop.fit`, by ``config.n_processes`` processes.

    Args:
        data: Written to the folder; the processes map it into memory.
        config: How.
        folder: Of this run.
        first_weights: Of the network, by name.
        parameters: Its hyper-parameters.
        units: Of the targets.
        report: Told the progress; if it raises, the processes are ended.
        run_key: Names the run in its checkpoint.
    """
    from safetensors.torch import save_file

    shared = folder / "shared"
    shutil.rmtree(shared, ignore_errors=True)  # of an attempt that was killed
    shared.mkdir()
    data.save(shared)
    save_file({name: value.contiguous() for name, value in first_weights.items()}, shared / "first")
    document = {
        "config": config.document(),
        "parameters": dict(parameters),
        "units": dict(units),
        "run_key": run_key,
    }
    (shared / "run.json").write_text(json.dumps(document))
    processes = [
        start_bound(
            [sys.executable, "-m", "nanoos.training.parallel", str(folder), str(rank)],
            env=_environment(rank),
        )
        for rank in range(config.n_processes)
    ]
    try:
        _follow(processes, shared, report)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(shared, ignore_errors=True)


def _environment(rank: int) -> dict[str, str]:
    """Tells Lightning that the processes are there already, and gloo where to listen."""
    interface = next(
        (
            name
            for name, addresses in psutil.net_if_addrs().items()
            if any(address.address == _LOOPBACK for address in addresses)
        ),
        "lo",
    )
    return {
        **os.environ,
        "LOCAL_RANK": str(rank),
        "GLOO_SOCKET_IFNAME": interface,
        "MASTER_ADDR": _LOOPBACK,
        "MASTER_PORT": "0",
    }


def _follow(processes: Sequence[subprocess.Popen[bytes]], shared: Path, report: Progress) -> None:
    told = b""
    while True:
        codes = [process.poll() for process in processes]
        with suppress(OSError, ValueError):
            words = (shared / "progress.json").read_bytes()
            if words != told:
                told = words
                fraction, message = json.loads(words)
                report(fraction, message)
        if any(codes):
            raise _reason(processes, shared)
        if all(code == 0 for code in codes):
            return
        time.sleep(_POLL_S)


def _reason(processes: Sequence[subprocess.Popen[bytes]], shared: Path) -> NanoosError:
    """The error of the process that failed; one that lost its partner says less than it."""
    deadline = time.monotonic() + _LAST_WORDS_S
    while time.monotonic() < deadline:
        for path in sorted(shared.glob("error_*.json")):
            with suppress(OSError, ValueError):
                words = json.loads(path.read_text())
                kind = getattr(errors, words.pop("type"), TrainingError)
                return _rebuilt(kind, words)
        time.sleep(_POLL_S)
    code = next(code for process in processes if (code := process.poll()))
    killed = code < 0
    kind = TransientError if killed else TrainingError
    return kind(
        f"A training process ended with {'signal' if killed else 'code'} {abs(code)}.",
        hint="See the log; a process killed by signal 9 often means too little memory.",
        code="process_lost",
    )


def _rebuilt(kind: type[NanoosError], words: Mapping[str, Any]) -> NanoosError:
    return kind(words["message"], hint=words["hint"], details=words["details"], code=words["code"])


def main(arguments: Sequence[str]) -> int:
    """Train as one of several processes."""
    folder, rank, parent = Path(arguments[0]), int(arguments[1]), os.getppid()
    die_with_parent(parent)
    import torch
    from safetensors.torch import load_file

    from nanoos.training.loop import fit
    from nanoos.training.network import new_network, parameters_from

    shared = folder / "shared"
    document = json.loads((shared / "run.json").read_text())
    config = TrainingConfig.model_validate(document["config"])
    data = TrainingSet.load(shared)
    parameters = parameters_from(config.model, document["parameters"])
    network = new_network(parameters, data.names, seed=config.seed)
    network.load_state_dict(load_file(shared / "first"))
    on_gpu = (config.device or "cpu").startswith("cuda")
    try:
        torch.distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            init_method=f"file://{shared / 'meeting'}",
            rank=rank,
            world_size=config.n_processes,
        )
        fit(
            network,
            data,
            config,
            folder,
            units=document["units"],
            report=lambda fraction, message: _tell(shared, fraction, message),
            run_key=document["run_key"],
            rank=rank,
        )
        torch.distributed.destroy_process_group()
    except NanoosError as error:
        words = {"type": type(error).__name__, **error.as_dict()}
        (shared / f"error_{rank}.json").write_text(json.dumps(words))
        return 1
    return 0


def _tell(shared: Path, fraction: float, message: str) -> None:
    partial = shared / "progress.part"
    partial.write_text(json.dumps([fraction, message]))
    partial.replace(shared / "progress.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
