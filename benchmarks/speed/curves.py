"""How latency and throughput go with load, callers, cells and sizes. `python -m benchmarks curves`

Starts a stack of the default profile, and calls its gateway:

* at random moments, at rising shares of its peak, latency counted from when each call was due;
* in a closed loop, with more and more callers;
* with one caller, stage by stage: the gateway, the detector and the classifier each called directly with the same
  field, and Triton with what they send it, so that differences tell what each adds;
* with generated fields of more and more white cells, and the same view at more and more pixels;
* with more and more further networks loaded, which nobody asks for: what they take of those who ask for others.

The curves are of one session, one after the other, not in turns: they show shapes; ratios are in `bars`.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import images
from benchmarks.apart import Apart
from benchmarks.call_load import Plan, closed_loop, loading, routine_at_random
from benchmarks.footprint import ALL, MB, processes
from benchmarks.images import Images
from benchmarks.machine import commit, facts
from benchmarks.peers.callers import GATEWAY, OK, Target
from benchmarks.speed.bars import percentiles
from benchmarks.speed.networks import with_a_file
from benchmarks.speed.session import DEADLINE_S, Session, session, write
from benchmarks.speed.start import LOAD_TIMEOUT_S

SHARES: Final = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0)
CALLERS: Final = (1, 2, 4, 8, 16, 32)
CELLS: Final = (0, 2, 4, 8)
SIZES: Final = ((480, 360), (640, 480), (800, 600), (1280, 960), (1920, 1440))
RED_CELL_SHARE: Final = 74 / 640
"""A red cell's diameter as a share of a field's width: a camera with more pixels has more of them for each cell."""

AT_ONCE: Final = 6


def measure(repository: Path, *, fields: int, seconds: float) -> dict[str, Any]:
    """All curves, each point for so long."""
    with session(images.fields(fields), repository) as ours:
        with Apart(loading, ours.plan()) as load:
            ours.watched(load, closed_loop, seconds, AT_ONCE)
            callers = []
            for many in CALLERS:
                _say(f"{many} callers ...")
                watched = ours.watched(load, closed_loop, seconds, many)
                callers.append({"callers": many, **_point(watched.per_second, watched.load)})
            peak = max(point["fields_per_second"] for point in callers)
            shares = []
            for share in SHARES:
                _say(f"{share:.0%} of the peak ...")
                watched = ours.watched(load, routine_at_random, 2 * seconds, share * peak)
                shares.append(
                    {"share": share, "asked": share * peak, **_point(watched.per_second, watched.load)}
                )
        _say("stage by stage ...")
        stages = asyncio.run(_stages(ours, seconds / 2))
        return {
            **ours.facts(),
            "at_once": AT_ONCE,
            "peak": peak,
            "by_callers": callers,
            "by_load": shares,
            "stages_ms": stages,
            "by_cells": list(_by_cells(ours, seconds)),
            "by_size": list(_by_size(ours, seconds)),
            # Last, because what it loads stays loaded.
            "by_models": list(_by_models(ours, seconds)),
        }


def _by_cells(ours: Session, seconds: float) -> Iterator[dict[str, Any]]:
    for cells in CELLS:
        _say(f"{cells} white cells ...")
        found = images.generated(4, white_cells=cells)
        yield {"cells": cells, **_one_and_many(ours, found, seconds)}


def _by_size(ours: Session, seconds: float) -> Iterator[dict[str, Any]]:
    for width, height in SIZES:
        _say(f"{width} x {height} px ...")
        found = images.generated(
            4, width=width, height=height, white_cells=2, red_cell_px=width * RED_CELL_SHARE
        )
        yield {"width_px": width, "height_px": height, **_one_and_many(ours, found, seconds)}


def _by_models(ours: Session, seconds: float) -> Iterator[dict[str, Any]]:
    from tritonclient.grpc import InferenceServerClient  # noqa: PLC0415 - not before the stack was started

    with InferenceServerClient(ours.address("triton")) as triton:
        idle = [name for name in with_a_file(ours.repository) if not triton.is_model_ready(name)]
        loaded = 0
        for many in (0, len(idle) // 2, len(idle)):
            _say(f"{many} further networks ...")
            for name in idle[loaded:many]:
                triton.load_model(name, client_timeout=LOAD_TIMEOUT_S)
            loaded = many
            yield {
                "models": many,
                **_one_and_many(ours, ours.images, seconds),
                "memory_mb": round(processes(dict(ours.state))[ALL]["pss"] / MB),
            }


def _one_and_many(ours: Session, found: Images, seconds: float) -> dict[str, Any]:
    """What one caller waits, and what several get."""
    with Apart(loading, Plan(Target(GATEWAY, ours.state["address"], DEADLINE_S), found.files)) as load:
        alone = ours.watched(load, closed_loop, seconds / 2, 1)
        many = ours.watched(load, closed_loop, seconds, AT_ONCE)
    return {
        "mean_kb": found.facts()["mean_kb"],
        "alone_p50_ms": round(1000 * statistics.median(alone.good_seconds()), 2),
        # Of all calls: of large fields few end in the time in which others are begun.
        "fields_per_second": round(
            len(many.good_seconds()) / max(call.ended_s for call in many.load.calls), 2
        ),
    }


def _point(per_second: float, load: Any) -> dict[str, Any]:
    return {
        "fields_per_second": round(per_second, 2),
        **{f"{name}_ms": each for name, each in percentiles([1000 * s for s in load.seconds()]).items()},
        "not_answered": sum(call.outcome != OK for call in load.calls),
    }


async def _stages(ours: Session, seconds: float) -> dict[str, float]:
    """Median milliseconds of each stage called directly, one call at a time, means over the fields that have cells."""
    import grpc.aio  # noqa: PLC0415

    from hemaserve.v1 import (  # noqa: PLC0415
        cells_pb2,
        classifier_pb2,
        classifier_pb2_grpc,
        detector_pb2,
        detector_pb2_grpc,
        gateway_pb2,
        gateway_pb2_grpc,
    )
    from services.triton.client import TritonClient  # noqa: PLC0415

    wanted = ("probabilities", "ood_score")
    found: dict[str, list[float]] = {}
    places = [place for place, field in enumerate(ours.work) if len(field.crops)][:4]
    async with (
        grpc.aio.insecure_channel(ours.state["address"]) as to_gateway,
        grpc.aio.insecure_channel(ours.address("detector")) as to_detector,
        grpc.aio.insecure_channel(ours.address("classifier")) as to_classifier,
        TritonClient(ours.address("triton")) as triton,
    ):
        gateway = gateway_pb2_grpc.SmearServiceStub(to_gateway)
        detector = detector_pb2_grpc.DetectorServiceStub(to_detector)
        classifier = classifier_pb2_grpc.ClassifierServiceStub(to_classifier)
        for place in places:
            image, work = ours.images.files[place], ours.work[place]
            analyze = gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(field_id="f", image=image))
            detect = detector_pb2.DetectRequest(image=image)
            classify = classifier_pb2.ClassifyRequest(
                cells=[
                    classifier_pb2.CellToClassify(
                        crop=cells_pb2.Crop(
                            cell_id=str(number),
                            size_px=crop.shape[0],
                            encoding=cells_pb2.CROP_ENCODING_RAW_RGB8,
                            data=crop.tobytes(),
                        )
                    )
                    for number, crop in enumerate(work.crops)
                ]
            )

            async def whole(request: Any = analyze) -> None:
                await gateway.AnalyzeField(request)

            async def detecting(request: Any = detect) -> None:
                async for _ in detector.Detect(request):
                    pass

            async def naming(request: Any = classify) -> None:
                async for _ in classifier.Classify(iter([request])):
                    pass

            async def seeing(batches: Any = work.squares) -> None:
                for batch in batches:
                    await triton.infer("yolov8n", {"images": batch}, ["predictions"])

            async def knowing(crops: Any = work.crops) -> None:
                await triton.infer("ensemble", {"crops": crops}, wanted)

            for name, call in {
                "gateway, a whole field": whole,
                "detector": detecting,
                "Triton, detection network": seeing,
                "classifier": naming,
                "Triton, ensemble": knowing,
            }.items():
                found.setdefault(name, []).append(await _median_ms(call, seconds / len(places)))
    return {name: round(statistics.mean(each), 2) for name, each in found.items()}


async def _median_ms(call: Callable[[], Awaitable[None]], seconds: float) -> float:
    await call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for name in ("by_callers", "by_load", "by_cells", "by_size", "by_models"):
        yield name.replace("_", " ")
        for point in found[name]:
            yield "  " + ", ".join(f"{key} {value:g}" for key, value in point.items())
    yield f"stages, ms: {found['stages_ms']}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three minutes instead of eight")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="Triton's models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    asked = parser.parse_args(arguments)
    found = measure(asked.repository, fields=12 if asked.quick else 24, seconds=3.0 if asked.quick else 10.0)
    document = {
        "command": "python -m benchmarks curves" + (" --quick" if asked.quick else ""),
        **facts(),
        "commit": commit(),
        "claims": [],
        **found,
    }
    if asked.json:
        write(asked.json, document)
    for line in _lines(found):
        print(line)


if __name__ == "__main__":
    main()
