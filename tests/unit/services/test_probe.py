"""Whether a service answers, asked by a command."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services import probe

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
TLS = {"tls_certificate": "detector.pem", "tls_key": "detector.key", "tls_client_ca": "ca.pem"}


@pytest.fixture
def servicer():
    return health.HealthServicer()


@pytest.fixture
def address(servicer):
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def told(monkeypatch):
    """Sets settings of the detector."""

    def tell(**settings):
        for name, value in settings.items():
            monkeypatch.setenv(f"HEMASERVE_DETECTOR_{name.upper()}", value)

    return tell


def asked(capsys, *words):
    with pytest.raises(SystemExit) as end:
        probe.main(list(words))
    return end.value.code, capsys.readouterr()


@pytest.mark.parametrize(("state", "code"), [(SERVING, 0), (NOT_SERVING, 1)])
def test_a_service_is_asked_where_it_listens(servicer, address, told, capsys, state, code):
    servicer.set("", state)
    told(listen=address)
    status, said = asked(capsys, "detector")
    assert status == code
    assert said.out == f"detector: {health_pb2.HealthCheckResponse.ServingStatus.Name(state)}\n"


def test_one_that_listens_everywhere_is_asked_on_the_loopback(servicer, address, told, capsys):
    servicer.set("", SERVING)
    told(listen=f"0.0.0.0:{address.rpartition(':')[2]}", allow_insecure="true")
    assert asked(capsys, "detector")[0] == 0


def test_one_with_tls_is_asked_where_it_tells_its_health_without(servicer, address, told, capsys):
    servicer.set("", SERVING)
    told(**TLS, health_listen=address)
    assert asked(capsys, "detector")[0] == 0


def test_one_with_tls_that_tells_its_health_nowhere_else_is_not_well(told, capsys):
    told(**TLS)
    status, said = asked(capsys, "detector")
    assert status == 1
    assert "health_listen" in said.out


def test_one_that_is_not_there_is_not_well(told, capsys):
    told(listen="127.0.0.1:1")
    assert asked(capsys, "detector")[0] == 1


def test_triton_is_asked_on_its_port(servicer, address, monkeypatch, capsys):
    servicer.set("", SERVING)
    monkeypatch.setenv("HEMASERVE_TRITON_GRPC_PORT", address.rpartition(":")[2])
    assert asked(capsys, "triton")[0] == 0


@pytest.mark.parametrize("words", [(), ("smear",), ("gateway", "detector")])
def test_other_names_are_a_mistake(words, capsys):
    status, said = asked(capsys, *words)
    assert status == 2
    assert "usage" in said.err
