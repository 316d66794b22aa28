"""Stacks of the profiles that are not the default one: what they answer, refuse and take."""

import functools
import json
import os
import re
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from hemaserve import synthetic
from hemaserve.cli.exits import ExitCode
from services.stack.profiles import PROFILES, ProfileName
from services.stack.requirements import model_repository

from .conftest import run_command, running_stack, wait_until

pytestmark = pytest.mark.e2e

FIELDS = 24
MOST_BYTES = 300 * 10**6
"""What profile tiny promises: memory of all its processes together, shared pages counted once (PSS), after work."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("tiny"), "--profile", "tiny") as running:
        yield running


@pytest.fixture
def hemaserve(tiny, tmp_path):
    return functools.partial(run_command, tiny, tmp_path)


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    for seed in range(FIELDS):
        image = synthetic.generate_field(seed).image
        (folder / f"{seed:02d}.png").write_bytes(synthetic.encode_png(image))
    return folder


def test_tiny_names_cells_with_its_own_networks_and_stays_below_300_mb(tiny, hemaserve, generated):
    done = hemaserve("analyze", generated, "--json", "-")
    assert done.returncode == ExitCode.OK, done.stderr
    document = json.loads(done.stdout)
    made = PROFILES[ProfileName.TINY]
    assert document["fields_counted"] == FIELDS
    assert sum(len(field["cells"]) for field in document["fields"]) > FIELDS
    assert document["provenance"]["detector"]["name"] == made.detector
    assert document["provenance"]["classifier"]["name"] == made.classifier

    processes = tiny.processes()
    assert [process for process in processes if "tritonserver" in process.name()]
    assert sum(process.memory_full_info().pss for process in processes) < MOST_BYTES


@pytest.mark.parametrize(
    ("flag", "model"), [("--model", "vit"), ("--model", "ensemble"), ("--detector-model", "yolov8n")]
)
def test_tiny_refuses_another_network_and_says_which_profile_would_not(hemaserve, generated, flag, model):
    done = hemaserve("analyze", generated / "00.png", flag, model)
    assert done.returncode not in (ExitCode.OK, ExitCode.UNREACHABLE)
    said = " ".join(done.stderr.split())
    assert f"model '{model}' is not loaded" in said
    assert "profile tiny" in said
    assert "--profile default" in said


def test_tiny_refuses_the_leukemia_screen_and_lists_only_its_own_networks(hemaserve, generated):
    done = hemaserve("analyze", generated / "00.png", "--screen")
    assert done.returncode != ExitCode.OK
    assert "profile tiny" in " ".join(done.stderr.split())
    made = PROFILES[ProfileName.TINY]
    listed = json.loads(hemaserve("models", "--json").stdout)
    assert {model["name"] for model in listed if model["ready"]} == {made.detector, made.classifier}


def test_who_asks_for_a_network_that_is_not_shipped_is_told_how_to_make_it(hemaserve, generated):
    done = hemaserve("analyze", generated / "00.png", "--detector-model", "yolov5x6")
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert "python -m training run yolov5x6 (in a checkout" in " ".join(done.stderr.split())
    assert "yolov5x6" in hemaserve("models").stdout


@pytest.mark.parametrize("model", ["yolov5x6", "yolov8n"])
def test_a_detector_is_no_classifier_that_could_be_made_or_loaded(hemaserve, generated, model):
    done = hemaserve("analyze", generated / "00.png", "--model", model)
    assert done.returncode == ExitCode.USAGE, done.stderr
    said = " ".join(done.stderr.split())
    assert f"no classification model '{model}'; available: xception" in said
    assert "python -m training" not in said
    assert "--profile default" not in said


def test_each_service_of_tiny_has_a_line_an_address_and_metrics_of_its_own(tiny):
    services = tiny.state()["services"]
    lines = (tiny.ready_file.parent / "up.txt").read_text()
    for name, service in services.items():
        assert re.search(rf"^{name} +ready +{re.escape(service['address'])} ", lines, re.MULTILINE)
    assert len({service["pid"] for service in services.values()}) == 1
    assert len({service["metrics_address"] for service in services.values()}) == len(services)


def test_the_services_of_tiny_are_started_again_when_they_are_killed(tiny, hemaserve, generated):
    pid = tiny.pid("gateway")
    below = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: tiny.pid("gateway") not in (pid, None), "the services are ready again")
    wait_until(lambda: hemaserve("health").returncode == ExitCode.OK, "the stack is healthy again")
    assert hemaserve("analyze", generated / "00.png").returncode == ExitCode.OK
    _, alive = psutil.wait_procs(below, timeout=60)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_tritons_death_is_healed_without_the_services_dying(tiny, hemaserve, generated):
    pid = tiny.pid("gateway")
    (server,) = [process for process in tiny.processes() if "tritonserver" in process.name()]
    server.kill()
    wait_until(lambda: hemaserve("health").returncode != ExitCode.OK, "health tells of it")
    wait_until(lambda: hemaserve("health").returncode == ExitCode.OK, "the stack is healthy again")
    assert tiny.pid("gateway") == pid
    assert hemaserve("analyze", generated / "00.png").returncode == ExitCode.OK


@pytest.mark.slow  # starts a stack of its own
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_of_tiny_stays_behind(tmp_path, number):
    with running_stack(tmp_path, "--profile", "tiny") as running:
        processes = running.processes()
        assert len(processes) >= 5
        running.process.send_signal(number)
        status = running.process.wait(120)
        _, alive = psutil.wait_procs(processes[1:], timeout=60)
        assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
        assert status == (0 if number == signal.SIGINT else -number)


@pytest.mark.slow  # starts a stack of its own, with many processes
def test_full_has_all_networks_of_its_repository_ready_at_the_start(tmp_path):
    made = PROFILES[ProfileName.FULL]
    names = {made.classifier, *made.members, "vote", made.detector, "yolov5n", "leukemia_cell"}
    for name in names:
        shutil.copytree(model_repository() / name, tmp_path / "repository" / name)
    with running_stack(
        tmp_path, "--profile", "full", "--model-repository", tmp_path / "repository"
    ) as running:
        listed = json.loads(run_command(running, tmp_path, "models", "--json").stdout)
    assert {model["name"] for model in listed if model["ready"]} == names - {"vote"}
