"""A marked value is sent through the whole stack, with all that can go wrong, and searched in all that came out."""

import io
import os
import random
import subprocess
import urllib.request
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import status_pb2
from PIL import Image, PngImagePlugin

from hemaserve import synthetic
from hemaserve.v1 import cells_pb2, gateway_pb2, gateway_pb2_grpc
from services.stack.profiles import PROFILES, SERVICES, TRITON, ProfileName

from ..otlp_receiver import Collector, collecting
from .conftest import COMMAND, Stack, running_stack, wait_until

pytestmark = pytest.mark.e2e

TOKEN = "zq7vx"
"""In every text that tells whose blood it is, and nowhere else."""

IMAGE_DESCRIPTION = 0x010E
TIMEOUT_S = 120


def mark(what: str) -> str:
    """A value for a marked field; some of it is spelt in other ways where it is quoted."""
    return f"{TOKEN} {what} Möller's"


def told_image(file_format: str) -> bytes:
    """A field whose file says, beside the pixels, whose it is."""
    image, file = Image.fromarray(synthetic.generate_field(3).image), io.BytesIO()
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = mark("exif").encode("ascii", "replace").decode()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", f"{TOKEN} text")
    image.save(file, file_format, exif=exif, **({"pnginfo": text} if file_format == "PNG" else {}))
    assert TOKEN.encode() in file.getvalue()
    return file.getvalue()


@pytest.fixture(scope="module")
def image() -> bytes:
    return told_image("PNG")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """The smallest stack, which writes all that it can into its logs, and records every span."""
    with pytest.MonkeyPatch.context() as patch:
        for part in SERVICES:
            patch.setenv(f"HEMASERVE_{part.upper()}_TRACE_ENDPOINT", collector.endpoint)
            patch.setenv(f"HEMASERVE_{part.upper()}_TRACE_SHARE", "1")
        patch.setenv("HEMASERVE_TRITON_TRACE_URL", collector.url)
        for part in (TRITON, *SERVICES):
            patch.setenv(f"HEMASERVE_{part.upper()}_LOG_LEVEL", "debug")
        patch.setenv("HEMASERVE_TRITON_LOG_VERBOSE", "1")
        with running_stack(tmp_path_factory.mktemp("told"), "--profile", "tiny") as running:
            yield running


class Caller:
    """Makes calls with marked values, and keeps what errors said."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = gateway_pb2_grpc.SmearServiceStub(channel)
        self.errors: list[str] = []
        self.codes: list[grpc.StatusCode] = []

    def ends(self, call: Callable[[], object]) -> None:
        """A call, to its end, whatever it is."""
        try:
            answer = call()
        except grpc.RpcError as error:
            self.codes.append(error.code())
            self.errors += [repr(error), str(error.details())]
            for key, value in error.trailing_metadata() or ():
                self.errors.append(f"{key}: {value!r}")
                if key == "grpc-status-details-bin":
                    self.errors.append(str(status_pb2.Status.FromString(value)))
            return
        self.codes.append(grpc.StatusCode.OK)
        for message in [answer] if isinstance(answer, Message) else answer:
            self.errors += [str(status) for status in statuses(message)]

    def field(self, image: bytes, trace_id: str = "", **request: object) -> None:
        field = gateway_pb2.Field(
            field_id=mark("field"), image=image, acquisition=gateway_pb2.Acquisition(stain=mark("stain"))
        )
        asked = gateway_pb2.AnalyzeFieldRequest(field=field, **request)
        metadata = [("x-file", TOKEN), ("tracestate", f"who={TOKEN}"), ("baggage", f"who={TOKEN}")]
        if trace_id:
            metadata.append(("traceparent", f"00-{trace_id}-{'1' * 16}-01"))
        self.ends(lambda: self.stub.AnalyzeField(asked, timeout=TIMEOUT_S, metadata=metadata))

    def smear(
        self, *images: bytes, sequences: tuple[int, ...] | None = None, timeout: float = TIMEOUT_S
    ) -> None:
        opening = gateway_pb2.OpenSmear(smear_id=mark("smear"), specimen=mark("specimen"))
        opening.received.add(field_id=mark("earlier field"), sequence=0)
        messages = [gateway_pb2.AnalyzeSmearRequest(open=opening)]
        for number, image in enumerate(images, start=1):
            field = gateway_pb2.Field(
                field_id=mark(f"field {number}"),
                sequence=number if sequences is None else sequences[number - 1],
                image=image,
            )
            messages.append(gateway_pb2.AnalyzeSmearRequest(field=field))
        self.ends(lambda: list(self.stub.AnalyzeSmear(iter(messages), timeout=timeout)))

    def cells(self, image: bytes, **request: object) -> None:
        cell = gateway_pb2.LocatedCell(cell_id=mark("cell"), image=image)
        outside = cells_pb2.Box(x0_px=90_000, y0_px=90_000, x1_px=90_009, y1_px=90_009)
        lost = gateway_pb2.LocatedCell(cell_id=mark("lost cell"), image=image, box=outside)
        asked = gateway_pb2.ClassifyCellsRequest(cells=[cell, lost], **request)
        self.ends(lambda: list(self.stub.ClassifyCells(iter([asked]), timeout=TIMEOUT_S)))
        self.ends(
            lambda: self.stub.ExplainCell(
                gateway_pb2.ExplainCellRequest(cell=cell, **request), timeout=TIMEOUT_S
            )
        )

    def detect(self, image: bytes, **request: object) -> None:
        asked = gateway_pb2.DetectCellsRequest(
            field=gateway_pb2.Field(field_id=mark("detect"), image=image), **request
        )
        self.ends(lambda: self.stub.DetectCells(asked, timeout=TIMEOUT_S))

    def cancelled(self, image: bytes) -> None:
        opening = gateway_pb2.OpenSmear(smear_id=mark("cancelled"), specimen=mark("specimen"))
        field = gateway_pb2.Field(field_id=mark("cancelled field"), sequence=1, image=image)
        call = self.stub.AnalyzeSmear(
            iter(
                [gateway_pb2.AnalyzeSmearRequest(open=opening), gateway_pb2.AnalyzeSmearRequest(field=field)]
            ),
            timeout=TIMEOUT_S,
        )
        next(call)
        call.cancel()
        self.ends(lambda: list(call))


def statuses(message: Message) -> Iterator[Message]:
    """The errors within an answer."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in value if field.is_repeated else [value]:
            if isinstance(inner, status_pb2.Status):
                yield inner
            yield from statuses(inner)


