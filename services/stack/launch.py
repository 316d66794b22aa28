"""Becomes another program that ends when its parent does.

`python -I -S launch.py PARENT_PID COMMAND...`. A step between, because the request to be told of the parent's death
must be made by the child itself, and running Python between fork and exec of a process with threads is not safe.
Only the standard library. Where the system has no such request (not Linux), COMMAND just runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the line above
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
