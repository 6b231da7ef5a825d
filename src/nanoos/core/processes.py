"""Child processes that die with their parent, and telling processes apart.

A process id alone is not an identity: it is reused. Id and start time together are, within one
boot and one process-id namespace, which :func:`host_identity` names.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import psutil

_ON_LINUX: bool = sys.platform.startswith("linux")
_PR_SET_PDEATHSIG = 1
_SAME_START_S = 0.05
"""Start times of one process, read twice, agree to a clock tick (0.01 s)."""


def die_with_parent(expected_parent: int) -> None:
    """Ask the kernel to kill this process when the thread that created it ends.

    Set first thing in a child. The parent may have died before: then leave at once.

    Args:
        expected_parent: Process id of the parent as the parent knew it.
    """
    if _ON_LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != expected_parent:
        os._exit(1)


def start_bound(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    user: str | None = None,
    own_group: bool = False,
) -> subprocess.Popen[bytes]:
    """Start an external program that dies with this process, in this process's group.

    The program is started through a small Python launcher that sets the death signal and then
    becomes the program: setting it between fork and exec would run Python in a forked child of
    a threaded process. Call from a thread that lives as long as the program should.

    Args:
        command: Program and arguments.
        cwd: Its working folder.
        env: Its environment; None: this process's.
        stdin: As for :class:`subprocess.Popen`; nothing by default.
        stdout: As for :class:`subprocess.Popen`.
        stderr: As for :class:`subprocess.Popen`.
        death_signal: What it gets when the creating thread ends.
        user: Account to run it as, where this process is root's; a change of user would clear
            a death signal that was set before.
        own_group: Make it the leader of a process group of its own, so that Ctrl-C at the
            terminal does not reach it and it can be ended with all that it starts.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER]
    arguments = [str(os.getpid()), str(int(death_signal)), user or ""]
    return subprocess.Popen(
        [*launcher, *arguments, *command],
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        process_group=0 if own_group else None,
    )


_LAUNCHER = f"""
import ctypes, os, sys
parent, death_signal, user = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if user:
    import pwd
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, death_signal)
if os.getppid() != parent:
    os._exit(1)
try:
    os.execvp(sys.argv[4], sys.argv[4:])
except OSError as error:
    sys.exit(f"{{sys.argv[4]}}: {{error.strerror}}")
"""


@cache
def host_identity() -> str:
    """Host name, boot and process-id namespace: where a process id means something."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):
        parts.append(Path("/proc/self/ns/pid").readlink().name.strip("pid:[]"))
    return "/".join(parts)


def start_time(pid: int) -> float | None:
    """When the process started, s; None if there is none. Only good for telling processes apart.

    On Linux counted from boot: times since the epoch are made from the kernel's idea of when it
    booted, which moves by a second and more when the clock is set.
    """
    if _ON_LINUX:
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(stat.rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def _same_start(now: float, then: float) -> bool:
    return abs(now - then) <= _SAME_START_S


def is_alive(pid: int, started: float) -> bool:
    """Whether the process with this id and start time still runs; a zombie does not."""
    now = start_time(pid)
    if now is None or not _same_start(now, started):
        return False
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def kill_group(process_group: int, leader_started: float | None) -> None:
    """End a process group for good.

    Args:
        process_group: Its id, which is the process id of its leader.
        leader_started: Start time of the leader. If a process of that id runs now that started
            at another time, the id was reused and nothing is done.
    """
    now = start_time(process_group)
    if now is not None and leader_started is not None and not _same_start(now, leader_started):
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process_group, signal.SIGKILL)