@pytest.fixture(scope="module")
def said(
    told: Stack, image: bytes, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """All that came out, by where."""
    with grpc.insecure_channel(told.address) as channel:
        caller = Caller(channel)
        for file_format in ("PNG", "JPEG", "TIFF"):
            caller.field(told_image(file_format))
        caller.smear(image, image)
        caller.cells(image)
        caller.detect(image)
        assert set(caller.codes) == {grpc.StatusCode.OK}

        text = f"{TOKEN} is no image".encode()
        for bad in (text, image[: len(image) // 2], b""):
            caller.field(bad)
            caller.smear(bad)
            caller.cells(bad)
            caller.detect(bad)
        no_model = {"model": "no such model"}
        caller.field(image, options=gateway_pb2.AnalyzeOptions(**no_model))
        caller.cells(image, **no_model)
        caller.cells(image, site_profile="no such profile")
        caller.detect(image, detector_model="no such model")
        caller.smear(image, image, sequences=(5, 5))
        caller.smear(image, image, sequences=(0, 1))
        caller.smear(image, timeout=0.05)
        caller.cancelled(image)
        caller.ends(lambda: caller.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(), timeout=TIMEOUT_S))
        stranger = channel.unary_unary(f"/hemaserve.v1.SmearService/{TOKEN}")
        caller.ends(lambda: stranger(TOKEN.encode(), timeout=TIMEOUT_S))
        # Spans are sent in the order in which they ended, so when the last call's are there, all are.
        last = f"{random.Random(1).getrandbits(128):032x}"
        caller.field(image, trace_id=last)

        def all_are_sent() -> bool:
            sent = {(span.service, span.name) for span in collector.spans if span.trace_id == last}
            return sent >= {
                ("hemaserve-gateway", "hemaserve.v1.SmearService/AnalyzeField"),
                ("hemaserve-detector", "hemaserve.v1.DetectorService/Detect"),
                ("hemaserve-classifier", "hemaserve.v1.ClassifierService/Classify"),
                ("hemaserve-triton", "InferRequest"),
            }

        wait_until(all_are_sent, "all spans are sent", timeout_s=TIMEOUT_S)
    assert set(caller.codes) >= {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
    file = tmp_path_factory.mktemp("slides") / f"{TOKEN}.png"
    file.write_bytes(image)
    done = subprocess.run(
        [*COMMAND, "analyze", str(file), "--json", "-"],
        env=os.environ | {"HEMASERVE_ADDRESS": told.address},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert TOKEN in done.stdout.decode(), "its own user may see it"

    def all_has_ended() -> bool:
        return all(
            float(line.rsplit(" ", 1)[1]) == 0
            for part in SERVICES
            for line in metrics(told, part).splitlines()
            if line.startswith("hemaserve_rpc_in_progress{")
        )

    wait_until(all_has_ended, "all calls have ended")
    out = {f"log {path.name}": path.read_text() for path in told.log_dir.rglob("*") if path.is_file()}
    out |= {f"metrics of {part}": metrics(told, part) for part in (TRITON, *SERVICES)}
    out["the stack's own output"] = (told.log_dir.parent / "up.txt").read_text()
    out["spans"] = collector.said
    out["errors"] = "\n".join(caller.errors)
    return out


def metrics(stack: Stack, part: str) -> str:
    address = stack.state()["services"][part]["metrics_address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=TIMEOUT_S) as page:
        return page.read().decode()


def places_of(text: str, said: dict[str, str]) -> set[str]:
    return {place for place, out in said.items() if text.casefold() in out.casefold()}


def test_what_tells_whose_blood_it_is_came_out_nowhere(said: dict[str, str]):
    assert places_of(TOKEN, said) == set()
    assert places_of("ller's", said) == set()


def test_the_search_would_have_found_it(said: dict[str, str]):
    logs = {place for place in said if place.startswith("log ")}
    network = PROFILES[ProfileName.TINY].classifier

    assert logs
    assert places_of("listening", said) & logs
    assert places_of("/hemaserve.v1.SmearService/AnalyzeSmear", said) >= {"metrics of gateway"}
    assert places_of("hemaserve.v1.SmearService/AnalyzeSmear", said) >= {"spans"}
    assert places_of("InferRequest", said) >= {"spans"}, "Triton's own are among them"
    assert places_of('"trace_id": "', said) & logs, "logs tell in which trace they were made"
    assert places_of('"code": "INVALID_ARGUMENT"', said) & logs, "calls are logged, at debug"
    assert places_of("infer", said) & logs, "Triton's words are logged, at its verbosity"
    assert places_of(network, said) >= {f"metrics of {TRITON}"}
    assert places_of("no such model", said) >= {"errors"}


def test_a_leak_is_found_wherever_it_is(said: dict[str, str]):
    for place, out in said.items():
        assert places_of(TOKEN, said | {place: f"{out}\n{mark('leak')}\n"}) == {place}
