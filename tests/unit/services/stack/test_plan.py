"""Which processes each profile's stack is made of, where they listen and what they are told."""

import json
import socket
from pathlib import Path

import pytest
from pydantic_settings import CliApp

from hemaserve.access import Access, to_text
from hemaserve.cli.options import StackProfile
from services.classifier.settings import ClassifierSettings
from services.detector.settings import DetectorSettings
from services.gateway.settings import GatewaySettings
from services.stack.access import check_access, check_rollout
from services.stack.plan import plan
from services.stack.profiles import PROFILES, SERVICES, TRITON, ProfileName
from services.stack.requirements import CannotRun, model_repository
from services.stack.settings import StackSettings
from services.triton.settings import TritonSettings, split_names

CLASSES = {
    "triton": TritonSettings,
    "detector": DetectorSettings,
    "classifier": ClassifierSettings,
    "gateway": GatewaySettings,
}
profiles = pytest.mark.parametrize("profile", ProfileName)


def parts_of(processes):
    return {part.name: part for process in processes for part in process.parts}


def told(processes, name):
    """The settings that a part reads from the environment it is given, the way it reads them."""
    prefix = f"HEMASERVE_{name.upper()}_"
    return {
        key.removeprefix(prefix): value
        for process in processes
        for key, value in process.environment.items()
        if key.startswith(prefix)
    }


@profiles
def test_every_part_has_addresses_of_its_own_and_knows_those_it_calls(profile):
    processes = plan(StackSettings(address="127.0.0.1:50099", profile=profile))
    parts = parts_of(processes)
    assert set(parts) == set(CLASSES)
    addresses = [address for part in parts.values() for address in (part.address, part.metrics_address)]
    assert len(set(addresses)) == len(addresses)
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    gateway = told(processes, "gateway")
    assert gateway["LISTEN"] == "127.0.0.1:50099"
    assert gateway["DETECTOR_ADDRESS"] == parts["detector"].address == told(processes, "detector")["LISTEN"]
    assert gateway["CLASSIFIER_ADDRESS"] == parts["classifier"].address
    for name in ("detector", "classifier"):
        assert told(processes, name)["TRITON_ADDRESS"] == parts["triton"].address


def test_no_outgoing_connection_can_take_a_part_s_port_before_it_listens():
    reserved = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for part in parts_of(plan(StackSettings(address="127.0.0.1:50051", replicas=2))).values():
        ports = {int(where.rpartition(":")[2]) for where in (part.address, part.metrics_address)}
        assert max(ports - {50051}) < reserved


def test_ports_that_others_listen_on_are_left_alone(monkeypatch):
    with socket.socket() as taken, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        taken.bind(("127.0.0.1", 0))
        ports = [taken.getsockname()[1], probe.getsockname()[1], *range(25_000, 25_100)]
        monkeypatch.setattr("services.stack.plan._OWN_PORTS", ports)
        monkeypatch.setattr("random.sample", lambda found, _: found)
        made = parts_of(plan(StackSettings(address="127.0.0.1:50051")))
    used = {part.metrics_address for part in made.values()} | {part.address for part in made.values()}
    assert not {f"127.0.0.1:{port}" for port in ports[:2]} & used


@profiles
def test_the_parts_understand_what_they_are_told(profile, monkeypatch):
    processes = plan(StackSettings(profile=profile))
    for process in processes:
        for name, value in process.environment.items():
            monkeypatch.setenv(name, value)
    for name, settings_class in CLASSES.items():
        for key in told(processes, name):
            assert key.lower() in settings_class.model_fields, key
    expected = PROFILES[profile]
    assert DetectorSettings().default_model == expected.detector
    assert ClassifierSettings().default_model == expected.classifier
    assert ClassifierSettings().default_members == expected.members
    assert DetectorSettings().load_on_request == ClassifierSettings().load_on_request
    assert ClassifierSettings().load_on_request == expected.load_on_request
    assert DetectorSettings().stack_profile == profile
    assert TritonSettings().models == expected.models
    assert TritonSettings().config_name == expected.triton_config
    assert TritonSettings().lean == expected.lean


@profiles
def test_a_profile_loads_what_it_answers_with_from_networks_that_are_there(profile):
    made = PROFILES[profile]
    there = {path.parent.name for path in model_repository().glob("*/config.pbtxt")}
    assert {made.detector, made.classifier, *made.members, *made.models} <= there
    assert not made.models or {made.detector, made.classifier} <= set(made.models)
    for name in (made.detector, made.classifier):
        assert (model_repository() / name / "configs" / f"{made.triton_config}.pbtxt").is_file()


@profiles
def test_every_part_runs_once_and_behind_those_whom_it_calls(profile):
    order = [part for group in PROFILES[profile].processes for part in group]
    assert order == [TRITON, *SERVICES]


def test_the_default_profile_is_what_the_services_do_by_themselves():
    made = PROFILES[StackSettings().profile]
    assert made.name == ProfileName.DEFAULT
    assert made.models == (ClassifierSettings().default_model, DetectorSettings().default_model)
    assert made.members == ClassifierSettings().default_members
    assert made.triton_config == TritonSettings().config_name


def test_tiny_is_one_process_and_refuses_what_it_did_not_load():
    (process,) = plan(StackSettings(profile="tiny", drain_grace_s=2))
    assert process.address == parts_of([process])["gateway"].address
    assert process.stop_timeout_s > 4 * 2
    assert not PROFILES[ProfileName.TINY].load_on_request


