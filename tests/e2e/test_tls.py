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


def identity(tls, name, ca="ca"):
    return (
        "--tls-ca",
        tls / f"{ca}.crt",
        "--tls-cert",
        tls / f"{name}.crt",
        "--tls-key",
        tls / f"{name}.key",
    )


def test_a_known_client_gets_its_differential(secured, tmp_path):
    stack, tls = secured
    (tmp_path / "field.png").write_bytes(synthetic.encode_png(synthetic.generate_field(1).image))
    done = run_command(stack, tmp_path, "analyze", "field.png", "--json", "-", *identity(tls, "analyzer"))
    assert done.returncode == ExitCode.OK, done.stderr
    assert json.loads(done.stdout)["fields"][0]["cells"]


@pytest.mark.parametrize("words", [(), ("--tls-ca", "ca.crt")], ids=["plain", "without a certificate"])
def test_a_stranger_gets_nothing_and_is_told_what_it_takes(secured, tmp_path, words):
    stack, tls = secured
    done = run_command(stack, tls, "models", *words)
    assert done.returncode == ExitCode.UNREACHABLE
    assert "--tls-ca" in done.stderr


def test_a_client_cannot_go_round_the_gateway(secured):
    stack, tls = secured

    def health(name):
        credentials = grpc.ssl_channel_credentials(
            (tls / "ca.crt").read_bytes(),
            (tls / f"{name}.key").read_bytes(),
            (tls / f"{name}.crt").read_bytes(),
        )
        address = stack.state()["services"]["detector"]["address"]
        with grpc.secure_channel(address, credentials) as channel:
            return (
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status
            )

    assert health("gateway") == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health("analyzer")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_certificates_are_renewed_and_clients_added_while_it_runs(secured, tmp_path):
    stack, tls = secured
    renewed = [*COMMAND, "certificates", str(tls), "--renew", "--client", "reviewer"]
    subprocess.run(renewed, check=True, capture_output=True)
    for client in ("analyzer", "reviewer"):
        done = run_command(stack, tmp_path, "health", *identity(tls, client))
        assert (done.returncode, done.stderr) == (ExitCode.OK, "")
