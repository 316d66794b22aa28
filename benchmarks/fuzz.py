"""Coverage-guided fuzzing of what reads strangers' bytes: `python -m benchmarks.fuzz TARGET --minutes 10 --json FILE`.

Targets: `decode` (image files to pixels), `gateway`, `detector` and `classifier` (requests to orders), `profile` (site
profiles). Each begins with the corpus of nasty files or requests, and with sound ones. What fails: any exception but
the domain's refusals, more memory than the limit, more time than the limit, a crash. The input that did it is left in
the current folder as crash-*, oom-* or timeout-*.

atheris instruments Python code alone: of Pillow's codecs it sees what they return and whether they survive.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.claims import claim
from benchmarks.machine import facts

ROOT: Final = Path(__file__).parents[1]
TARGETS: Final = ("decode", "gateway", "detector", "classifier", "profile")
MAX_INPUT_BYTES: Final = 2**16
MEMORY_MB: Final = 1500
INPUT_TIMEOUT_S: Final = 20
_STATUS: Final = re.compile(r"^#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)

Feed = Callable[[bytes], None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--json", type=Path, help="file of all targets' figures, to which this one's are added"
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child is not None:
        fuzz(asked.target, asked.child, seconds=round(asked.minutes * 60), seed=asked.seed)
        return
    figures = run(asked.target, minutes=asked.minutes, seed=asked.seed)
    print(json.dumps(figures, indent=2))
    if asked.json is not None:
        known = json.loads(asked.json.read_text())["targets"] if asked.json.exists() else {}
        asked.json.write_text(json.dumps(document(known | {asked.target: figures}), indent=2) + "\n")
    sys.exit(figures["failures"] != 0)


def document(targets: dict[str, Any]) -> dict[str, Any]:
    """What docs/reliability.md is made of, from the figures of each target."""
    found = sum(figures["failures"] for figures in targets.values())
    tries = sum(figures["tries"] for figures in targets.values())
    least = min(figures["minutes"] for figures in targets.values())
    return {
        "command": "python -m benchmarks.fuzz TARGET --minutes 10 --json docs/reliability/fuzz.json",
        **facts(),
        "claims": [
            claim(
                f"Fuzzing of {', '.join(sorted(targets))} finds nothing that crashes, hangs, grows or is no refusal",
                "0 findings, 10 minutes or more each",
                f"{found} findings in {tries / 1e6:.1f} million inputs, {least:.1f} minutes or more each",
                holds=found == 0 and least >= 10 and set(targets) == set(TARGETS),
            )
        ],
        "targets": dict(sorted(targets.items())),
    }


def run(target: str, *, minutes: float, seed: int = 1) -> dict[str, Any]:
    """Fuzz a target in a process of its own, which atheris owns; what came of it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds(target)):
            (Path(folder) / f"{number:05d}").write_bytes(data[:MAX_INPUT_BYTES])
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.fuzz", target, "--child", folder),
                *("--minutes", str(minutes), "--seed", str(seed)),
            ],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
    statuses = _STATUS.findall(done.stderr)
    tries, coverage, features, corpus = map(int, statuses[-1] if statuses else (0, 0, 0, 0))
    if done.returncode:
        sys.stderr.write(done.stderr[-6000:])
    return {
        "tries": tries,
        "minutes": round((time.monotonic() - started) / 60, 2),
        "coverage": coverage,
        "features": features,
        "corpus": corpus,
        "failures": int(done.returncode != 0),
        "memory_limit_mb": MEMORY_MB,
        "input_timeout_s": INPUT_TIMEOUT_S,
    }


def seeds(target: str) -> Iterator[bytes]:
    """What a target begins with."""
    from benchmarks.nasty.bytes_of import encoded, picture  # noqa: PLC0415 - not needed by the child
    from benchmarks.nasty.files import nasty_files, sound_files  # noqa: PLC0415
    from benchmarks.nasty.requests import absurd_requests, examples  # noqa: PLC0415

    if target == "decode":
        yield from sound_files().values()
        yield from (file.data for file in nasty_files() if len(file.data) <= MAX_INPUT_BYTES)
    elif target == "profile":
        yield _profile()
    else:
        image = encoded(picture(20, 16), "PNG")
        known = examples(image, crop_side=16)
        for index, method in enumerate(_methods(target)):
            for request in known[method]:
                yield bytes([index]) + request.SerializeToString()
        for absurd in absurd_requests(known, too_many_bytes=1000):
            data = absurd.request.SerializeToString()
            if absurd.method in _methods(target) and len(data) < MAX_INPUT_BYTES:
                yield bytes([_methods(target).index(absurd.method)]) + data


def _profile() -> bytes:
    from hemaserve.site_profile import IDENTITY, SiteProfile, to_json  # noqa: PLC0415

    return to_json(SiteProfile("lab", datetime(2026, 1, 1, tzinfo=UTC), 20, 300, IDENTITY)).encode()


def _methods(target: str) -> list[str]:
    return {
        "gateway": ["AnalyzeField", "AnalyzeSmear", "DetectCells", "ClassifyCells", "ExplainCell"],
        "detector": ["Detect"],
        "classifier": ["Classify", "Explain", "ScreenCells", "ScreenField"],
    }[target]


def fuzz(target: str, corpus: Path, *, seconds: int, seed: int) -> None:
    """Fuzz in this process, and end it."""
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=["hemaserve", "services", "PIL"], exclude=["hemaserve.v1"]):
        feed: Feed = _FEEDS[target]()
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-seed={seed}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *options], feed)
    atheris.Fuzz()


