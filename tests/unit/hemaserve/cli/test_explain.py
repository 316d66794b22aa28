"""`hemaserve analyze --explain` against a gateway that explains what it is told to."""

import json
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from PIL import Image
from typer.testing import CliRunner

from hemaserve.cli import app
from hemaserve.cli.exits import ExitCode
from hemaserve.cli.explaining import IN_FLIGHT
from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.v1 import cells_pb2, gateway_pb2, gateway_pb2_grpc

MONOCYTE = cells_pb2.CELL_TYPE_MONOCYTE


def flat(value, size=24):
    return np.full((size, size, 3), value, np.uint8)


class ExplainingGateway(gateway_pb2_grpc.SmearServiceServicer):
    """A field is an image of one grey, which is the number of its cells. `fail_after` answers it breaks."""

    def __init__(self):
        self.explained = []
        self.requests = []
        self.smears = 0
        self.explainable = True
        self.fail_after = None
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def AnalyzeSmear(self, request_iterator, context):
        opening = next(request_iterator).open
        self.smears += 1
        for request in request_iterator:
            yield gateway_pb2.AnalyzeSmearResponse(field_result=self._field(request.field, opening.options))
        yield gateway_pb2.AnalyzeSmearResponse(
            smear_result=gateway_pb2.SmearResult(smear_id=opening.smear_id)
        )

    def _field(self, field, options):
        result = gateway_pb2.FieldResult(field_id=field.field_id, sequence=field.sequence)
        result.width_px, result.height_px = 24, 24
        for index in range(field.image[0]):
            cell = result.cells.add()
            cell.detection.cell_id, cell.detection.kind = f"c{index}", cells_pb2.CELL_KIND_WBC
            cell.detection.box.x1_px = cell.detection.box.y1_px = 9
            cell.classification.type = cell.classification.primary_type = MONOCYTE
            cell.classification.probability, cell.classification.identified = 0.97, True
            if options.crop_encoding == cells_pb2.CROP_ENCODING_PNG:
                cell.crop.encoding, cell.crop.size_px = options.crop_encoding, 24
                cell.crop.data = encode_crop(flat(40 + index), CropEncoding.PNG)
        return result

    def ExplainCell(self, request, context):
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.explained.append(request.cell.image)
            self.requests.append(request)
            broken = self.fail_after is not None and len(self.explained) > self.fail_after
        try:
            if not self.explainable:
                context.abort_with_status(rpc_status.to_status(_status("MODEL_NOT_EXPLAINABLE", "cannot")))
            if broken:
                status = _status("INTERNAL", "a network failed")
                status.code = code_pb2.INTERNAL
                context.abort_with_status(rpc_status.to_status(status))
            return gateway_pb2.ExplainCellResponse(
                explanation=cells_pb2.Explanation(
                    type=MONOCYTE, width=2, height=2, values=bytes([255, 0, 0, 0])
                )
            )
        finally:
            with self._lock:
                self.at_once -= 1

    def ListSiteProfiles(self, request, context):
        return gateway_pb2.ListSiteProfilesResponse(site_profiles=[cells_pb2.SiteProfile(name="a-lab")])


def _status(reason, message):
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message=f"model: {message}")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="hemaserve"))
    return status


@pytest.fixture
def gateway():
    gateway = ExplainingGateway()
    server = grpc.server(futures.ThreadPoolExecutor(32))
    gateway_pb2_grpc.add_SmearServiceServicer_to_server(gateway, server)
    gateway.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield gateway
    server.stop(None)


@pytest.fixture
def field(tmp_path, monkeypatch):
    """Writes a "field" of so many cells."""
    # What is drawn is a real image; what is sent says how many cells it has.
    monkeypatch.setattr("hemaserve.cli.analysis.decode", lambda data: flat(200))

    def write(name, cells):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([cells]))
        return path

    return write


@pytest.fixture
def run(gateway):
    def run(*words):
        words = ["analyze", *map(str, words), "--address", gateway.address]
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, words)

    return run


