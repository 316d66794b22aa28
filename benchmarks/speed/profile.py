"""Where each service spends its time under load, as py-spy sees it. `python -m benchmarks profile`

Starts a stack of the default profile, saturates its gateway, and takes samples of the stacks of one service after the
other. Prints for each the functions with most samples on top of the stack, and those in whose calls most were taken;
--folder keeps the raw samples, which speedscope.app and flamegraph.pl read.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import images
from benchmarks.apart import Apart
from benchmarks.call_load import Plan, closed_loop, loading, run
from benchmarks.footprint import stack
from benchmarks.peers.callers import GATEWAY, Target
from benchmarks.speed import empty_networks
from benchmarks.speed.empty import CELLS, field_image

PARTS: Final = ("gateway", "detector", "classifier")
RATE: Final = 200
WAITING: Final = ("EpollSelector.select", "_PollLikeSelector.select", "Thread.run", "_worker (")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of samples, for each service")
    parser.add_argument("--at-once", type=int, default=6, help="calls under way")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="Triton's models")
    parser.add_argument(
        "--empty", action="store_true", help="networks that do nothing, and one image of 200 kB; see `empty`"
    )
    parser.add_argument("--most", type=int, default=25, help="lines for each service")
    parser.add_argument("--folder", type=Path, help="keep raw samples here")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        fields, repository = images.fields(12), asked.repository
        if asked.empty:
            fields = field_image()
            repository = empty_networks.write(Path(temporary) / "empty", repository, cells=CELLS)
        with stack(Path(temporary), "default", "--model-repository", str(repository)) as state:
            plan = Plan(Target(GATEWAY, state["address"]), fields.files)
            with Apart(loading, plan) as process:
                run(process, closed_loop, 3.0, asked.at_once)
                loaded = threading.Thread(
                    target=run, args=(process, closed_loop, 1 + asked.seconds * len(PARTS), asked.at_once)
                )
                loaded.start()
                for part in PARTS:
                    _record(state["services"][part]["pid"], folder / f"{part}.txt", asked.seconds)
                loaded.join()
        for part in PARTS:
            print(f"\n{part}")
            for line in told((folder / f"{part}.txt").read_text().splitlines(), asked.most):
                print(line)


def _record(pid: int, file: Path, seconds: float) -> None:
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise SystemExit("py-spy is not installed: pip install py-spy")
    subprocess.run(
        [
            *(program, "record", "--pid", str(pid), "--duration", str(int(seconds))),
            *("--rate", str(RATE), "--format", "raw", "--output", str(file)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def told(samples: Sequence[str], most: int) -> list[str]:
    """Of raw samples (`frame;frame;... count`), the most frequent functions: at the top, and anywhere.

    Those of threads that wait are left out.
    """
    top: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in samples:
        stack_of_frames, _, count = line.rpartition(" ")
        frames = stack_of_frames.split(";")
        if frames[-1].startswith(WAITING):
            continue
        top[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    whole = sum(top.values())
    columns: list[list[Any]] = [top.most_common(most), within.most_common(most)]
    rows = zip(*columns, strict=True)
    return [
        f"{100 * a / whole:5.1f}% {one[:60]:60}   {100 * b / whole:5.1f}% {other[:60]}"
        for (one, a), (other, b) in rows
    ]


if __name__ == "__main__":
    main()
