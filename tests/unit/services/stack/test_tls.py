"""What a stack with certificates tells its parts, and that no stack is open to other machines by accident."""

import pytest

from hemaserve.certificates import make_certificates
from services.classifier.settings import ClassifierSettings
from services.detector.settings import DetectorSettings
from services.gateway.settings import GatewaySettings
from services.stack.plan import plan
from services.stack.profiles import ProfileName
from services.stack.requirements import CannotRun
from services.stack.settings import StackSettings
from services.stack.stack import Stack
from services.stack.tls import TlsFolder, check_exposure


@pytest.fixture
def folder(tmp_path):
    make_certificates(tmp_path / "tls", clients=("client",), days=1)
    return tmp_path / "tls"


def service_settings(processes, monkeypatch):
    for process in processes:
        for key, value in process.environment.items():
            monkeypatch.setenv(key, value)
    return GatewaySettings(), DetectorSettings(), ClassifierSettings()


@pytest.mark.parametrize("profile", ProfileName)
def test_the_gateway_knows_clients_and_the_services_behind_it_only_the_gateway(folder, profile, monkeypatch):
    processes = plan(StackSettings(profile=profile, tls=folder))
    gateway, detector, classifier = service_settings(processes, monkeypatch)
    assert gateway.tls.ca == folder / "clients-ca.crt"
    assert gateway.downstream_tls.ca == folder / "ca.crt"
    assert gateway.downstream_tls.certificate == folder / "gateway.crt"
    for service, name in ((detector, "detector"), (classifier, "classifier")):
        assert service.tls.certificate == folder / f"{name}.crt"
        assert service.tls.ca == folder / "ca.crt"
    parts = {part.name: part for process in processes for part in process.parts}
    assert parts["triton"].tls is None
    assert parts["gateway"].tls.certificate == folder / "stack.crt"
    assert parts["detector"].tls.certificate == folder / "gateway.crt"


def test_clients_need_no_certificate_where_something_else_says_who_they_are(folder, monkeypatch):
    gateway, detector, _ = service_settings(
        plan(StackSettings(tls=folder, client_certificates=False)), monkeypatch
    )
    assert gateway.tls.ca is None
    assert detector.tls.ca is not None


def test_an_allowed_open_gateway_is_allowed_to_be_one(monkeypatch):
    processes = plan(StackSettings(address="0.0.0.0:50051", allow_insecure=True))
    gateway, *_ = service_settings(processes, monkeypatch)
    assert gateway.listen == "0.0.0.0:50051"


def test_a_stack_is_not_open_to_other_machines_without_tls_or_a_word(folder):
    with pytest.raises(CannotRun, match=r"at 0\.0\.0\.0:50051 without TLS"):
        check_exposure("0.0.0.0:50051", None, allow_insecure=False)
    check_exposure("0.0.0.0:50051", None, allow_insecure=True)
    check_exposure("127.0.0.1:50051", None, allow_insecure=False)
    check_exposure("0.0.0.0:50051", TlsFolder(folder), allow_insecure=False)


async def test_a_folder_without_all_certificates_is_refused_before_anything_starts(folder):
    (folder / "stack.key").unlink()
    with pytest.raises(CannotRun, match=r"stack\.key.*\n.*hemaserve certificates"):
        await Stack(StackSettings(tls=folder, address="127.0.0.1:0"), print).run()