def _decode_feed() -> Feed:
    import warnings  # noqa: PLC0415

    from hemaserve.errors import InvalidArgument  # noqa: PLC0415
    from hemaserve.image_files.facts import ImageLimits  # noqa: PLC0415
    from hemaserve.imaging import decode  # noqa: PLC0415

    warnings.simplefilter("ignore")
    limits = ImageLimits(max_bytes=MAX_INPUT_BYTES, max_pixels=2**20, max_side_px=4096)

    def feed(data: bytes) -> None:
        try:
            image = decode(data, limits=limits)
        except InvalidArgument as error:
            _check(error)
            return
        height, width, channels = image.shape
        if channels != 3 or height * width > limits.max_pixels or min(height, width) < limits.min_side_px:
            raise AssertionError(f"an image of {image.shape}")

    return feed


def _request_feed(parsers: list[tuple[Any, Callable[[Any], Any]]]) -> Feed:
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    from hemaserve.errors import DomainError  # noqa: PLC0415

    def feed(data: bytes) -> None:
        if not data:
            return
        message, read = parsers[data[0] % len(parsers)]
        try:
            request = message.FromString(data[1:])
        except DecodeError:
            return
        try:
            read(request)
        except DomainError as error:
            _check(error)

    return feed


def _check(error: Any) -> None:
    """A refusal must be one that can be sent."""
    from services.runtime.errors import from_status, to_status  # noqa: PLC0415

    if from_status(to_status(error)).reason != error.reason:
        raise AssertionError(f"the reason {error.reason} got lost")


def _gateway_feed() -> Feed:
    from hemaserve.v1 import gateway_pb2  # noqa: PLC0415
    from services.gateway import requests  # noqa: PLC0415
    from services.runtime.translate import requested_type  # noqa: PLC0415

    most = MAX_INPUT_BYTES

    def analyze_field(request: Any) -> None:
        requests.field_order(request.field, max_image_bytes=most)
        requests.analyze_options(request.options, path="options")
        requests.priority(request.priority)

    def analyze_smear(request: Any) -> None:
        if request.WhichOneof("message") == "open":
            requests.smear_order(request)
        else:
            requests.smear_field(request, max_image_bytes=most)

    def detect_cells(request: Any) -> None:
        requests.field_order(request.field, max_image_bytes=most)
        requests.detection_options(request)

    def classify_cells(request: Any) -> None:
        requests.located_cells(request, max_image_bytes=most)
        requests.site_profile_name(request.site_profile)

    def explain_cell(request: Any) -> None:
        requests.cell_to_explain(request, max_image_bytes=most)
        requested_type(request.type, field="type")

    return _request_feed(
        [
            (gateway_pb2.AnalyzeFieldRequest, analyze_field),
            (gateway_pb2.AnalyzeSmearRequest, analyze_smear),
            (gateway_pb2.DetectCellsRequest, detect_cells),
            (gateway_pb2.ClassifyCellsRequest, classify_cells),
            (gateway_pb2.ExplainCellRequest, explain_cell),
        ]
    )


def _detector_feed() -> Feed:
    from hemaserve.image_files.checks import check_file  # noqa: PLC0415
    from hemaserve.image_files.facts import ImageLimits  # noqa: PLC0415
    from hemaserve.v1 import detector_pb2  # noqa: PLC0415
    from services.detector.requests import read_order  # noqa: PLC0415

    def detect(request: Any) -> None:
        read_order(request)
        check_file(request.image, limits=ImageLimits(), field="image")

    return _request_feed([(detector_pb2.DetectRequest, detect)])


def _classifier_feed() -> Feed:
    import numpy as np  # noqa: PLC0415

    from hemaserve.image_files.checks import check_file  # noqa: PLC0415
    from hemaserve.image_files.facts import ImageLimits  # noqa: PLC0415
    from hemaserve.v1 import classifier_pb2  # noqa: PLC0415
    from services.classifier import crops, translate  # noqa: PLC0415

    limits = crops.CropLimits(min_side_px=16, max_side_px=128)

    def check(found: list[crops.EncodedCrop]) -> None:
        crops.read_raw(found, np.empty((len(found), 32, 32, 3), np.uint8), limits)

    return _request_feed(
        [
            (
                classifier_pb2.ClassifyRequest,
                lambda request: check(translate.request_from_proto(request, max_cells=256).crops),
            ),
            (
                classifier_pb2.ExplainRequest,
                lambda request: check([translate.explain_request_from_proto(request).crop]),
            ),
            (
                classifier_pb2.ScreenCellsRequest,
                lambda request: check(translate.crops_from_proto(request, max_cells=256)),
            ),
            (
                classifier_pb2.ScreenFieldRequest,
                lambda request: check_file(request.image, limits=ImageLimits(), field="image"),
            ),
        ]
    )


def _profile_feed() -> Feed:
    from hemaserve.site_profile import UnusableProfile, from_json, to_json  # noqa: PLC0415

    def feed(data: bytes) -> None:
        try:
            profile = from_json(data)
        except UnusableProfile:
            return
        if from_json(to_json(profile).encode()) != profile:
            raise AssertionError("a profile does not come back as it was")

    return feed


_FEEDS: Final[dict[str, Callable[[], Feed]]] = {
    "decode": _decode_feed,
    "gateway": _gateway_feed,
    "detector": _detector_feed,
    "classifier": _classifier_feed,
    "profile": _profile_feed,
}


if __name__ == "__main__":
    main()
