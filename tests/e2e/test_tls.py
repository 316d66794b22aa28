"""A whole stack with TLS, and the command that calls it as one whom it knows, or does not know."""

import json
import subprocess

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hemaserve import synthetic
from hemaserve.cli.exits import ExitCode

from .conftest import COMMAND, run_command, running_stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secured")
    made = [*COMMAND, "certificates", str(folder / "tls"), "--client", "analyzer"]
    subprocess.run(made, check=True, capture_output=True)
    with running_stack(folder, "--profile", "tiny", "--tls", folder / "tls") as running:
        yield running, folder / "tls"


def identity(tls, name):
    own = ("--tls-cert", tls / f"{name}.crt", "--tls-key", tls / f"{name}.key")
    return ("--tls-ca", tls / "ca.crt", *own)


def test_a_known_client_gets_its_differential(secured, tmp_path):
    stack, tls = secured
    (tmp_path / "field.png").write_bytes(synthetic.encode_png(synthetic.generate_field(1).image))
    done = run_command(stack, tmp_path, "analyze", "field.png", "--json", "-", *identity(tls, "analyzer"))
    assert done.returncode == ExitCode.OK, done.stderr
    assert json.loads(done.stdout)["fields"][0]["cells"]


def test_a_stranger_gets_nothing_and_is_told_what_it_takes(secured, tmp_path):
    stack, tls = secured
    done = run_command(stack, tmp_path, "models", "--tls-ca", tls / "ca.crt")
    assert done.returncode == ExitCode.UNREACHABLE
    assert "--tls-cert" in done.stderr


def test_a_client_cannot_go_round_the_gateway(secured):
    stack, tls = secured

    def ask_the_detector(name):
        credentials = grpc.ssl_channel_credentials(
            (tls / "ca.crt").read_bytes(),
            (tls / f"{name}.key").read_bytes(),
            (tls / f"{name}.crt").read_bytes(),
        )
        address = stack.state()["services"]["detector"]["address"]
        with grpc.secure_channel(address, credentials) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            return check(health_pb2.HealthCheckRequest(), timeout=10).status

    assert ask_the_detector("gateway") == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        ask_the_detector("analyzer")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_certificates_are_renewed_and_clients_added_while_it_runs(secured, tmp_path):
    stack, tls = secured
    renewed = [*COMMAND, "certificates", str(tls), "--renew", "--client", "reviewer"]
    subprocess.run(renewed, check=True, capture_output=True)
    done = run_command(stack, tmp_path, "health", *identity(tls, "reviewer"))
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
