"""What our own code costs: a stack whose networks do nothing. `python -m benchmarks empty`

Starts a stack of the default profile with networks that answer at once, the same few cells for every field, and sends
it a generated field of 200 kB (JPEG). In turns with it a chain of bare grpc.aio servers is called, with the same
processes, calls and bytes (benchmarks/speed/bare_hops.py). Our own processor time for a field is that of the gateway,
the detector with its decoders and the classifier, less what the bare chain's three take, and less what decoding the
image takes in one process. Triton and its instances are reported apart; they are not ours, but for the backend.

In full it is measured too with other numbers of cells, and with two and four replicas of everything: what it costs to
have them, on the same cores.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from PIL import Image

from benchmarks import images
from benchmarks.apart import Apart
from benchmarks.call_load import closed_loop, loading
from benchmarks.claims import claim
from benchmarks.machine import commit, facts
from benchmarks.rounds import interleaved, spread
from benchmarks.speed import bare_hops, empty_networks
from benchmarks.speed.bars import in_words
from benchmarks.speed.session import Session, session, write
from hemaserve import synthetic
from hemaserve.imaging import decode

IMAGE_BYTES: Final = 200_000
CELLS: Final = 5
OWN: Final = ("gateway", "detector", "classifier")
BAR_MS: Final = 2.0
AT_ONCE: Final = 2
"""Callers for each replica."""


def field_image() -> images.Images:
    """The field: generated, 800 x 600 px, a JPEG file of 200 kB."""
    drawn = synthetic.generate_field(0, width=800, height=600).image
    file = images.of_size(Image.fromarray(drawn), IMAGE_BYTES)
    with Image.open(io.BytesIO(file)) as opened:
        size = f"{opened.width}x{opened.height}"
    return images.Images((file,), f"generated: {size} px, JPEG of {len(file) / 1000:.0f} kB")


def measure(
    repository: Path, cells: int, *, rounds: int, seconds: float, replicas: int = 1
) -> dict[str, Any]:
    """All of it for fields with so many cells, and a stack of so many replicas."""
    field, at_once = field_image(), AT_ONCE * replicas
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        empty = empty_networks.write(folder, repository, cells=cells)
        ours = held.enter_context(session(field, empty, "--replicas", str(replicas)))
        seen = (sum(map(len, ours.work[0].squares)), len(ours.crops))
        if seen != (1, cells):
            # The bare chain sends one square and so many crops.
            raise SystemExit(f"the empty stack looks at a field in {seen[0]} pieces and sees {seen[1]} cells")
        chain = held.enter_context(bare_hops.hops(cells))
        load = held.enter_context(Apart(loading, ours.plan()))
        bare_load = held.enter_context(Apart(bare_hops.loading, chain.address, field.files[0]))
        ours.watched(load, closed_loop, 2.0, at_once)
        bare_load.do(1.0, AT_ONCE)
        found = interleaved(
            {
                "ours": lambda: _ours(ours, load, seconds, at_once),
                "alone": lambda: _ours(ours, load, seconds / 2, 1),
                "bare": lambda: _bare(chain, bare_load, seconds / 2),
                "decoding": lambda: {"decoding": _decoding_ms(field.files[0])},
            },
            rounds,
        )
    own = [
        _own(one["cpu_ms"]) - sum(bare[name] for name in OWN) - decoding["decoding"]
        for one, bare, decoding in zip(found["ours"], found["bare"], found["decoding"], strict=True)
    ]
    return {
        "image": field.facts(),
        "cells": cells,
        "at_once": at_once,
        "own_ms": spread(own),
        "cpu_ms": _medians([one["cpu_ms"] for one in found["ours"]]),
        "system_ms": _medians([one["system_ms"] for one in found["ours"]]),
        "bare_ms": _medians(found["bare"]),
        "decoding_ms": spread([one["decoding"] for one in found["decoding"]]),
        "fields_per_second": spread([one["per_second"] for one in found["ours"]]),
        "alone_p50_ms": spread([one["p50_ms"] for one in found["alone"]]),
    }


def _ours(ours: Session, load: Apart, seconds: float, at_once: int) -> dict[str, Any]:
    watched = ours.watched(load, closed_loop, seconds, at_once)
    return {
        "cpu_ms": watched.cpu_ms_per_field(),
        "system_ms": watched.system_ms_per_field(),
        "per_second": watched.per_second,
        "p50_ms": 1000 * statistics.median(watched.good_seconds()),
    }


def _own(cpu_ms: dict[str, float]) -> float:
    """Of our services, with the processes that they started."""
    return sum(each for name, each in cpu_ms.items() if any(own in name for own in (*OWN, "decoder")))


def _bare(chain: bare_hops.Hops, load: Apart, seconds: float) -> dict[str, float]:
    before = chain.cpu_s()
    calls, _ = load.do(seconds, AT_ONCE)
    return {name: 1000 * (each - before[name]) / calls for name, each in chain.cpu_s().items()}


def _decoding_ms(file: bytes) -> float:
    times = []
    for _ in range(20):
        before = time.process_time()
        decode(file)
        times.append(time.process_time() - before)
    return 1000 * statistics.median(times)


def _medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one minute, with 5 cells a field only")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="made after this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    asked = parser.parse_args()
    rounds, seconds, others, more = (3, 4.0, (), ()) if asked.quick else (7, 6.0, (1, 20), (2, 4))
    found = measure(asked.repository, CELLS, rounds=rounds, seconds=seconds)
    document = {
        "command": "python -m benchmarks empty" + (" --quick" if asked.quick else ""),
        **facts(),
        "commit": commit(),
        "claims": [
            claim(
                "Our own processor time for a field, beyond bare grpc.aio hops and decoding (200 kB, 5 cells)",
                f"≤ {BAR_MS:g} ms",
                f"{in_words(found['own_ms'])} ms",
                holds=found["own_ms"]["median"] <= BAR_MS,
            )
        ],
        **found,
        "by_cells": {
            str(cells): measure(asked.repository, cells, rounds=3, seconds=seconds) for cells in others
        },
        "by_replicas": {
            str(replicas): measure(asked.repository, CELLS, rounds=3, seconds=seconds, replicas=replicas)
            for replicas in more
        },
    }
    if asked.json:
        write(asked.json, document)
    by_cells = {f"{cells} cells": each for cells, each in document["by_cells"].items()}
    by_replicas = {f"{count} replicas": each for count, each in document["by_replicas"].items()}
    for name, each in {f"{CELLS} cells": found, **by_cells, **by_replicas}.items():
        print(
            f"{name}: {in_words(each['own_ms'])} ms of our own a field, {in_words(each['fields_per_second'])} "
            f"fields a second, {in_words(each['alone_p50_ms'])} ms alone, {in_words(each['decoding_ms'])} ms decoding"
        )
        for process, cpu_ms in each["cpu_ms"].items():
            bare = f", bare {each['bare_ms'][process]:.2f}" if process in each["bare_ms"] else ""
            system = (
                f", of it the kernel {each['system_ms'][process]:.2f}" if process in each["system_ms"] else ""
            )
            print(f"  {process:22} {cpu_ms:6.2f} ms{system}{bare}")


if __name__ == "__main__":
    main()
