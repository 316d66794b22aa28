"""Servers and channels with TLS: real certificates, real handshakes, and files that change in the middle of it."""

import asyncio
import os
import socket
import ssl
import urllib.request
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from hemaserve import certificates
from hemaserve.certificates import make_certificates, renew_certificates
from hemaserve.v1 import detector_pb2, detector_pb2_grpc
from services.runtime import renewing, tls
from services.runtime.remote import open_channel
from services.runtime.server import running
from services.runtime.settings import ServiceSettings
from services.runtime.tls import TlsFileError, WatchedTls, load
from services.runtime.tls_files import TlsFiles

NAME = "hemaserve.v1.DetectorService"
ASKED = detector_pb2.ListDetectorsRequest()


class Servicer(detector_pb2_grpc.DetectorServiceServicer):
    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.peers = []

    async def ListDetectors(self, request, context):
        self.peers.append(context.auth_context())
        return detector_pb2.ListDetectorsResponse()

    async def Detect(self, request, context):
        yield detector_pb2.DetectResponse()
        await self.go_on.wait()
        yield detector_pb2.DetectResponse()


class App:
    service_names = (NAME,)

    def __init__(self) -> None:
        self.servicer = Servicer()

    def register(self, server):
        detector_pb2_grpc.add_DetectorServiceServicer_to_server(self.servicer, server)

    async def check(self):
        pass

    async def close(self):
        pass


def files(folder, name, ca="ca"):
    return TlsFiles(folder / f"{name}.crt", folder / f"{name}.key", folder / f"{ca}.crt")


@asynccontextmanager
async def serving(folder, *, name="detector", mutual=True, **more):
    told = files(folder, name)
    app = App()
    settings = ServiceSettings(
        listen="127.0.0.1:0",
        tls_certificate=told.certificate,
        tls_key=told.key,
        tls_client_ca=told.ca if mutual else None,
        **more,
    )
    async with running(app, settings, name="test") as server:
        app.address, app.metrics_address = server.address, server.metrics_address
        yield app


async def ask(channel):
    await detector_pb2_grpc.DetectorServiceStub(channel).ListDetectors(ASKED, timeout=10)


async def refused(address, tls):
    async with open_channel(address, tls=tls) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel)
    return caught.value.code() is grpc.StatusCode.UNAVAILABLE


