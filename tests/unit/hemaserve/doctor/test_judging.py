"""What is made of what was found: pure, and never silent about what is wrong."""

import time
from dataclasses import replace

import pytest

from hemaserve.cells import Kind
from hemaserve.cli.doctor import exit_code
from hemaserve.cli.exits import ExitCode
from hemaserve.client import QuotaLeft
from hemaserve.client.quota import quota_left
from hemaserve.doctor import service
from hemaserve.doctor.figures import judge, samples
from hemaserve.doctor.findings import Check, State, note, skipped, well, wrong
from hemaserve.doctor.models import committed, judge_models, judge_rollouts
from hemaserve.results import Model, ModelSource, ModelTask, Rollout

COMMITTED = {"yolo": "d" * 64, "vit": "c" * 64}


def model(name: str, task: ModelTask = ModelTask.CLASSIFICATION, sha256: str = "", **changes) -> Model:
    plain = Model(
        name=name,
        title=name,
        task=task,
        source=ModelSource(name, "1", sha256 or COMMITTED.get(name, "0" * 64)),
        ready=True,
        is_default=False,
        input_size_px=96,
        leaf_types=(),
        kinds=(),
        members=(),
        crop_margin=0.15,
        licence="Apache-2.0",
    )
    return replace(plain, **changes)


YOLO = model("yolo", ModelTask.DETECTION, is_default=True)
VIT = model("vit", is_default=True)


def states(findings) -> list[State]:
    return [finding.state for finding in findings]


def the_wrong(findings) -> str:
    (finding,) = [finding for finding in findings if finding.state is State.WRONG]
    assert finding.why
    assert finding.to_do
    return finding.what


def test_the_committed_networks_are_well():
    unloaded = model("resnet50", ready=False, on_request=True)
    assert states(judge_models([YOLO, VIT, unloaded], COMMITTED)) == [State.WELL]


def test_another_file_under_a_networks_name_is_wrong():
    said = the_wrong(judge_models([YOLO, replace(VIT, source=ModelSource("vit", "1", "e" * 64))], COMMITTED))
    assert "eeeeeeeeeeee" in said
    assert "cccccccccccc" in said


def test_a_network_of_ones_own_is_told_and_is_not_wrong():
    assert states(judge_models([YOLO, VIT, model("mine")], COMMITTED)) == [State.NOTE, State.WELL]


@pytest.mark.parametrize(("models", "missing"), [([VIT], "detector"), ([YOLO], "classifier")])
def test_a_missing_default_is_wrong(models, missing):
    assert f"no {missing} is ready" in the_wrong(judge_models(models, COMMITTED))


def test_a_network_that_is_not_ready_is_wrong():
    assert "not ready: other" in the_wrong(
        judge_models([YOLO, VIT, model("other", ready=False)], COMMITTED | {"other": "0" * 64})
    )


def test_the_digests_to_compare_with_are_there():
    assert {"ensemble", "xception", "yolov8n"} <= committed().keys()


def test_rollouts_are_told_and_a_missing_version_is_wrong():
    rolling = replace(VIT, rollout=Rollout("vit", "vit-2", 0.1, 1.0))
    (told,) = judge_rollouts([YOLO, rolling])
    assert (told.state, told.check) == (State.WELL, Check.ROLLOUT)
    assert "vit-2 for 0.1 of the smears" in told.what
    gone = replace(VIT, rollout=Rollout("vit", "vit-2", 0.1, 1.0, missing=("vit-2",)))
    assert "vit-2" in the_wrong(judge_rollouts([gone]))
    assert list(judge_rollouts([YOLO, VIT])) == []


def test_a_quota_is_read_as_the_gateway_writes_it():
    metadata = [
        ("ratelimit-policy", '"requests";q=600;w=60, "fields";q=120;w=60'),
        ("ratelimit", '"requests";r=599;t=1, "fields";r=11;t=55'),
        ("grpc-status-details-bin", b"\0"),
    ]
    assert quota_left(metadata) == (QuotaLeft("requests", 599, 600), QuotaLeft("fields", 11, 120))
    assert quota_left([]) == ()
    assert service.judge_quota(quota_left(metadata)).state is State.NOTE
    assert service.judge_quota([QuotaLeft("fields", 100, 120)]).state is State.WELL
    assert service.judge_quota(()).state is State.WELL


def test_an_answer_in_time_is_well_and_a_late_one_is_told():
    assert service.judge_time(0.5, 0.5).state is State.WELL
    assert service.judge_time(0.51, 0.5).state is State.NOTE


def test_another_version_of_the_gateway_is_told():
    assert service.examine_version("0.0.1").state is State.NOTE


def test_the_known_field_has_white_cells_of_known_types():
    white = [cell for cell in service.known_field().cells if cell.kind is Kind.WBC]
    assert len(white) == service.WHITE_CELLS
    assert all(cell.cell_type is not None for cell in white)


FIGURES = """\
# HELP hemaserve_ready 1 while the service says SERVING, otherwise 0.
# TYPE hemaserve_ready gauge
hemaserve_ready 1.0
hemaserve_rpc_handled_total{code="OK",method="/hemaserve.v1.SmearService/ListModels"} 3.0
hemaserve_rpc_duration_seconds_bucket{le="+Inf",method="/x"} 3.0 # {trace_id="abc"} 0.1
hemaserve_rollout_file_usable 0.0
hemaserve_tls_reload_failures_total 2.0
"""


def test_figures_are_read_from_prometheus_text():
    found = samples(FIGURES)
    assert found["hemaserve_ready"] == (1.0,)
    assert found["hemaserve_rpc_duration_seconds_bucket"] == (3.0,)
    assert len(found) == 5


def test_figures_of_broken_files_and_ending_certificates_are_told():
    soon = {"hemaserve_tls_certificate_expiry_timestamp_seconds": (time.time() + 86_400,)}
    found = list(judge("http://gateway/metrics", {**samples(FIGURES), **soon}))
    assert states(found) == [State.NOTE, State.NOTE, State.WRONG]
    assert "1.0 days" in found[0].what
    assert "rollout file" in found[2].what
    assert list(judge("http://gateway/metrics", {"hemaserve_rollout_file_usable": (1.0,)})) == []


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([well(Check.HEALTH, "x"), note(Check.TIME, "x", "y", "z")], ExitCode.OK),
        ([wrong(Check.HEALTH, "x", "y", "z")], ExitCode.INCOMPLETE),
        ([wrong(Check.TLS, "x", "y", "z"), well(Check.HEALTH, "x")], ExitCode.INCOMPLETE),
        ([wrong(Check.TLS, "x", "y", "z")], ExitCode.UNREACHABLE),
        ([wrong(Check.REACH, "x", "y", "z"), well(Check.METRICS, "x")], ExitCode.UNREACHABLE),
        ([well(Check.HEALTH, "x"), wrong(Check.ACCESS, "x", "y", "z")], ExitCode.DENIED),
        ([skipped(Check.ANSWER, "x")], ExitCode.OK),
    ],
)
def test_scripts_can_branch_on_the_exit_code(findings, code):
    assert exit_code(findings) is code
