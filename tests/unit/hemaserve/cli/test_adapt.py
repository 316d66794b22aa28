"""`hemaserve adapt` and `hemaserve profiles`, against a gateway that knows what was drawn into its fields."""

import hashlib
import json
from concurrent import futures
from datetime import UTC, datetime

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from PIL import Image
from typer.testing import CliRunner

from hemaserve import synthetic
from hemaserve.cli import app
from hemaserve.cli.exits import ExitCode
from hemaserve.site_colours import reference_anchors
from hemaserve.site_profile import DENSITY, from_json
from hemaserve.v1 import cells_pb2, gateway_pb2, gateway_pb2_grpc

FIELDS = 6


class KnowingGateway(gateway_pb2_grpc.SmearServiceServicer):
    """Detects what was drawn, and refuses what it does not know."""

    def __init__(self):
        self.fields = {}
        self.asked = 0
        self.served_profiles = []

    def knows(self, field) -> bytes:
        data = synthetic.encode_png(field.image)
        self.fields[hashlib.sha256(data).digest()] = field
        return data

    def DetectCells(self, request, context):
        self.asked += 1
        field = self.fields.get(hashlib.sha256(request.field.image).digest())
        if field is None:
            context.abort_with_status(rpc_status.to_status(_unreadable()))
        wanted = {cells_pb2.CellKind.Name(kind).removeprefix("CELL_KIND_") for kind in request.kinds}
        return gateway_pb2.DetectCellsResponse(
            width_px=640,
            height_px=480,
            detections=[
                cells_pb2.Detection(
                    cell_id=str(index),
                    kind=cells_pb2.CellKind.Value(f"CELL_KIND_{cell.kind.name}"),
                    box=cells_pb2.Box(
                        x0_px=cell.box.x0, y0_px=cell.box.y0, x1_px=cell.box.x1, y1_px=cell.box.y1
                    ),
                )
                for index, cell in enumerate(field.cells)
                if cell.kind.name in wanted
            ],
        )

    def ListSiteProfiles(self, request, context):
        return gateway_pb2.ListSiteProfilesResponse(site_profiles=self.served_profiles)


def _unreadable():
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="field.image: not an image")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="IMAGE_UNREADABLE", domain="hemaserve"))
    return status


@pytest.fixture(scope="module")
def drawn():
    return [synthetic.generate_field(seed, white_cells=4, stain="wright") for seed in range(FIELDS)]


@pytest.fixture
def gateway():
    gateway = KnowingGateway()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    gateway_pb2_grpc.add_SmearServiceServicer_to_server(gateway, server)
    gateway.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield gateway
    server.stop(None)


@pytest.fixture
def folder(tmp_path, gateway, drawn):
    """Fields below a folder, at several depths."""
    folder = tmp_path / "fields"
    for number, field in enumerate(drawn):
        path = folder / f"slide [{number % 2}]" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gateway.knows(field))
    return folder


@pytest.fixture
def run(gateway, tmp_path):
    def run(*words):
        words = [*map(str, words), "--address", gateway.address]
        if words[0] == "adapt" and "--profiles" not in words:
            words += ["--profiles", str(tmp_path / "profiles")]
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, words)

    return run


def test_a_profile_and_a_picture_are_written_and_explained(run, folder, tmp_path):
    done = run("adapt", folder, "--name", "a-lab")
    assert done.exit_code == ExitCode.OK, done.output
    profile = from_json((tmp_path / "profiles/a-lab.json").read_bytes())
    assert (profile.name, profile.fields, profile.white_cells) == ("a-lab", FIELDS, 4 * FIELDS)
    assert (datetime.now(UTC) - profile.created_at).total_seconds() < 300
    with Image.open(tmp_path / "profiles/a-lab.png") as picture:
        assert picture.width > picture.height > 200
    assert sorted(path.name for path in (tmp_path / "profiles").iterdir()) == ["a-lab.json", "a-lab.png"]
    for words in (
        "6 fields, 24 white cells",
        "Background",
        "Nuclei",
        "--site-profile a-lab",
        "evaluate fields",
    ):
        assert words in done.stdout
    assert "a-lab.png" in done.stdout


def test_the_background_of_the_laboratory_becomes_that_of_the_reference(run, folder, tmp_path, drawn):
    run("adapt", folder, "--name", "a-lab")
    correction = from_json((tmp_path / "profiles/a-lab.json").read_bytes()).correction
    lightest = np.quantile(np.stack([DENSITY[field.image] for field in drawn]).reshape(-1, 3), 0.2, axis=0)
    found = np.array(correction.matrix) @ lightest + np.array(correction.offset)
    assert np.abs(found - np.array(reference_anchors().background)).max() < 0.1