def shown_serial(address, folder, name="gateway"):
    """Serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    host, _, port = address.rpartition(":")
    raw = socket.create_connection((host, int(port)), timeout=10)
    with context.wrap_socket(raw, server_hostname=host) as secure:
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True)).serial_number


def serial(folder, name):
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes()).serial_number


def shown_to(app):
    """Serial number of the certificate that the latest call came with; 0 before the first."""
    if not app.servicer.peers:
        return 0
    return x509.load_pem_x509_certificate(app.servicer.peers[-1]["x509_pem_cert"][0]).serial_number


def metric(app, name):
    with urllib.request.urlopen(f"http://{app.metrics_address}/metrics") as page:
        (line,) = [line for line in page.read().decode().splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


@pytest.fixture
def at_once(monkeypatch):
    """Channels look at their files at every call."""
    monkeypatch.setattr(renewing, "CHECK_INTERVAL_S", 0.0)


async def test_who_is_known_gets_through_and_the_server_learns_its_name(tls_dir):
    async with serving(tls_dir) as app, open_channel(app.address, tls=files(tls_dir, "gateway")) as channel:
        await ask(channel)
        (peer,) = app.servicer.peers
    assert peer["x509_common_name"] == [b"gateway"]
    assert b"gateway" in peer["x509_subject_alternative_name"]
    assert peer["transport_security_type"] == [b"ssl"]


async def test_strangers_are_refused(tls_dir, tmp_path):
    make_certificates(tmp_path / "elsewhere", clients=("client",), days=1)
    async with serving(tls_dir) as app:
        for stranger in (
            None,  # speaks no TLS
            TlsFiles(None, None, tls_dir / "ca.crt"),  # shows nothing
            files(tls_dir, "client"),  # known to the gateway, and not to the services behind it
            files(tmp_path / "elsewhere", "gateway"),  # expects another authority
            TlsFiles(  # expects the right one, and is known to another
                tmp_path / "elsewhere" / "gateway.crt",
                tmp_path / "elsewhere" / "gateway.key",
                tls_dir / "ca.crt",
            ),
        ):
            assert await refused(app.address, stranger)
        assert app.servicer.peers == []


async def test_a_server_of_another_name_is_not_believed(tls_dir):
    async with serving(tls_dir) as app:
        tls = files(tls_dir, "gateway")
        async with open_channel(app.address, tls=tls, server_name="classifier") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(channel)
        async with open_channel(app.address, tls=tls, server_name="detector") as channel:
            await ask(channel)


@pytest.mark.parametrize("name", ["", "detector"], ids=["the first address", "given"])
async def test_one_name_stands_for_several_addresses(tls_dir, name):
    async with serving(tls_dir) as one, serving(tls_dir) as two:
        both = f"{one.address},{two.address}"
        async with open_channel(both, tls=files(tls_dir, "gateway"), server_name=name) as channel:
            async with asyncio.timeout(20):
                while not (one.servicer.peers and two.servicer.peers):
                    await ask(channel)


async def test_an_expired_client_is_refused(tls_dir, monkeypatch):
    monkeypatch.setattr(certificates, "_CLOCK_SKEW", timedelta(days=2))
    renew_certificates(tls_dir, clients=(), days=-1)  # ended yesterday
    expired = {path.name: path.read_bytes() for path in tls_dir.glob("gateway.*")}
    renew_certificates(tls_dir, clients=(), days=1)
    async with serving(tls_dir) as app:
        credentials = grpc.ssl_channel_credentials(
            (tls_dir / "ca.crt").read_bytes(), expired["gateway.key"], expired["gateway.crt"]
        )
        async with grpc.aio.secure_channel(app.address, credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        async with open_channel(app.address, tls=files(tls_dir, "gateway")) as channel:
            await ask(channel)


async def test_an_expired_server_is_not_believed(tls_dir, monkeypatch):
    monkeypatch.setattr(certificates, "_CLOCK_SKEW", timedelta(days=2))
    renew_certificates(tls_dir, clients=(), days=-1)
    expired = [((tls_dir / "detector.key").read_bytes(), (tls_dir / "detector.crt").read_bytes())]
    renew_certificates(tls_dir, clients=(), days=1)
    server, app = grpc.aio.server(), App()
    app.register(server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(expired))
    await server.start()
    try:
        assert await refused(f"127.0.0.1:{port}", files(tls_dir, "gateway"))
    finally:
        await server.stop(None)


async def test_a_stream_goes_on_while_new_connections_are_shown_the_new_certificate(tls_dir):
    async with serving(tls_dir) as app, open_channel(app.address, tls=files(tls_dir, "gateway")) as channel:
        before = serial(tls_dir, "detector")
        stream = detector_pb2_grpc.DetectorServiceStub(channel).Detect(detector_pb2.DetectRequest())
        await stream.read()
        assert await asyncio.to_thread(shown_serial, app.address, tls_dir) == before

        renew_certificates(tls_dir, clients=(), days=2)
        after = serial(tls_dir, "detector")

        assert await asyncio.to_thread(shown_serial, app.address, tls_dir) == after != before
        app.servicer.go_on.set()
        assert await stream.read() is not grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK


async def test_a_broken_file_changes_nothing_and_is_told_once(tls_dir):
    async with serving(tls_dir) as app:
        before = serial(tls_dir, "detector")
        expiry = metric(app, "hemaserve_tls_certificate_expiry_timestamp_seconds")
        good = (tls_dir / "detector.crt").read_bytes()
        (tls_dir / "detector.crt").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
        with capture_logs() as logs:
            for _ in range(3):
                assert await asyncio.to_thread(shown_serial, app.address, tls_dir) == before
        errors = [entry for entry in logs if entry["log_level"] == "error"]
        assert len(errors) == 1
        assert "detector.crt" in errors[0]["why"]
        assert metric(app, "hemaserve_tls_reload_failures_total") == 1

        (tls_dir / "detector.crt").write_bytes(good)
        renew_certificates(tls_dir, clients=(), days=3)
        assert await asyncio.to_thread(shown_serial, app.address, tls_dir) == serial(tls_dir, "detector")
        assert metric(app, "hemaserve_tls_certificate_expiry_timestamp_seconds") > expiry + 86_400


async def test_another_client_authority_is_taken_up_for_new_connections(tls_dir, tmp_path):
    make_certificates(tmp_path / "elsewhere", clients=(), days=1)
    newcomer = TlsFiles(
        tmp_path / "elsewhere" / "gateway.crt",
        tmp_path / "elsewhere" / "gateway.key",
        tls_dir / "ca.crt",
    )
    async with serving(tls_dir) as app:
        assert await refused(app.address, newcomer)
        # Both authorities for a time: how an authority is replaced.
        with (tls_dir / "ca.crt").open("ab") as bundle:
            bundle.write((tmp_path / "elsewhere" / "ca.crt").read_bytes())
        async with open_channel(app.address, tls=newcomer) as channel:
            await ask(channel)


async def test_a_channel_takes_new_calls_to_a_new_connection_and_lets_a_stream_end(tls_dir, at_once):
    async with serving(tls_dir) as app, open_channel(app.address, tls=files(tls_dir, "gateway")) as channel:
        stub = detector_pb2_grpc.DetectorServiceStub(channel)
        stream = stub.Detect(detector_pb2.DetectRequest())
        await stream.read()
        await stub.ListDetectors(ASKED)
        renew_certificates(tls_dir, clients=(), days=2)
        async with asyncio.timeout(20):
            while shown_to(app) != serial(tls_dir, "gateway"):
                await stub.ListDetectors(ASKED)
        app.servicer.go_on.set()
        assert await stream.read() is not grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK


async def test_a_channel_keeps_its_connection_while_the_new_certificate_is_not_accepted(
    tls_dir, tmp_path, at_once
):
    make_certificates(tmp_path / "elsewhere", clients=(), days=1)
    mine = files(tls_dir, "gateway")
    async with serving(tls_dir) as app, open_channel(app.address, tls=mine) as channel:
        await ask(channel)
        for half in ("crt", "key"):
            (tmp_path / "elsewhere" / f"gateway.{half}").replace(tls_dir / f"gateway.{half}")
        for _ in range(20):
            await ask(channel)
        with (tls_dir / "ca.crt").open("ab") as bundle:
            bundle.write((tmp_path / "elsewhere" / "ca.crt").read_bytes())
        async with asyncio.timeout(20):
            while shown_to(app) != serial(tls_dir, "gateway"):
                await ask(channel)


async def test_closing_a_channel_ends_what_goes_on_over_older_connections(tls_dir, at_once):
    async with serving(tls_dir) as app:
        channel = open_channel(app.address, tls=files(tls_dir, "gateway"))
        stub = detector_pb2_grpc.DetectorServiceStub(channel)
        stream = stub.Detect(detector_pb2.DetectRequest())
        await stream.read()
        await stub.ListDetectors(ASKED)
        renew_certificates(tls_dir, clients=(), days=2)
        async with asyncio.timeout(20):
            while shown_to(app) != serial(tls_dir, "gateway"):
                await stub.ListDetectors(ASKED)
        await channel.close()
        async with asyncio.timeout(20):
            assert await stream.code() is grpc.StatusCode.CANCELLED


async def test_no_call_is_lost_while_all_certificates_are_renewed_again_and_again(tls_dir, at_once):
    async with serving(tls_dir) as app, open_channel(app.address, tls=files(tls_dir, "gateway")) as channel:
        renewed = asyncio.Event()

        async def call_until_renewed():
            while not renewed.is_set():
                await ask(channel)

        async with asyncio.TaskGroup() as callers:
            for _ in range(4):
                callers.create_task(call_until_renewed())
            for days in range(2, 7):
                await asyncio.to_thread(renew_certificates, tls_dir, clients=(), days=days)
                async with asyncio.timeout(20):
                    while shown_to(app) != serial(tls_dir, "gateway"):
                        await ask(channel)
            renewed.set()


async def test_reflection_is_for_the_open_loopback_unless_told_otherwise(tls_dir):
    async def listed(app):
        async with open_channel(app.address, tls=files(tls_dir, "gateway")) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            call = stub.ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
            )
            return [answer async for answer in call]

    async with serving(tls_dir) as app, open_channel(app.address, tls=files(tls_dir, "gateway")) as channel:
        # gRPC may lose the status of a stream that is refused before its message is written: a unary call has none.
        ask = channel.unary_unary("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        check = health_pb2_grpc.HealthStub(channel).Check
        await check(health_pb2.HealthCheckRequest(), timeout=10)
    async with serving(tls_dir, reflection=True) as app:
        assert await listed(app)


def _encrypted(folder):
    key = serialization.load_pem_private_key((folder / "detector.key").read_bytes(), password=None)
    content = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "detector.key").write_bytes(content)


def _other_key(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "detector.key").write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "detector.crt").unlink(), "cannot read .*detector.crt"),
        (lambda folder: (folder / "ca.crt").write_text(""), "ca.crt holds no certificate"),
        (lambda folder: (folder / "detector.crt").write_text("x"), "detector.crt holds no certificate"),
        (lambda folder: (folder / "detector.key").write_text("x"), "detector.key holds no private key"),
        (_encrypted, "detector.key is encrypted"),
        (_other_key, "is not the one of the certificate"),
        (lambda folder: renew_certificates(folder, clients=(), days=-1), "expired on"),
    ],
    ids=["absent", "empty ca", "no certificate", "no key", "encrypted", "another's key", "expired"],
)
def test_files_that_cannot_be_used_are_told_of_by_name(tls_dir, monkeypatch, spoil, said):
    monkeypatch.setattr(certificates, "_CLOCK_SKEW", timedelta(days=2))
    spoil(tls_dir)
    with pytest.raises(TlsFileError, match=said):
        load(files(tls_dir, "detector"))


def test_files_that_were_only_touched_are_no_change(tls_dir):
    watched = WatchedTls(files(tls_dir, "detector"))
    os.utime(tls_dir / "detector.crt", (1, 1))
    assert not watched.refresh()


def test_a_certificate_that_is_not_valid_yet_is_taken_up_when_it_is(tls_dir, monkeypatch):
    watched = WatchedTls(files(tls_dir, "detector"))
    monkeypatch.setattr(certificates, "_CLOCK_SKEW", timedelta(hours=-1))
    renew_certificates(tls_dir, clients=(), days=1)
    assert [watched.refresh(), watched.refresh()] == [False, False]

    class InTwoHours(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=2)

    monkeypatch.setattr(tls, "datetime", InTwoHours)
    assert [watched.refresh(), watched.refresh()] == [True, False]


def test_a_service_does_not_start_with_files_that_cannot_be_used(tls_dir):
    (tls_dir / "detector.key").unlink()

    async def start():
        async with serving(tls_dir):
            pass

    with pytest.raises(OSError, match=r"detector\.key"):
        asyncio.run(start())
