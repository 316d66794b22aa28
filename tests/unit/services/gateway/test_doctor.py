"""`hemaserve doctor`'s examination of a real gateway, with faults on purpose."""

import asyncio
import shutil
import socket
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest

from hemaserve import certificates as certificates_module
from hemaserve.access import Quota, Role
from hemaserve.access.editing import change, with_key
from hemaserve.certificates import make_certificates, renew_certificates
from hemaserve.client import Backoff, Client, tls_credentials
from hemaserve.doctor.examination import Questions, examine
from hemaserve.doctor.findings import Check, State
from hemaserve.doctor.reach import TlsPaths
from services.gateway.application import GatewayApplication
from services.gateway.settings import GatewaySettings
from services.runtime import tls
from services.runtime.server import running


@pytest.fixture
async def serve():
    """`await serve(**settings)`: address and metrics URL of a real gateway; by default, nobody is behind it."""
    async with AsyncExitStack() as stack:

        async def start(**settings):
            chosen = GatewaySettings(
                **{
                    "listen": "127.0.0.1:0",
                    "metrics_listen": "127.0.0.1:0",
                    "detector_address": "127.0.0.1:1",
                    "classifier_address": "127.0.0.1:1",
                    "drain_grace_s": 0,
                    "default_timeout_s": 2.0,
                    **settings,
                }
            )
            application = GatewayApplication(chosen)
            server = await stack.enter_async_context(running(application, chosen, name="gateway"))
            return server.address, f"http://{server.metrics_address}/metrics"

        yield start


async def examined(address, paths=TlsPaths(), api_key=None, **more):
    """The findings, by check; the worst of each."""
    credentials = (
        tls_credentials(ca=paths.ca, certificate=paths.certificate, key=paths.key) if paths else None
    )

    def client():
        return Client(
            address,
            credentials=credentials,
            api_key=api_key,
            connect_timeout_s=3.0,
            timeout_s=3.0,
            backoff=Backoff(attempts=0),
        )

    worst = [State.WELL, State.SKIPPED, State.NOTE, State.WRONG]
    found = {}
    async for finding in examine(
        Questions(address, client, tls=paths, shows_who=api_key is not None, **more)
    ):
        known = found.get(finding.check)
        if known is None or worst.index(finding.state) > worst.index(known.state):
            found[finding.check] = finding
        assert (finding.state is State.WRONG) <= bool(finding.why and finding.to_do)
        assert api_key is None or api_key not in repr(finding)
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder, clients=["doctor"], days=90)
    return folder


def paths(folder, name="doctor", ca="ca"):
    return TlsPaths(folder / f"{ca}.crt", folder / f"{name}.crt", folder / f"{name}.key")


def served_with(folder, name="gateway"):
    return {
        "tls_certificate": folder / f"{name}.crt",
        "tls_key": folder / f"{name}.key",
        "tls_client_ca": folder / "clients-ca.crt",
    }


async def test_without_detector_and_classifier_each_is_named(serve):
    address, metrics = await serve()
    found = await examined(address, metrics=(metrics,))
    assert found[Check.REACH].state is found[Check.METRICS].state is found[Check.CLOCK].state is State.WELL
    assert "not serving" in found[Check.HEALTH].what
    assert "the detector does not answer" in found[Check.DETECTOR].what
    assert "the classifier does not answer" in found[Check.CLASSIFIER].what
    assert Check.ANSWER not in found


async def test_a_gateway_is_well_as_far_as_its_parts_are(world):
    async with Client(world.address) as client:
        while not (await client.health()).serving:  # noqa: ASYNC110 - the gateway has only just started
            await asyncio.sleep(0.01)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        open_port = f"127.0.0.1:{taken.getsockname()[1]}"
        found = await examined(world.address, closed=(open_port, "127.0.0.1:1"))
    assert found[Check.HEALTH].state is State.WELL
    assert found[Check.ACCESS].what == "anybody on this machine may call"
    assert found[Check.QUOTA].state is State.WELL
    # The fakes' networks have other files than ours.
    assert "vit is not the network" in found[Check.MODELS].what
    assert open_port in found[Check.CLOSED].what
    assert found[Check.CLOSED].state is State.WRONG


