"""Runs a command so that nothing of it outlives the process that asked for it.

``python -I -S guard.py SHM_PREFIX GRACE_S COMMAND...`` starts COMMAND in a process group of its own and stops it when
standard input ends, when the process that started the guard is gone, or on SIGTERM: first with SIGTERM, then, after
GRACE_S seconds or soon after one more SIGTERM, with SIGKILL. From SIGUSR1 on it also stops COMMAND when one of
COMMAND's children is dead, since whenever, and COMMAND does not care: Triton asks after the stubs that it ends itself,
but neither restarts one that died nor stops giving it requests. On SIGUSR2 it kills COMMAND at once: it is stuck.
However COMMAND ends, what it left running is killed (the guard is the reaper of orphans) and what it left in shared
memory is removed. Exits with COMMAND's status (128 + n for signal n).

A process of its own, because nothing inside a process can act when that process is killed with SIGKILL. Only the
standard library, and little of it: it stays in memory as long as Triton runs. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)
CHECK_S = 1.0
"""How often to look whether the parent still lives where its pipe does not tell (a fork of it may hold the pipe), and
for dead children of the command."""
FLUSH_S = 0.25
"""What a command that has finished its work gets to send the last answers, when it is to end without delay."""


def main(shm_prefix: str, grace_s: float, command: list[str]) -> int:
    """Runs ``command`` to its end; returns its exit status."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in HANDLED:
        signal.signal(number, lambda *_: None)
    _remove_shared_memory(shm_prefix)

    guard = os.getpid()
    # Until the child has its own dispositions no signal may reach it: it would be taken, and lost, in our way.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    child = os.fork()
    if child == 0:
        _become(command, guard, libc)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    status = _watch(child, parent, grace_s, wake_read)
    _kill_group(child)
    _kill_orphans()
    _remove_shared_memory(shm_prefix)
    return status


def _become(command: list[str], guard: int, libc: ctypes.CDLL) -> None:
    try:
        os.setpgid(0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:  # the guard died before the line above
            os._exit(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _watch(child: int, parent: int, grace_s: float, wake_read: int) -> int:
    """Waits for the child to end, and makes it end when it should; returns its exit status."""
    watched = [0, wake_read]
    kill_at = None
    watching = False
    suspects: set[int] = set()
    while True:
        timeout = CHECK_S if kill_at is None else max(0.0, min(CHECK_S, kill_at - time.monotonic()))
        ready, _, _ = select.select(watched, [], [], timeout)
        signals = set(os.read(wake_read, 64)) if wake_read in ready else set()
        stop = os.getppid() != parent or signal.SIGINT in signals
        if signal.SIGTERM in signals:
            if kill_at is not None:
                kill_at = min(kill_at, time.monotonic() + FLUSH_S)
            stop = True
        if 0 in ready and not os.read(0, 64):
            watched.remove(0)
            stop = True
        pid, wait_status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(wait_status)
            return code if code >= 0 else 128 - code
        if signal.SIGUSR1 in signals:
            watching = True
        elif watching and kill_at is None and not ready:
            # Dead at two looks in a row: the child had time to take note, as it does of those that it ends itself.
            dead = _dead_children(child)
            if dead & suspects:
                os.write(2, b"guard: a stub died; Triton is stopped\n")
                stop = True
            suspects = dead
        if stop and kill_at is None:
            kill_at = time.monotonic() + grace_s
            os.kill(child, signal.SIGTERM)
        if signal.SIGUSR2 in signals or (kill_at is not None and time.monotonic() >= kill_at):
            _kill_group(child)


def _children(parent: int) -> dict[int, str]:
    """States (``Z`` for zombies) of a process's children by process id."""
    states = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (program) state parent ...; the program's name may itself contain anything
            state, stat_parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if int(stat_parent) == parent:
                states[int(stat.parent.name)] = state
    return states


def _dead_children(parent: int) -> set[int]:
    """The parent's zombies: children that ended and that it did not ask after."""
    return {pid for pid, state in _children(parent).items() if state == "Z"}


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _kill_orphans() -> None:
    """Kills and waits for whatever else came down to the guard, the orphans of orphans included."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in _children(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def _remove_shared_memory(prefix: str) -> None:
    for path in Path("/dev/shm").glob(f"{prefix}*"):  # noqa: S108 - where Linux has it
        with contextlib.suppress(OSError):
            path.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
