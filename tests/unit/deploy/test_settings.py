"""What services are told is what they understand, and fits the pods that they run in."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from hemaserve.unshipped import UNSHIPPED
from services.runtime.addresses import is_loopback
from services.stack.profiles import PROFILES, ProfileName
from services.triton.command import Ports, command_line
from services.triton.settings import TritonSettings
from services.triton.wheel import TritonWheel

from .reading import SETTINGS, TRITONS, Deployed, quantity

ROOT = Path(__file__).parents[3]
REPOSITORY = ROOT / "model_repository"
PROFILE = PROFILES[ProfileName.DEFAULT]

every_service = pytest.mark.parametrize("service", SETTINGS)
every_triton = pytest.mark.parametrize("triton", TRITONS)


def merge(deployed: Deployed, service: str, **told: str) -> None:
    for name, one in deployed.of("ConfigMap").items():
        if name.startswith(f"{service}-settings"):
            one["data"] |= told


@every_service
def test_every_setting_is_known_and_means_something(deployed, service):
    assert deployed.settings(service).tls is not None


def test_a_setting_that_nobody_knows_is_found(broken):
    wrong = broken(lambda one: merge(one, "detector", HEMASERVE_DETECTOR_TRITON_ADRESS="dns:///triton:8001"))
    with pytest.raises(ValueError, match="detector knows no HEMASERVE_DETECTOR_TRITON_ADRESS"):
        wrong.settings("detector")


def test_a_setting_of_another_service_is_found(broken):
    wrong = broken(lambda one: merge(one, "detector", HEMASERVE_CLASSIFIER_LISTEN="0.0.0.0:1"))
    with pytest.raises(ValueError, match="detector knows no HEMASERVE_CLASSIFIER_LISTEN"):
        wrong.settings("detector")


def test_a_value_that_is_not_allowed_is_found(broken):
    wrong = broken(lambda one: merge(one, "gateway", HEMASERVE_GATEWAY_DRAIN_DELAY_S="soon"))
    with pytest.raises(ValidationError, match="drain_delay_s"):
        wrong.settings("gateway")


@every_service
def test_the_base_by_itself_is_not_open_to_anybody(base, service):
    with pytest.raises(ValidationError, match="which other machines can reach, without TLS"):
        base.settings(service)


def test_a_gateway_with_tls_that_asks_nobody_who_calls_does_not_start(broken):
    def open_up(deployed):
        for name, one in deployed.of("ConfigMap").items():
            if name.startswith("gateway-settings"):
                del one["data"]["HEMASERVE_GATEWAY_ACCESS"]

    with pytest.raises(ValidationError, match="anybody there could call"):
        broken(open_up).settings("gateway")


@every_service
def test_ports_are_those_that_services_listen_on(deployed, service):
    settings = deployed.settings(service)
    listening = {
        "grpc": settings.listen,
        "metrics": settings.metrics_listen,
        "health": settings.health_listen,
    }
    assert not any(is_loopback(address) for address in listening.values())
    assert deployed.port_names[service] == {
        name: int(address.rpartition(":")[2]) for name, address in listening.items()
    }


@every_triton
def test_ports_of_triton_are_those_of_its_options_and_http_is_for_its_pod_alone(deployed, triton):
    options = deployed.options(triton)
    assert deployed.port_names[triton] == {
        "grpc": int(options["grpc-port"]),
        "metrics": int(options["metrics-port"]),
    }
    assert is_loopback(f"{options['http-address']}:{options['http-port']}")
    assert options["grpc-address"] == options["metrics-address"] == "0.0.0.0"


@every_service
def test_a_pod_is_given_the_time_that_its_drain_takes(deployed, service):
    settings = deployed.settings(service)
    assert settings.drain_delay_s > 0, "callers would not have heard of it"
    needed = settings.drain_delay_s + settings.drain_grace_s
    assert needed + 5 <= deployed.pod(service)["terminationGracePeriodSeconds"] <= needed + 30
    assert "lifecycle" not in deployed.container(service), "the service waits by itself"


@every_triton
def test_triton_is_told_late_and_given_the_time_of_what_is_in_flight(deployed, triton):
    wait_s = deployed.container(triton)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = wait_s + int(deployed.options(triton)["exit-timeout-secs"])
    caller = deployed.settings(TRITONS[triton])
    assert wait_s >= caller.health_interval_s
    assert needed + 5 <= deployed.pod(triton)["terminationGracePeriodSeconds"] <= needed + 30


def test_services_are_those_of_the_profile(deployed):
    detector, classifier = deployed.settings("detector"), deployed.settings("classifier")
    assert (detector.default_model, classifier.default_model) == (PROFILE.detector, PROFILE.classifier)
    assert classifier.default_members == PROFILE.members
    assert {detector.stack_profile, classifier.stack_profile} == {PROFILE.name}
    assert detector.load_on_request is classifier.load_on_request is PROFILE.load_on_request


def task(model: Path) -> str:
    return re.search(r'key: "task" value: { string_value: "(\w+)" }', (model / "config.pbtxt").read_text())[1]


def copied(deployed: Deployed, triton: str) -> set[str]:
    (first, *_) = deployed.pod(triton)["initContainers"]
    assert first["command"] == ["cp", "--recursive", "--target-directory=/repository"]
    return {Path(word).name for word in first["args"]}


def test_every_network_is_in_the_triton_of_its_role_and_in_no_other(deployed):
    models = {path.name: task(path) for path in REPOSITORY.iterdir() if path.name not in UNSHIPPED}
    assert copied(deployed, "triton-detection") == {name for name in models if models[name] == "detection"}
    assert copied(deployed, "triton-classification") == {
        name for name in models if models[name] != "detection"
    }


def test_the_networks_of_the_profile_are_loaded_at_the_start_each_in_its_role(deployed):
    loaded = {triton: deployed.options(triton)["load-model"] for triton in TRITONS}
    assert loaded == {"triton-detection": PROFILE.detector, "triton-classification": PROFILE.classifier}
    assert set(loaded.values()) == set(PROFILE.models)


def test_triton_takes_the_configuration_of_its_hardware(deployed, overlay):
    hardware = "gpu" if overlay == "gpu-production" else "cpu"
    for triton in TRITONS:
        assert deployed.options(triton)["model-config-name"] == hardware
        needs = deployed.container(triton)["resources"]["limits"]
        assert ("nvidia.com/gpu" in needs) is (hardware == "gpu")
        for model in copied(deployed, triton):
            assert (REPOSITORY / model / "configs" / f"{hardware}.pbtxt").is_file()


@every_triton
def test_networks_are_verified_between_copying_and_loading(deployed, triton):
    copy, verify = deployed.pod(triton)["initContainers"]
    assert verify["command"] == ["python", "-m", "services.triton.verify", "/repository"]
    assert verify["image"].partition(":")[0] == f"hemaserve/{TRITONS[triton]}"
    mounted = [one["volumeMounts"] for one in (copy, verify, deployed.container(triton))]
    by_path = [{mount["mountPath"]: mount for mount in mounts}["/repository"] for mounts in mounted]
    assert [mount.get("readOnly", False) for mount in by_path] == [False, True, True]
    assert {mount["name"] for mount in by_path} == {"repository"}


@every_triton
def test_triton_is_started_as_the_embedded_one_is(deployed, triton):
    """What is not about places, ports, the wheel or the machine is the same."""
    wheel = TritonWheel("", Path("tritonserver"), Path(), Path(), ())
    settings = TritonSettings(models=("any",), stop_timeout_s=30)
    words = command_line(wheel, settings, Ports(8001, 8000, 8002), backends=Path("/b"), server_id="x")
    embedded = {
        name: value for name, _, value in (word.removeprefix("--").partition("=") for word in words[1:])
    }
    elsewhere = {
        *("id", "model-repository", "model-config-name", "load-model", "backend-directory", "backend-config"),
        *("grpc-address", "metrics-address", "model-load-thread-count", "allow-gpu-metrics"),
        *("pinned-memory-pool-byte-size", "log-verbose"),
    }
    for name in embedded.keys() - elsewhere:
        assert deployed.options(triton).get(name) == embedded[name], name


def held_bytes(deployed: Deployed, service: str) -> float:
    """The most that callers can make a service hold at one time, in bytes."""
    told = deployed.settings(service)
    if service == "gateway":
        images = 1.25 * told.streams_at_once + told.fields_waiting + told.fields_at_once + 1
        return images * told.max_image_bytes
    # A field in pixels, its file, and what an ensemble's crops take on their way.
    field = 3 * told.max_image_pixels + told.max_image_bytes
    crops = 160_000 * getattr(told, "crops_at_once", 0)
    return told.fields_at_once * field + told.fields_waiting * told.max_image_bytes + crops


@every_service
def test_what_a_service_may_hold_fits_into_its_memory(deployed, service, footprint):
    limit = quantity(deployed.container(service)["resources"]["limits"]["memory"])
    own = footprint[service] * 2**20
    assert own + held_bytes(deployed, service) < limit


def test_more_than_fits_into_the_memory_is_found(broken):
    wrong = broken(lambda one: merge(one, "gateway", HEMASERVE_GATEWAY_STREAMS_AT_ONCE="128"))
    limit = quantity(wrong.container("gateway")["resources"]["limits"]["memory"])
    assert held_bytes(wrong, "gateway") > limit


def test_quotas_are_shared_by_as_many_replicas_as_there_are_at_least(deployed):
    deployment = deployed.of("Deployment")["gateway"]["spec"]
    scaled = deployed.of("ScaledObject").get("gateway")
    least = deployment["replicas"] if scaled is None else scaled["spec"]["minReplicaCount"]
    assert deployed.settings("gateway").quota_share == pytest.approx(1 / least)