async def test_a_wrong_key_is_told_and_nothing_more_is_asked(serve, tmp_path):
    path, keys = tmp_path / "access.json", []

    def add(access):
        made = with_key(
            access, "lab", now=datetime.now().astimezone(), roles=[Role.ANALYZE], quota=Quota(fields=10)
        )
        keys.append(made[1])
        return made[0]

    change(path, add)
    address, _ = await serve(access=path)
    found = await examined(address, api_key="hsk_" + "0" * 12 + "_" + "x" * 43)
    assert found[Check.ACCESS].state is State.WRONG
    assert Check.DETECTOR not in found
    found = await examined(address, api_key=keys[0])
    assert Check.ACCESS not in found
    assert "does not answer" in found[Check.DETECTOR].what


async def test_a_good_certificate_is_well_and_shows_its_end(serve, certificates):
    address, _ = await serve(**served_with(certificates))
    found = await examined(address, paths(certificates))
    assert found[Check.TLS].state is State.WELL
    assert found[Check.HEALTH].what == "the gateway says that it is not serving"


async def test_an_expired_certificate_is_told(serve, tmp_path, certificates, monkeypatch):
    shutil.copytree(certificates, tmp_path / "tls")
    monkeypatch.setattr(certificates_module, "_CLOCK_SKEW", timedelta(days=3))
    renew_certificates(tmp_path / "tls", clients=(), days=-1)

    class TwoDaysAgo(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=2)

    # It was good when the gateway started.
    monkeypatch.setattr(tls, "datetime", TwoDaysAgo)
    address, _ = await serve(**served_with(tmp_path / "tls"))
    found = await examined(address, paths(certificates))
    assert found[Check.TLS].what == "the gateway's certificate has expired"
    assert Check.HEALTH not in found


async def test_a_certificate_that_ends_soon_is_noted(serve, tmp_path, certificates):
    shutil.copytree(certificates, tmp_path / "tls")
    renew_certificates(tmp_path / "tls", clients=(), days=3)
    address, metrics = await serve(**served_with(tmp_path / "tls"))
    found = await examined(address, paths(certificates), metrics=(metrics,))
    assert "ends in 3.0 days" in found[Check.TLS].what
    assert "ends in 3.0 days" in found[Check.METRICS].what


async def test_a_certificate_for_another_name_is_told(serve, certificates):
    address, _ = await serve(**served_with(certificates), listen="0.0.0.0:0")
    port = address.rpartition(":")[2]
    # An address of the loopback that no certificate is for.
    found = await examined(f"127.0.0.2:{port}", paths(certificates))
    assert found[Check.TLS].what == "the gateway's certificate is not for 127.0.0.2"


async def test_an_unknown_authority_is_told(serve, certificates, tmp_path):
    make_certificates(tmp_path, clients=["doctor"], days=90)
    address, _ = await serve(**served_with(certificates))
    found = await examined(address, paths(tmp_path))
    assert "not by an authority" in found[Check.TLS].what


async def test_a_client_without_a_certificate_or_with_a_strangers_is_told(serve, certificates, tmp_path):
    address, _ = await serve(**served_with(certificates))
    found = await examined(address, TlsPaths(ca=certificates / "ca.crt"))
    assert found[Check.TLS].state is State.WRONG
    assert "--tls-cert" in found[Check.TLS].to_do
    make_certificates(tmp_path, clients=["doctor"], days=90)
    stranger = TlsPaths(certificates / "ca.crt", tmp_path / "doctor.crt", tmp_path / "doctor.key")
    found = await examined(address, stranger)
    assert "does not take the certificate" in found[Check.TLS].what


async def test_tls_on_one_side_only_is_told(serve, certificates):
    address, _ = await serve(**served_with(certificates))
    assert "speaks TLS, and this command does not" in (await examined(address))[Check.TLS].what
    plain, _ = await serve()
    assert (await examined(plain, paths(certificates)))[Check.TLS].state is State.WRONG


async def test_nobody_at_the_port_and_no_such_name_are_told():
    found = await examined("127.0.0.1:1")
    assert list(found) == [Check.NAME, Check.REACH]
    found = await examined("nowhere.invalid:50051")
    assert list(found) == [Check.NAME]


async def test_an_endpoint_that_is_none_is_told(serve):
    address, _ = await serve()
    found = await examined(address, metrics=("http://127.0.0.1:1/metrics",))
    assert "cannot be read" in found[Check.METRICS].what
