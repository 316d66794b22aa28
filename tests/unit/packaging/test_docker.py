"""The Dockerfile and the compose file: their rules, and their names held against the code."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from services.classifier.settings import ClassifierSettings
from services.detector.settings import DetectorSettings
from services.gateway.settings import GatewaySettings
from services.triton.settings import TritonSettings
from services.triton.wheel import CONTAINER_IMAGE

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
COMPOSE = yaml.safe_load((ROOT / "deploy" / "docker" / "compose.yaml").read_text())
SETTINGS = {
    "gateway": GatewaySettings,
    "detector": DetectorSettings,
    "classifier": ClassifierSettings,
    "triton": TritonSettings,
}


def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile, by its name."""
    parts = re.split(r"^FROM \S+ AS (\S+)\n", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def read(kind: type, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> object:
    """The settings that a container makes of its environment; a variable that none of them knows fails."""
    prefix = kind.model_config["env_prefix"]
    for name, value in environment.items():
        assert name.startswith(prefix), name
        assert name.removeprefix(prefix).lower() in kind.model_fields, name
        monkeypatch.setenv(name, value)
    return kind()


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert hadolint is not None
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["gateway", "detector", "classifier", "triton-embedded"])
def test_an_image_starts_its_service_and_tells_its_health(name: str):
    service = name.removesuffix("-embedded")
    text = stages()[name]

    assert f'ENTRYPOINT ["python3", "-m", "services.{service}"]' in text
    assert f'CMD ["python3", "-m", "services.probe", "{service}"]' in text
    assert "USER 10001:10001" in stages()["service"]


@pytest.mark.parametrize("name", ["gateway", "detector", "classifier"])
def test_an_image_listens_where_its_settings_say_and_exposes_that(name: str, monkeypatch):
    told = dict(re.findall(r"(HEMASERVE_\w+)=(\S+)", stages()[name]))
    monkeypatch.setenv(f"HEMASERVE_{name.upper()}_ALLOW_INSECURE", "true")
    settings = read(SETTINGS[name], told, monkeypatch)
    usual = {SETTINGS[name].model_fields[field].default for field in ("listen", "metrics_listen")}
    ports = {address.rpartition(":")[2] for address in (settings.listen, settings.metrics_listen)}

    assert ports == {address.rpartition(":")[2] for address in usual}
    assert set(re.search(r"EXPOSE (.+)", stages()[name])[1].split()) == ports


def test_nvidias_image_is_the_one_whose_triton_the_wheel_has():
    assert f"ARG TRITON_BASE={CONTAINER_IMAGE}\n" in DOCKERFILE.read_text()


def test_the_compose_file_is_one():
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())

    jsonschema.validate(COMPOSE, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(COMPOSE | {"services": {"gateway": {"imagen": "x"}}}, schema)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_container_is_told_what_its_service_knows(name: str, monkeypatch):
    listen = {} if name == "triton" else {f"HEMASERVE_{name.upper()}_LISTEN": "0.0.0.0:50051"}

    assert read(SETTINGS[name], COMPOSE["services"][name]["environment"] | listen, monkeypatch).allow_insecure


@pytest.mark.parametrize("name", SETTINGS)
def test_a_container_has_no_rights_and_no_root_to_write_to(name: str):
    service = COMPOSE["services"][name]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "10001:10001"


def test_only_the_gateway_is_published_and_only_on_the_loopback():
    published = {
        name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service
    }

    assert published == {"gateway": ["127.0.0.1:${HEMASERVE_PORT:-50051}:50051"]}


def test_containers_call_each_other_by_name_and_port():
    services = COMPOSE["services"]
    ports = {"triton": "8001", "detector": "50052", "classifier": "50053"}
    called = [
        address
        for service in services.values()
        for key, address in service["environment"].items()
        if key.endswith("_ADDRESS")
    ]

    assert sorted(called) == sorted(
        f"dns:///{name}:{ports[name]}" for name in ("triton", "triton", "detector", "classifier")
    )


def test_triton_stays_on_the_loopback_unless_that_is_allowed():
    with pytest.raises(ValueError, match=r"host is 0\.0\.0\.0.*allow_insecure"):
        TritonSettings(host="0.0.0.0")


def test_nothing_that_a_builder_keeps_depends_on_the_commit():
    """Version, revision and date come as labels: as arguments, kept layers had those of an earlier commit."""
    assert set(re.findall(r"^ARG (\w+)", DOCKERFILE.read_text(), re.MULTILINE)) == {"BASE", "TRITON_BASE"}


def test_an_images_configuration_says_nothing_of_its_build(script):
    config = {
        "created": "2000-01-01T00:00:00Z",
        "container": "b44f",
        "container_config": {"Hostname": "314f"},
        "parent": "sha256:f8fd",
        "config": {"Hostname": "314f", "User": "10001:10001", "Healthcheck": {"Test": ["CMD", "python3"]}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:63b3"]},
        "history": [
            {"created_by": "COPY", "empty_layer": True},
            {"created_by": "USER", "comment": "FROM f8fd"},
        ],
    }
    assert script("images").settled(config, "2026-11-27T09:01:34Z") == {
        "created": "2026-11-27T09:01:34Z",
        "config": {"User": "10001:10001", "Healthcheck": {"Test": ["CMD", "python3"]}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:63b3"]},
        "history": [{"created_by": "COPY", "empty_layer": True}, {"created_by": "USER"}],
    }
