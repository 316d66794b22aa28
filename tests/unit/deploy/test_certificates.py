"""The certificates that cert-manager is asked for are those that services want, by the rules of decision 19."""

from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from hemaserve.addresses import replicas
from services.runtime.remote import open_channel
from services.runtime.server import running
from services.runtime.settings import ServiceSettings
from services.runtime.tls import TlsFileError, load
from services.runtime.tls_files import TlsFiles
from services.triton.replicas import connect

from .issuing import Issued, hours, issue, mount
from .reading import SETTINGS, TRITONS, WORKLOADS, Deployed


class App:
    service_names = ()

    def register(self, server):
        pass

    async def check(self):
        pass

    async def close(self):
        pass


@pytest.fixture
def certificates(deployed) -> dict[str, Issued]:
    return issue(deployed)


@pytest.fixture
def pods(deployed, certificates, tmp_path) -> dict[str, Path]:
    """The roots of all pods' file systems."""
    return {name: mount(deployed, name, certificates, tmp_path / name) for name in WORKLOADS}


def within(root: Path, files: TlsFiles) -> TlsFiles:
    """Files as a pod names them, where they lie here."""
    moved = [
        None if path is None else root / str(path).lstrip("/")
        for path in (files.certificate, files.key, files.ca)
    ]
    return TlsFiles(*moved)


def test_all_files_that_settings_name_are_mounted_and_fit_for_use(deployed, pods):
    for service in SETTINGS:
        settings = deployed.settings(service)
        used = [settings.tls, settings.downstream_tls if service == "gateway" else settings.triton_tls]
        for files in used:
            assert load(within(pods[service], files)).own is not None


def test_a_file_that_is_not_mounted_is_found(deployed, pods):
    for path in pods["detector"].rglob("tls.key"):
        path.unlink()
    with pytest.raises(TlsFileError, match="cannot read"):
        load(within(pods["detector"], deployed.settings("detector").tls))


def test_nobody_is_given_the_key_of_an_authority(deployed, certificates, pods):
    authorities = [one.secret()["tls.key"] for name, one in certificates.items() if name.endswith("-ca")]
    assert len(authorities) == 2
    for root in pods.values():
        assert not any(path.read_bytes() in authorities for path in root.rglob("*") if path.is_file())


def test_certificates_are_for_the_names_that_are_called(deployed):
    names = {name: set(one["spec"].get("dnsNames", ())) for name, one in deployed.of("Certificate").items()}
    gateway = deployed.settings("gateway")
    calls = {
        "detector": gateway.detector_address,
        "classifier": gateway.classifier_address,
        **{triton: deployed.settings(service).triton_address for triton, service in TRITONS.items()},
    }
    for workload, address in calls.items():
        (where,) = replicas(address)
        assert where.rpartition(":")[0] in names[workload]
    for policy in deployed.of("BackendTLSPolicy").values():
        assert policy["spec"]["validation"]["hostname"] in names["gateway"]


def test_those_behind_the_gateway_know_no_authority_of_clients(deployed, certificates, pods):
    services, clients = (certificates[name].secret()["tls.crt"] for name in ("services-ca", "clients-ca"))
    assert services != clients
    for service in ("detector", "classifier"):
        assert within(pods[service], deployed.settings(service).tls).ca.read_bytes() == services
    for triton in TRITONS:
        assert (
            pods[triton] / deployed.options(triton)["grpc-root-cert"].lstrip("/")
        ).read_bytes() == services
    asked = deployed.settings("gateway").tls.ca
    if asked is not None:
        assert within(pods["gateway"], deployed.settings("gateway").tls).ca.read_bytes() == clients


def test_a_proxy_between_and_certificates_of_callers_do_not_go_together(deployed):
    asks = deployed.settings("gateway").tls_client_ca is not None
    assert asks is not bool(deployed.of("GRPCRoute"))


def test_certificates_are_renewed_long_before_they_end(deployed):
    for name, one in deployed.of("Certificate").items():
        spec = one["spec"]
        if not spec.get("isCA"):
            # Triton reads its files at its start: whoever starts it anew has a month for it.
            assert hours(spec["renewBefore"]).days >= 30, name
            assert hours(spec["duration"]) >= 3 * hours(spec["renewBefore"]), name


async def test_the_gateway_and_a_service_behind_it_speak_with_each_other_and_with_no_stranger(deployed, pods):
    told, gateway = deployed.settings("detector"), deployed.settings("gateway")
    own = within(pods["detector"], told.tls)
    settings = ServiceSettings(
        listen="127.0.0.1:0", tls_certificate=own.certificate, tls_key=own.key, tls_client_ca=own.ca
    )
    files = within(pods["gateway"], gateway.downstream_tls)
    (where,) = replicas(gateway.detector_address)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(App(), settings, name="detector"))

        async def ask(tls: TlsFiles, name: str) -> int:
            channel = await stack.enter_async_context(open_channel(server.address, tls=tls, server_name=name))
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=10
            )
            return answer.status

        assert (
            await ask(files, where.rpartition(":")[0])
            in health_pb2.HealthCheckResponse.ServingStatus.values()
        )
        for tls, name in ((TlsFiles(None, None, files.ca), "detector"), (files, "triton-detection")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(tls, name)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_for_another_name_is_found(broken):
    def change(deployed: Deployed) -> None:
        deployed.of("Certificate")["detector"]["spec"]["dnsNames"] = ["detektor"]

    with pytest.raises(AssertionError):
        test_certificates_are_for_the_names_that_are_called(broken(change))


class ReadyTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    async def ServerReady(self, request, context):
        return service_pb2.ServerReadyResponse(ready=True)


async def test_a_service_calls_its_own_triton_and_strangers_are_not_answered(deployed, pods):
    options = deployed.options("triton-detection")
    key, certificate, ca = (
        (pods["triton-detection"] / options[f"grpc-{what}"].lstrip("/")).read_bytes()
        for what in ("server-key", "server-cert", "root-cert")
    )
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(ReadyTriton(), server)
    credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
    address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    shown = within(pods["detector"], deployed.settings("detector").triton_tls)
    async with connect(address, shown, "triton-detection") as client:
        assert await client.is_server_ready(client_timeout=10)
    strangers = [
        (TlsFiles(None, None, shown.ca), "triton-detection"),
        (shown, "triton-classification"),
    ]
    for files, name in strangers:
        async with connect(address, files, name) as client:
            with pytest.raises(InferenceServerException):
                await client.is_server_ready(client_timeout=10)
    await server.stop(None)
