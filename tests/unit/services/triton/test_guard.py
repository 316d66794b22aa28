"""The guard, with shells in Triton's place."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from services.triton import guard

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guard is for Linux")


def guarded(script: str, *, grace_s: float = 60.0, prefix: str = "hemaserve-none") -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", guard.__file__, prefix, str(grace_s), "/bin/sh", "-c", script]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}/stat").exists()


def test_the_commands_status_is_the_guards() -> None:
    with guarded("exit 7") as process:
        assert process.wait() == 7
    with guarded("kill -9 $$") as process:
        assert process.wait() == 128 + signal.SIGKILL


def test_the_end_of_input_stops_the_command_in_order() -> None:
    with guarded("trap 'echo stopping; exit 3' TERM; echo up; while :; do sleep 0.05; done") as process:
        assert process.stdout.readline() == "up\n"
        process.stdin.close()
        assert process.stdout.readline() == "stopping\n"
        assert process.wait() == 3


def test_a_stubborn_command_is_killed_after_its_grace() -> None:
    with guarded("trap '' TERM; echo up; while :; do sleep 0.05; done", grace_s=0.2) as process:
        assert process.stdout.readline() == "up\n"
        process.stdin.close()
        assert process.wait() == 128 + signal.SIGKILL


def test_a_second_order_to_stop_cuts_the_grace_short() -> None:
    with guarded("trap 'echo stopping' TERM; echo up; while :; do sleep 0.05; done") as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGKILL


def test_what_the_command_leaves_behind_is_killed() -> None:
    # The second one has left the command's session and process group.
    with guarded("sleep 1000 & echo $!; setsid sh -c 'echo $$; exec sleep 1000' & wait") as process:
        orphans = [int(process.stdout.readline()) for _ in range(2)]
        process.stdin.close()
        assert process.wait() == 128 + signal.SIGTERM
        assert all(map(gone, orphans))


def test_a_child_of_the_command_that_died_before_the_watch_began_is_found() -> None:
    # It ends when its parent has become a sleep, which never asks after it; a shell might.
    child = "sh -c 'until grep -q sleep /proc/$PPID/comm; do :; done'"
    with guarded(f"{child} & echo $!; exec sleep 1000") as process:
        dead = Path(f"/proc/{int(process.stdout.readline())}/stat")
        while ") Z " not in dead.read_text():
            pass
        process.send_signal(signal.SIGUSR1)
        assert process.wait() == 128 + signal.SIGTERM


def test_shared_memory_of_the_prefix_is_removed_and_no_other() -> None:
    prefix = f"hemaserve-test-{uuid.uuid4().hex}"
    mine, other = Path("/dev/shm") / f"{prefix}-region", Path("/dev/shm") / f"x{prefix}"
    try:
        other.touch()
        with guarded(f"touch {mine}; test -e {mine}", prefix=prefix) as process:
            assert process.wait() == 0
        assert not mine.exists()
        assert other.exists()
    finally:
        other.unlink()


def test_a_command_that_is_not_there_is_said_to_be_so() -> None:
    command = [sys.executable, "-I", "-S", guard.__file__, "hemaserve-none", "1", "/no/such/program"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.read() == "cannot start /no/such/program: [Errno 2] No such file or directory\n"
        assert process.wait() == 127