def test_each_field_gets_a_picture_of_its_cells_and_their_maps(run, gateway, field, tmp_path):
    files = [field("a.png", 2), field("b.png", 0), field("c.png", 5), field("more/a.png", 1)]
    done = run(*files, "--explain", "--picture", tmp_path / "out")
    assert done.exit_code == ExitCode.OK, done.output
    names = {path.name for path in (tmp_path / "out").glob("*.explained.png")}
    assert names == {"a.explained.png", "c.explained.png", "a-2.explained.png"}
    assert "7 pictures" in done.stderr
    with Image.open(tmp_path / "out" / "a.explained.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.ptp(pixels, axis=-1) > 100).any(), "nothing is marked"


def test_what_is_explained_are_the_crops_that_were_named(run, gateway, field, tmp_path):
    done = run(
        field("a.png", 3),
        *("--explain", "--picture", tmp_path),
        *("--model", "vit", "--site-profile", "a-lab"),
    )
    assert done.exit_code == ExitCode.OK, done.output
    _, *cells = gateway.requests
    crops = {encode_crop(flat(40 + index), CropEncoding.PNG) for index in range(3)}
    assert {request.cell.image for request in cells} == crops
    assert not any(request.cell.HasField("box") for request in cells)
    assert {(request.model, request.site_profile) for request in cells} == {("vit", "a-lab")}


def test_the_json_names_the_pictures_and_holds_no_maps(run, field, tmp_path):
    done = run(
        field("a.png", 2),
        field("b.png", 0),
        *("--explain", "--picture", tmp_path / "out", "--json", tmp_path / "r.json"),
    )
    assert done.exit_code == ExitCode.OK, done.output
    one, other = json.loads((tmp_path / "r.json").read_text())["fields"]
    assert one["explanations"] == str(tmp_path / "out" / "a.explained.png")
    assert "explanations" not in other
    assert "heat" not in (tmp_path / "r.json").read_text()


def test_without_explain_nothing_is_explained(run, gateway, field, tmp_path):
    done = run(field("a.png", 2), "--picture", tmp_path / "out", "--json", tmp_path / "r.json")
    assert done.exit_code == ExitCode.OK, done.output
    assert not gateway.explained
    assert not list((tmp_path / "out").glob("*.explained.png"))
    assert "explanations" not in (tmp_path / "r.json").read_text()


def test_without_a_folder_it_says_what_to_do(run, gateway, field):
    done = run(field("a.png", 2), "--explain")
    assert done.exit_code == ExitCode.USAGE
    assert "--picture DIR" in done.output
    assert gateway.smears == 0


def test_a_model_that_cannot_be_explained_is_told_of_before_the_analysis(run, gateway, field, tmp_path):
    gateway.explainable = False
    done = run(field("a.png", 2), "--explain", "--picture", tmp_path / "out", "--model", "plain")
    assert done.exit_code == ExitCode.USAGE
    assert "model: cannot" in done.stderr
    assert "hemaserve models" in done.stderr
    assert gateway.smears == 0


def test_what_was_found_is_not_lost_when_explaining_fails(run, gateway, field, tmp_path):
    gateway.fail_after = 2
    done = run(
        field("a.png", 5), *("--explain", "--picture", tmp_path / "out", "--json", tmp_path / "r.json")
    )
    assert done.exit_code == ExitCode.FAILED
    assert "a network failed" in done.stderr
    assert len(json.loads((tmp_path / "r.json").read_text())["fields"][0]["cells"]) == 5
    assert (tmp_path / "out" / "a.annotated.png").exists()
    assert not list((tmp_path / "out").glob("*.explained.png"))


def test_cells_are_explained_side_by_side_within_a_bound(run, gateway, field, tmp_path):
    done = run(field("a.png", 60), "--explain", "--picture", tmp_path / "out")
    assert done.exit_code == ExitCode.OK, done.output
    assert len(gateway.explained) == 61
    assert gateway.most_at_once <= IN_FLIGHT


def test_a_folder_that_cannot_be_written_is_told(run, field, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(field("a.png", 1), "--explain", "--picture", tmp_path / "file" / "out")
    assert done.exit_code == ExitCode.USAGE
    assert "cannot write" in done.stderr