def test_the_command_knows_the_profiles_that_there_are():
    assert [profile.value for profile in StackProfile] == [profile.value for profile in ProfileName]


@pytest.mark.parametrize("profile", ["tiny", "default"])
@pytest.mark.parametrize("models", ["", "vit,yolov5n"])
def test_networks_that_are_named_are_loaded_in_place_of_the_profiles(profile, models):
    settings = CliApp.run(StackSettings, cli_args=["--profile", profile, "--models", models])
    triton = told(plan(settings), "triton")
    assert split_names(triton["MODELS"]) == split_names(models)
    assert triton["CONFIG_NAME"] == PROFILES[settings.profile].triton_config


@profiles
def test_a_triton_that_runs_already_is_used(profile):
    processes = plan(StackSettings(triton="127.0.0.1:8001", profile=profile))
    assert set(parts_of(processes)) == set(SERVICES)
    assert all("triton" not in process.command for process in processes)
    for name in ("detector", "classifier"):
        assert told(processes, name)["TRITON_ADDRESS"] == "127.0.0.1:8001"


def test_members_survive_their_way_through_the_environment():
    assert json.loads(told(plan(StackSettings()), "classifier")["DEFAULT_MEMBERS"]) == list(
        PROFILES[ProfileName.DEFAULT].members
    )


def test_a_secured_stack_tells_its_gateways_who_may_call_and_divides_the_quotas(tmp_path):
    settings = StackSettings(access=tmp_path / "access.json", log_dir=tmp_path / "logs", replicas=2)
    gateways = [found for process in plan(settings) if (found := told([process], "gateway"))]
    assert len(gateways) == 2
    for gateway in gateways:
        assert gateway["ACCESS"] == str(tmp_path / "access.json")
        assert gateway["AUDIT_LOG"] == str(tmp_path / "logs" / "audit.jsonl")
        assert float(gateway["QUOTA_SHARE"]) == 0.5
    assert "ACCESS" not in told(plan(StackSettings()), "gateway")


def test_a_stack_whose_access_file_is_of_no_use_does_not_start(tmp_path):
    path = tmp_path / "access.json"
    with pytest.raises(CannotRun, match="hemaserve keys add"):
        check_access(StackSettings(access=path))
    path.write_text("{}")
    with pytest.raises(CannotRun, match="format"):
        check_access(StackSettings(access=path))
    path.write_text(to_text(Access()))
    check_access(StackSettings(access=path))


def test_the_gateway_is_told_of_the_rollout_file(tmp_path):
    settings = StackSettings(rollout=tmp_path / "rollout.json")
    assert told(plan(settings), "gateway")["ROLLOUT"] == str(tmp_path / "rollout.json")
    assert "ROLLOUT" not in told(plan(StackSettings()), "gateway")


def test_a_stack_whose_rollout_file_is_of_no_use_does_not_start(tmp_path):
    path = tmp_path / "rollout.json"
    with pytest.raises(CannotRun, match="No such file"):
        check_rollout(StackSettings(rollout=path))
    path.write_text("{}")
    with pytest.raises(CannotRun, match="format"):
        check_rollout(StackSettings(rollout=path))
    path.write_text('{"format": "hemaserve.rollout.v1"}')
    check_rollout(StackSettings(rollout=path))
    check_rollout(StackSettings())


def test_a_stack_that_strangers_can_reach_asks_who_calls(tmp_path):
    open_to_all = {"address": "0.0.0.0:50051", "tls": tmp_path, "client_certificates": False}
    with pytest.raises(CannotRun, match="anybody could call"):
        check_access(StackSettings(**open_to_all))
    check_access(StackSettings(**open_to_all | {"client_certificates": True}))
    check_access(StackSettings(**open_to_all | {"address": "127.0.0.1:50051"}))


@profiles
def test_replicas_have_addresses_of_their_own_and_know_all_of_those_whom_they_call(profile):
    processes = plan(StackSettings(address="127.0.0.1:50099", profile=profile, replicas=3))
    parts = [part for process in processes for part in process.parts]
    assert len({part.address for part in parts} | {part.metrics_address for part in parts}) == 2 * len(parts)
    assert len({process.name for process in processes}) == len(processes)
    by_name = {name: [part for part in parts if part.name == name] for name in CLASSES}
    assert all([part.replica for part in each] == [1, 2, 3] for each in by_name.values())
    assert by_name["gateway"][0].address == "127.0.0.1:50099"
    known = {name: ",".join(part.address for part in each) for name, each in by_name.items()}
    for process in processes:
        for key, name in (
            ("HEMASERVE_GATEWAY_DETECTOR_ADDRESS", "detector"),
            ("HEMASERVE_GATEWAY_CLASSIFIER_ADDRESS", "classifier"),
            ("HEMASERVE_DETECTOR_TRITON_ADDRESS", "triton"),
            ("HEMASERVE_CLASSIFIER_TRITON_ADDRESS", "triton"),
        ):
            assert process.environment.get(key, known[name]) == known[name]


def test_gateways_at_a_name_cannot_be_told_apart():
    with pytest.raises(ValueError, match="IP"):
        StackSettings(address="localhost:50099", replicas=2)
