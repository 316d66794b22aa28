"""What hostile files and requests do to a running stack: `python -m benchmarks.hostile --json FILE`.

Starts a stack on a free port, sends the corpus by every way in, three times, with good fields between, and measures:
how each was answered, what refusing costs in processor time against serving, and whether memory grew. Exits with 1
when an answer was none that it may be, a process died, or the services and their decoders grew by more than 5% from
the second time to the third.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc.aio
import psutil

from benchmarks.claims import claim
from benchmarks.footprint import stack
from benchmarks.machine import facts
from benchmarks.nasty.bytes_of import encoded, picture
from benchmarks.nasty.files import Verdict, nasty_files
from benchmarks.nasty.requests import absurd_requests, examples, methods
from benchmarks.nasty.sending import Report, Services, send_absurd, send_files, send_unreadable
from hemaserve import synthetic
from hemaserve.v1 import classifier_pb2_grpc, detector_pb2_grpc, gateway_pb2, gateway_pb2_grpc

PASSES: Final = 3
REPEATS: Final = 20
MOST_GROWTH: Final = 0.05
MOST_COST: Final = 0.1
_MESSAGE_BYTES: Final = 72 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="default", choices=("default", "full"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder), asked.profile) as ready:
        figures = asyncio.run(measure(ready))
    command = "python -m benchmarks.hostile --json docs/reliability/hostile.json"
    document = {"command": command, **facts(), "claims": claims(figures), "profile": asked.profile, **figures}
    text = json.dumps(document, indent=2) + "\n"
    print(text)
    if asked.json is not None:
        asked.json.write_text(text)
    sys.exit(not all(one["holds"] for one in document["claims"]))


def claims(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What it shows."""
    wrong, died = len(figures["wrong"]), figures["processes_died"]
    ratio, growth = figures["refusing_to_serving"], figures["memory_growth"]
    corpus = f"{figures['files']} nasty files and {figures['absurd_requests']} absurd requests"
    return [
        claim(
            f"{corpus} are refused by field and reason, and good fields between them answered as ever",
            "0 wrong answers, 0 INTERNAL, 0 processes died",
            f"{wrong} wrong, {figures['internal']} INTERNAL, {died} died in {figures['sent']} answers",
            holds=not (wrong or died or figures["internal"]),
        ),
        claim(
            "Refusing such a file costs little processor time",
            "under a tenth of serving a field",
            f"{figures['refusing_cpu_ms']} ms against {figures['serving_cpu_ms']} ms, {ratio:.1%}",
            holds=ratio < MOST_COST,
        ),
        claim(
            "They leave no memory behind in the services and their decoders",
            f"at most {MOST_GROWTH:.0%} more from the second pass to the third",
            f"{growth:+.1%}, {figures['services_memory_mb'][-1]} MB at the end",
            holds=growth <= MOST_GROWTH,
        ),
    ]


@asynccontextmanager
async def connected(ready: dict[str, Any]) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """Channels by the names of the services."""
    names = {"gateway": "SmearService", "detector": "DetectorService", "classifier": "ClassifierService"}
    async with AsyncExitStack() as opened:
        yield {
            full: await opened.enter_async_context(
                grpc.aio.insecure_channel(
                    ready["services"][name]["address"],
                    options=[("grpc.max_send_message_length", _MESSAGE_BYTES)],
                )
            )
            for name, full in names.items()
        }


async def measure(ready: dict[str, Any]) -> dict[str, Any]:
    """All figures of a stack that is ready."""
    pids = {name: service["pid"] for name, service in ready["services"].items()}
    processes = Processes(list(pids.values()))
    # Triton's networks take more with each new size of batch, whoever asks; that is theirs and no file's doing.
    ours = Processes([pid for name, pid in pids.items() if name != "triton"])
    async with connected(ready) as channels:
        services = Services(
            gateway_pb2_grpc.SmearServiceStub(channels["SmearService"]),
            detector_pb2_grpc.DetectorServiceStub(channels["DetectorService"]),
            classifier_pb2_grpc.ClassifierServiceStub(channels["ClassifierService"]),
        )
        field = synthetic.encode_jpeg(synthetic.generate_field(1).image)
        corpus = nasty_files()
        absurd = list(absurd_requests(examples(encoded(picture(), "PNG")), too_many_bytes=64 * 2**20 + 1))
        expected = await analyze(services, field)
        report, memory, good = Report(), [], 0
        for _ in range(PASSES):
            await send_absurd(services, absurd, report)
            await send_unreadable(channels, methods(), report)
            for start in range(0, len(corpus), 50):
                await send_files(services, corpus[start : start + 50], report)
                if (await analyze(services, field)).result_id != expected.result_id:
                    report.wrong.append("a good field was answered otherwise than before")
                good += 1
            memory.append(ours.bytes())
        serving_s = await processes.cost(lambda: analyze(services, field), REPEATS)
        refused = [file for file in corpus if file.verdict is Verdict.REFUSED]
        # All in one go: the system counts processor time in steps of 10 ms.
        remaining = iter(refused)
        refusing_s = await processes.cost(lambda: refusal(services, next(remaining).data), len(refused))
    answers: Counter[str] = Counter()
    for (_, answer), count in report.answers.items():
        answers[answer] += count
    return {
        "files": len(corpus),
        "absurd_requests": len(absurd),
        "ways_in": len({way for way, _ in report.answers}),
        "answers": dict(sorted(answers.items())),
        "sent": report.sent,
        "internal": sum(count for answer, count in answers.items() if answer.startswith("INTERNAL")),
        "wrong": report.wrong,
        "good_fields_between": good,
        "processes_died": processes.died(),
        "serving_cpu_ms": round(serving_s * 1000, 2),
        "refusing_cpu_ms": round(refusing_s * 1000, 2),
        "refusing_to_serving": round(refusing_s / serving_s, 4),
        "services_memory_mb": [round(taken / 10**6, 1) for taken in memory],
        "memory_growth": round(memory[-1] / memory[-2] - 1, 4),
    }


async def analyze(services: Services, image: bytes) -> gateway_pb2.FieldResult:
    """A good field's result."""
    request = gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=image))
    response: gateway_pb2.AnalyzeFieldResponse = await services.gateway.AnalyzeField(request, timeout=120)
    return response.result


async def refusal(services: Services, image: bytes) -> None:
    """A nasty file's refusal."""
    try:
        await analyze(services, image)
    except grpc.aio.AioRpcError:
        return
    raise AssertionError("a file that is to be refused was not")


class Processes:
    """The processes of a stack, with all that they have started."""

    def __init__(self, pids: list[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in sorted(set(pids))]

    def _all(self) -> list[psutil.Process]:
        return [each for root in self._roots for each in (root, *root.children(recursive=True))]

    def bytes(self) -> int:
        """What they take, shared pages counted once."""
        return sum(process.memory_full_info().pss for process in self._all())

    def died(self) -> int:
        """How many of the services' own are gone."""
        return sum(not root.is_running() for root in self._roots)

    async def cost(self, call: Callable[[], Awaitable[Any]], repeats: int) -> float:
        """Processor time of one call in all of them together, in seconds."""
        before = self._cpu_s()
        for _ in range(repeats):
            await call()
        return (self._cpu_s() - before) / repeats

    def _cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._all())


if __name__ == "__main__":
    main()