def test_it_says_when_the_stack_reads_another_folder(run, folder, gateway, tmp_path):
    assert (
        f"hemaserve up --profiles {tmp_path / 'profiles'}" in run("adapt", folder, "--name", "a-lab").stdout
    )
    gateway.served_profiles = [cells_pb2.SiteProfile(name="a-lab")]
    assert "hemaserve up" not in run("adapt", folder, "--name", "a-lab", "--force").stdout


def test_bad_files_are_listed_and_left_out(run, folder, tmp_path):
    (folder / "notes.png").write_text("no image")
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    done = run("adapt", folder, "--name", "a-lab")
    assert done.exit_code == ExitCode.INCOMPLETE, done.output
    assert "notes.png: field.image: not an image" in done.output
    assert from_json((tmp_path / "profiles/a-lab.json").read_bytes()).fields == FIELDS


def test_a_profile_is_overwritten_only_when_told(run, folder, gateway, tmp_path):
    path = tmp_path / "profiles/a-lab.json"
    path.parent.mkdir()
    path.write_text("precious")
    refused = run("adapt", folder, "--name", "a-lab")
    assert refused.exit_code == ExitCode.USAGE
    assert "--force" in refused.output
    assert (path.read_text(), gateway.asked) == ("precious", 0)
    assert run("adapt", folder, "--name", "a-lab", "--force").exit_code == ExitCode.OK
    assert from_json(path.read_bytes()).name == "a-lab"


def test_fields_of_several_laboratories_are_noted(run, folder, gateway):
    note = "the background differs much"
    assert note not in run("adapt", folder, "--name", "one").stdout
    for seed in range(3):
        other = synthetic.generate_field(seed, white_cells=4, stain="may-gruenwald-giemsa")
        (folder / f"other-{seed}.png").write_bytes(gateway.knows(other))
    done = run("adapt", folder, "--name", "two")
    assert (done.exit_code, note in done.stdout) == (ExitCode.OK, True)


def test_a_limit_spreads_over_all_fields(run, folder, gateway):
    done = run("adapt", folder, "--name", "a-lab", "--limit", "5")
    assert (done.exit_code, gateway.asked) == (ExitCode.OK, 5)


def test_too_few_cells_are_an_error_that_says_what_is_needed(run, folder, tmp_path):
    done = run("adapt", folder, "--name", "a-lab", "--limit", "2")
    assert done.exit_code == ExitCode.USAGE
    assert "too few cells: 8 white" in done.output
    assert "needed are 20 white" in done.output
    assert not list((tmp_path / "profiles").iterdir())


@pytest.mark.parametrize("name", ["../x", "A Lab", "", "x" * 65])
def test_a_bad_name_is_a_wrong_argument(run, folder, gateway, name):
    done = run("adapt", folder, "--name", name)
    assert (done.exit_code, gateway.asked) == (ExitCode.USAGE, 0)
    assert "a letter or digit first" in done.output


def test_no_images_and_no_stack_are_said(run, tmp_path, folder, gateway):
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run("adapt", empty, "--name", "a-lab")
    assert (done.exit_code, "no image below" in done.output) == (ExitCode.USAGE, True)
    gateway.address = "127.0.0.1:1"
    done = run("adapt", folder, "--name", "a-lab")
    assert (done.exit_code, "hemaserve up" in done.output) == (ExitCode.UNREACHABLE, True)


def test_a_folder_that_cannot_be_written_is_said_before_the_work(run, folder, gateway, tmp_path):
    (tmp_path / "file").write_text("a file")
    done = run("adapt", folder, "--name", "a-lab", "--profiles", tmp_path / "file" / "profiles")
    assert (done.exit_code, gateway.asked) == (ExitCode.USAGE, 0)
    assert "cannot write there" in done.output


def test_profiles_are_listed_as_a_table_and_as_json(run, gateway):
    assert "hemaserve adapt" in run("profiles").stdout
    profile = cells_pb2.SiteProfile(name="a-lab", sha256="ab" * 32, fields=12, white_cells=34)
    profile.created_at.FromSeconds(1_795_251_600)
    gateway.served_profiles = [profile]
    assert "2026-11-21 09:00 UTC" in run("profiles").stdout
    assert json.loads(run("profiles", "--json").stdout)[0]["name"] == "a-lab"


def test_an_unknown_profile_is_said_before_any_field_is_sent(run, folder, gateway):
    gateway.served_profiles = [cells_pb2.SiteProfile(name="a-lab")]
    done = run("analyze", folder / "slide [0]", "--site-profile", "b-lab")
    assert done.exit_code == ExitCode.USAGE
    assert "no site profile 'b-lab'; there are: a-lab" in done.output
