"""A decoder that does what its files say: the real one, but for files that hold a word for it behind the image."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

sys.path.append(sys.argv[4])

from services.runtime import decoder_process

decoded = decoder_process._decoded


def told(data, limits, pixels):
    if data.endswith(b"crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if data.endswith(b"killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if data.endswith(b"once"):
        flag = data.split(b"flag:")[1].removesuffix(b"once").decode()
        if not Path(flag).exists():
            Path(flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if data.endswith(b"spin"):
        while True:
            pass
    if data.endswith(b"sleep"):
        time.sleep(3600)
    if data.endswith(b"raise"):
        raise RuntimeError("a defect of ours")
    if data.endswith(b"hungry"):
        decoder_process._FREE_BYTES, decoder_process._BYTES_A_PIXEL = 2**20, 0
    return decoded(data, limits, pixels)


decoder_process._decoded = told
decoder_process.main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
