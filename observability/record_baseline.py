"""Record what is usual, from a Prometheus that has watched it, as deploy/observability/baseline.json.

    python -m observability.record_baseline --prometheus URL --over 14d --of "what was analysed"
    python -m observability.record_baseline --images DIR --of "what is in it"

With images, a stack of this machine analyses each of them once.
Only when stain, scanner and networks are as they should be: drift is measured against it.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hemaserve.client import Client
from observability.baseline import Baseline, Feature
from observability.drift import Drift, Watched
from observability.files import DEPLOY
from observability.prometheus import Prometheus
from observability.specification import load
from observability.trial import trial
from observability.windows import Scale, duration

RESULT: Final = DEPLOY / "baseline.json"


_EVERY_S: Final = 2.0


class NothingSeen(Exception):
    """There are no values of a feature; the message names it."""


def feature(prometheus: Prometheus, watched: Watched, window: str) -> Feature:
    """How often each value of a feature was seen within a window.

    Raises:
        NothingSeen: see there.
    """
    if watched.of is not None:
        every, some = (
            _sum(prometheus, f"sum(increase({selector.select()}[{window}]))")
            for selector in (watched.of, watched.values)
        )
        counts = {"some": some, "rest": every - some}
    elif watched.by is not None:
        found = prometheus.query(f"sum by ({watched.by}) (increase({watched.values.select()}[{window}]))")
        counts = {labels[watched.by]: value for labels, value in found}
    else:
        found = prometheus.query(f"sum by (le) (increase({watched.values.select('_bucket')}[{window}]))")
        below = sorted(((labels["le"], value) for labels, value in found), key=lambda one: float(one[0]))
        counts = {
            le: value - before
            for (le, value), before in zip(below, [0.0, *(v for _, v in below)], strict=False)
        }
    rounded = {name: round(max(count, 0.0), 1) for name, count in counts.items()}
    if not sum(rounded.values()):
        raise NothingSeen(f"{watched.feature}: nothing of {watched.values.select()} in {window}")
    return Feature(counts=rounded)


def baseline(prometheus: Prometheus, drift: Drift, *, window: str, of: str, command: str) -> Baseline:
    """All features.

    Raises:
        NothingSeen: see there.
    """
    models = {
        labels["model"]: f"{labels['version']} {labels['digest']}"
        for labels, _ in prometheus.query("group by (model, version, digest) (hemaserve_model_info)")
    }
    return Baseline(
        command=command,
        date=datetime.now(UTC).date().isoformat(),
        of=of,
        models=dict(sorted(models.items())),
        features={one.feature: feature(prometheus, one, window) for one in drift.features},
    )


def write(path: Path, recorded: Baseline) -> None:
    """Write a baseline."""
    path.write_text(json.dumps(recorded.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")


def _sum(prometheus: Prometheus, expression: str) -> float:
    values = [value for _, value in prometheus.query(expression) if not math.isnan(value)]
    return sum(values)


def of_images(folder: Path, images: Sequence[Path], *, of: str, command: str) -> Baseline:
    """What a fresh stack says of images.

    Raises:
        NothingSeen: see there.
    """
    with trial(folder, Scale(), every_s=_EVERY_S) as running:
        time.sleep(2 * _EVERY_S)
        asyncio.run(_analyze(running.address, images))
        time.sleep(2 * _EVERY_S)
        window = duration(round(time.time() - running.began))
        return baseline(running.prometheus, drift_told(), window=window, of=of, command=command)


async def _analyze(address: str, images: Sequence[Path]) -> None:
    left = iter(images)

    async def take(client: Client) -> None:
        for path in left:
            await client.analyze_field(path)

    async with Client(address, timeout_s=60.0) as client:
        await asyncio.gather(*(take(client) for _ in range(3)))


def drift_told(folder: Path = DEPLOY) -> Drift:
    """What is watched."""
    return load(folder / "slos" / "drift.yaml", Drift)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m observability.record_baseline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prometheus", metavar="URL")
    source.add_argument("--images", type=Path, metavar="DIR", help="JPEG fields")
    parser.add_argument("--over", default="14d", metavar="WINDOW", help="back from now; with --prometheus")
    parser.add_argument(
        "--of", required=True, metavar="TEXT", help="what was analysed, for those who read it"
    )
    parser.add_argument("--json", type=Path, default=RESULT, metavar="FILE")
    arguments = parser.parse_args()
    command = "python -m observability.record_baseline"
    try:
        if arguments.images is not None:
            images = sorted(arguments.images.glob("*.jpg"))
            command += f" --images {'/'.join(arguments.images.parts[-3:])}"
            with tempfile.TemporaryDirectory() as folder:
                recorded = of_images(Path(folder), images, of=arguments.of, command=command)
        else:
            recorded = baseline(
                Prometheus(arguments.prometheus.rstrip("/")),
                drift_told(),
                window=arguments.over,
                of=arguments.of,
                command=f"{command} --over {arguments.over}",
            )
    except NothingSeen as failure:
        raise SystemExit(str(failure)) from None
    write(arguments.json, recorded)
    sys.stdout.write(f"{arguments.json}\n")


if __name__ == "__main__":
    main()
