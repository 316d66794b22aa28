"""How many crops a second each classifier names. `python -m benchmarks.crops_per_second`

Starts Triton on free ports with the embedded configuration and all models of the repository, and sends each classifier
full batches, with so many under way that no instance waits. What that could at most be is measured in turns with it:
the same ONNX files, run by the same code with as many threads, but in this process, without Triton and without
gRPC. Rounds are short and alternate, so that other work on the machine disturbs both alike: the ratio of the two can be
trusted on a busy machine, the crops per second cannot.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import structlog
from google.protobuf import text_format
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import model_config_pb2

from benchmarks.machine import cpu
from services.triton.backends.onnxruntime.onnx_network import Network, Options, load
from services.triton.client import Array, ModelDescription, TritonClient
from services.triton.embedded import embedded_triton

CONFIG = "embedded"
TASK = "classification"
INPUT = "crops"
MB = 1e6


@dataclass(frozen=True)
class Classifier:
    """A classifier that Triton serves, and the networks that it is made of.

    Attributes:
        name: in Triton.
        batch: uint8 [max_batch_size, size, size, 3], what one request holds.
        outputs: all that it answers; an ensemble in Triton answers all or nothing.
        files: the ONNX files of its networks: one, or one for each member of an ensemble.
        options: how the backend runs each of them.
        instances: of each of them in Triton.
        sources: digests of all that answers, by model.
    """

    name: str
    batch: Array
    outputs: tuple[str, ...]
    files: tuple[Path, ...]
    options: tuple[Options, ...]
    instances: int
    sources: dict[str, str]


@dataclass(frozen=True)
class Speed:
    """What was measured of one classifier: medians over the rounds.

    Attributes:
        crops_per_second: through Triton.
        in_process: crops per second of the same networks in this process.
        ratio: through Triton / in process, each round against its own.
        ratio_range: the least and the greatest of the rounds.
        file_mb: size of its ONNX files.
        sources: digests of all that answers, by model.
    """

    crops_per_second: float
    in_process: float
    ratio: float
    ratio_range: tuple[float, float]
    file_mb: float
    sources: dict[str, str]


def classifiers(repository: Path, described: Mapping[str, ModelDescription]) -> list[Classifier]:
    """The classifiers among the models that Triton has."""
    return [
        _classifier(repository, model, described)
        for model in described.values()
        if model.parameters.get("task") == TASK
    ]


def _classifier(
    repository: Path, model: ModelDescription, described: Mapping[str, ModelDescription]
) -> Classifier:
    (dims,) = (entry.dims for entry in model.inputs if entry.name == INPUT)
    networks = model.parameters["members"].split(",") if "members" in model.parameters else [model.name]
    configs = [_embedded_config(repository / name) for name in networks]
    # Only time is measured, and that does not depend on what is to be seen.
    pixels = np.random.default_rng(0).integers(0, 256, (max(model.max_batch_size, 1), *dims), np.uint8)
    return Classifier(
        name=model.name,
        batch=pixels,
        outputs=tuple(entry.name for entry in model.outputs),
        files=tuple(_onnx_file(repository / name, described[name].version) for name in networks),
        options=tuple(Options.of({k: v.string_value for k, v in c.parameters.items()}) for c in configs),
        instances=max(sum(group.count for group in config.instance_group) or 1 for config in configs),
        sources={
            name: described[name].parameters["sha256"] for name in dict.fromkeys([*networks, model.name])
        },
    )


def _embedded_config(folder: Path) -> Any:
    path = folder / "configs" / f"{CONFIG}.pbtxt"
    text = (path if path.exists() else folder / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def _onnx_file(folder: Path, version: str) -> Path:
    return folder / version / "model.onnx"


def file_sizes(repository: Path, described: Mapping[str, ModelDescription]) -> dict[str, float]:
    """Megabytes of the ONNX file of each model that has one."""
    files = {model.name: _onnx_file(repository / model.name, model.version) for model in described.values()}
    return {name: _megabytes([file]) for name, file in files.items() if file.is_file()}


def _megabytes(files: Iterable[Path]) -> float:
    return round(sum(file.stat().st_size for file in files) / MB, 2)


async def through_triton(triton: TritonClient, classifier: Classifier, seconds: float) -> float:
    """Crops per second with two requests under way for each instance."""
    end = time.perf_counter() + seconds
    batches = 0

    async def keep_asking() -> None:
        nonlocal batches
        while time.perf_counter() < end:
            await triton.infer(classifier.name, {INPUT: classifier.batch}, classifier.outputs)
            batches += 1

    started = time.perf_counter()
    await asyncio.gather(*(keep_asking() for _ in range(2 * classifier.instances)))
    return batches * len(classifier.batch) / (time.perf_counter() - started)


class InProcess:
    """The networks of a classifier in this process: as many threads as Triton has instances, side by side as there."""

    def __init__(self, classifier: Classifier) -> None:
        self._batch = classifier.batch
        self._threads = classifier.instances * len(classifier.files)
        self._networks: list[list[Network]] = [
            [
                load(file, options)[0]
                for file, options in zip(classifier.files, classifier.options, strict=True)
            ]
            for _ in range(classifier.instances)
        ]

    def crops_per_second(self, seconds: float) -> float:
        """Crops per second; a crop is done when all members of an ensemble have answered."""
        started = time.perf_counter()
        with ThreadPoolExecutor(self._threads) as members, ThreadPoolExecutor(len(self._networks)) as lanes:

            def keep_running(networks: Sequence[Network]) -> int:
                batches = 0
                while time.perf_counter() < started + seconds:
                    answers = [members.submit(network.run, {INPUT: self._batch}) for network in networks]
                    for answer in answers:
                        answer.result()
                    batches += 1
                return batches

            batches = sum(lanes.map(keep_running, self._networks))
        return batches * len(self._batch) / (time.perf_counter() - started)


async def measure(triton: TritonClient, classifier: Classifier, *, rounds: int, seconds: float) -> Speed:
    """Rounds of one classifier, through Triton and in this process in turns, after one of each to warm up."""
    ceiling = InProcess(classifier)
    served, in_process = [], []
    for number in range(rounds + 1):
        through = await through_triton(triton, classifier, seconds)
        direct = await asyncio.to_thread(ceiling.crops_per_second, seconds)
        if number:
            served.append(through)
            in_process.append(direct)
    ratios = [a / b for a, b in zip(served, in_process, strict=True)]
    return Speed(
        crops_per_second=round(statistics.median(served), 1),
        in_process=round(statistics.median(in_process), 1),
        ratio=round(statistics.median(ratios), 3),
        ratio_range=(round(min(ratios), 3), round(max(ratios), 3)),
        file_mb=_megabytes(classifier.files),
        sources=classifier.sources,
    )


async def measure_all(
    repository: Path, names: Sequence[str], *, rounds: int, seconds: float
) -> dict[str, Any]:
    """Everything about the classifiers of a repository, or about those of them that are named."""
    with embedded_triton(repository, config_name=CONFIG) as server:
        async with TritonClient(server.grpc_address) as triton:
            described = {name: await triton.model_config(name) for name in await triton.models()}
            chosen = [c for c in classifiers(repository, described) if not names or c.name in names]
            networks = {
                c.name: asdict(await measure(triton, c, rounds=rounds, seconds=seconds)) for c in chosen
            }
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": psutil.cpu_count(),
        "cpu": cpu(),
        "rounds": rounds,
        "seconds": seconds,
        "networks": networks,
        "file_mb": file_sizes(repository, described),
    }


def _table(figures: Mapping[str, Any]) -> Table:
    table = Table(title=f"{figures['cores']} cores, {figures['rounds']} rounds", title_justify="left")
    table.add_column("Network")
    for heading in ("Crops/s through Triton", "Crops/s in process", "Ratio", "Least to greatest", "MB"):
        table.add_column(heading, justify="right")
    for name, speed in figures["networks"].items():
        least, greatest = speed["ratio_range"]
        table.add_row(
            name,
            f"{speed['crops_per_second']:.0f}",
            f"{speed['in_process']:.0f}",
            f"{speed['ratio']:.2f}",
            f"{least:.2f} to {greatest:.2f}",
            f"{speed['file_mb']:.1f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="Triton's models")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NETWORK", help="measure these classifiers only"
    )
    parser.add_argument("--rounds", type=int, default=5, help="pairs of rounds for each network")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    figures = asyncio.run(
        measure_all(arguments.repository, arguments.only, rounds=arguments.rounds, seconds=arguments.seconds)
    )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    Console().print(_table(figures))


if __name__ == "__main__":
    main()
