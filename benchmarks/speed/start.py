"""From `hemaserve up` to the first answer, and what loading takes. `python -m benchmarks start`

Starts stacks of the default profile one after the other; a client that was ready before each of them asks for a field
the moment that all is. In the last one each network of the repository is taken out of Triton and loaded again, alone:
how long that takes, and what its processes take.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import images
from benchmarks.apart import Apart
from benchmarks.footprint import stack
from benchmarks.machine import commit, facts
from benchmarks.rounds import spread
from benchmarks.speed.networks import with_a_file
from benchmarks.speed.session import write

LOAD_TIMEOUT_S: Final = 240.0
MB: Final = 1e6


def measure(repository: Path, *, starts: int) -> dict[str, Any]:
    """So many starts, and the networks in the last of them."""
    field = images.fields(2)
    ready, first = [], []
    with ExitStack() as held:
        client = held.enter_context(Apart(asking, field.files[0]))
        for number in range(starts):
            with (
                tempfile.TemporaryDirectory() as folder,
                stack(Path(folder), "default", "--model-repository", str(repository)) as state,
            ):
                answered_s, _ = client.do(state["address"])
                ready.append(state["total_s"])
                first.append(state["total_s"] + answered_s)
                if number == starts - 1:
                    parts = {name: service["ready_s"] for name, service in state["services"].items()}
                    address, keeper = (state["services"]["triton"][key] for key in ("address", "pid"))
                    loading = _loading(address, keeper, with_a_file(repository))
    return {
        "image": field.facts(),
        "stack_ready_s": spread(ready),
        "first_answer_s": spread(first),
        "ready_s": {name: round(seconds, 2) for name, seconds in parts.items() if seconds is not None},
        "loading": loading,
    }


def asking(image: bytes) -> Callable[[str], float]:
    """Prepare a process to ask for a field; asked where, it tells how long the answer took."""
    from hemaserve.client import SyncClient  # noqa: PLC0415 - in the client's process

    def act(address: str) -> float:
        began = time.monotonic()
        with SyncClient(address) as client:
            client.analyze_field(image)
        return time.monotonic() - began

    return act


def _loading(address: str, keeper: int, names: Sequence[str]) -> dict[str, dict[str, float]]:
    from tritonclient.grpc import InferenceServerClient  # noqa: PLC0415 - not before stacks were started

    found = {}
    with InferenceServerClient(address) as client:
        for name in names:
            # An ensemble that it is a member of goes without it from here on.
            client.unload_model(name, client_timeout=LOAD_TIMEOUT_S)
            while client.is_model_ready(name):
                time.sleep(0.05)
            before = {process.pid for process in _instances(keeper)}
            began = time.monotonic()
            client.load_model(name, client_timeout=LOAD_TIMEOUT_S)
            seconds = time.monotonic() - began
            # Those of others may still be on their way out; new ones are its own.
            own = [
                process.memory_full_info().pss for process in _instances(keeper) if process.pid not in before
            ]
            found[name] = {"seconds": round(seconds, 2), "mb": round(sum(own) / MB, 1), "instances": len(own)}
            client.unload_model(name, client_timeout=LOAD_TIMEOUT_S)
    return found


def _instances(keeper: int) -> list[psutil.Process]:
    """The processes that run a network each."""
    found = []
    for process in psutil.Process(keeper).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            # One that has just ended has no command line left.
            if any("python_backend_stub" in word for word in process.cmdline()[:1]):
                found.append(process)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=3, help="how many stacks are started")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="Triton's models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    asked = parser.parse_args(arguments)
    document = {
        "command": f"python -m benchmarks start --starts {asked.starts}",
        **facts(),
        "commit": commit(),
        "claims": [],
        **measure(asked.repository, starts=asked.starts),
    }
    if asked.json:
        write(asked.json, document)
    print(
        f"ready after {document['stack_ready_s']['median']} s, first answer {document['first_answer_s']['median']} s"
    )
    for name, each in document["loading"].items():
        print(f"  {name:16} {each['seconds']:6.2f} s {each['mb']:7.1f} MB")


if __name__ == "__main__":
    main()
