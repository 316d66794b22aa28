"""Our own client and command at a guarded gateway."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner

from hemaserve.access import Quota, Role
from hemaserve.cli import app
from hemaserve.cli.exits import ExitCode
from hemaserve.client import Client, PermissionDeniedError, SyncClient, UnauthenticatedError
from services.gateway.access.door import Door, Visit
from services.gateway.access.refusals import Reason, Refused
from services.gateway.settings import GatewaySettings


async def everything(client: Client) -> set[str]:
    """Call all that a client can."""
    await client.list_models()
    await client.list_site_profiles()
    await client.analyze_field(b"image")
    await client.detect_cells(b"image")
    await client.explain_cell(b"image")
    await client.health()


async def test_every_call_of_a_client_carries_its_key_or_its_token(guarded, signer):
    key = guarded.add("lab")
    for given in ({"api_key": key}, {"token": signer.token()}, {"token": signer.token}):
        async with Client(guarded.address, **given) as client:
            await everything(client)
            call = client._channel
            assert call is not None
    assert {name for name, _ in guarded.ran} == {
        *("ListModels", "ListSiteProfiles", "AnalyzeField", "DetectCells", "ExplainCell"),
    }
    assert {who for _, who in guarded.ran} == {"lab", "token:someone"}


@pytest.mark.parametrize("method", ["analyze_smear", "classify_cells"])
async def test_streams_carry_it_too_and_are_told_when_it_is_not_good(guarded, method):
    key = guarded.add("lab", [Role.REVIEW])
    async with Client(guarded.address, api_key=key) as client:
        with pytest.raises(PermissionDeniedError):
            await getattr(client, method)([b"image"])
    async with Client(guarded.address) as client:
        with pytest.raises(UnauthenticatedError):
            await getattr(client, method)([b"image"])


async def test_the_blocking_client_shows_it_as_well(guarded):
    key = guarded.add("lab")

    def call() -> None:
        with SyncClient(guarded.address, api_key=key) as client:
            client.list_models()

    await asyncio.to_thread(call)
    assert guarded.ran == [("ListModels", "lab")]


@pytest.mark.parametrize("address", ["gateway.lab.example:50051", "10.0.0.7:50051", "127.0.0.1:1,10.0.0.7:1"])
def test_a_client_sends_no_credentials_where_others_could_read_them(address):
    for given in ({"api_key": "k"}, {"token": "t"}):
        with pytest.raises(ValueError, match="without TLS"):
            Client(address, **given)
    Client(address)


def test_a_key_and_a_token_are_one_too_many():
    with pytest.raises(ValueError, match="not both"):
        Client(api_key="k", token="t")


async def test_a_gateway_takes_no_credentials_that_others_could_have_read(guarded):
    door: Door = guarded.application.access.interceptor._door
    key = guarded.add("lab")
    visit = Visit("/hemaserve.v1.SmearService/ListModels", "ipv4:10.0.0.7:5000")
    with pytest.raises(Refused) as caught:
        await door.admit(visit, [("x-api-key", key)], {})
    assert caught.value.why is Reason.PLAINTEXT
    await door.admit(visit, [("x-api-key", key)], {"transport_security_type": [b"ssl"]})


def test_a_gateway_that_strangers_can_reach_must_ask_who_calls(tmp_path):
    with_tls = {"tls_certificate": tmp_path / "c", "tls_key": tmp_path / "k", "listen": "0.0.0.0:50051"}
    with pytest.raises(ValueError, match="anybody there could call"):
        GatewaySettings(**with_tls)
    GatewaySettings(**with_tls, access=tmp_path / "a")
    GatewaySettings(**with_tls, tls_client_ca=tmp_path / "a")
    GatewaySettings(**with_tls, allow_insecure=True)


@pytest.mark.parametrize("content", [None, "{"])
async def test_a_gateway_whose_access_file_is_of_no_use_does_not_start(guard, access_path, content):
    access_path.unlink()
    if content is not None:
        access_path.write_text(content)
    with pytest.raises(OSError, match=r"access\.json"):
        await guard()


@pytest.fixture
def run(guarded, monkeypatch):
    """Run the command against the guarded gateway."""
    for name in ("HEMASERVE_API_KEY", "HEMASERVE_TOKEN", "HEMASERVE_API_KEY_FILE", "HEMASERVE_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)

    async def invoke(*words, **environment):
        words = [*words, "--address", guarded.address]
        return await asyncio.to_thread(CliRunner(env=environment).invoke, app, [str(word) for word in words])

    return invoke


async def test_the_command_shows_a_key_from_a_file_or_the_environment(guarded, run, tmp_path, signer):
    key, file, token = guarded.add("lab"), tmp_path / "key", tmp_path / "token"
    file.write_text(key + "\n")
    token.write_text(signer.token())
    results = [
        await run("models", "--api-key-file", file),
        await run("models", HEMASERVE_API_KEY_FILE=str(file)),
        await run("models", HEMASERVE_API_KEY=key),
        await run("models", "--token-file", token),
        await run("models", HEMASERVE_TOKEN=signer.token()),
    ]
    assert [result.exit_code for result in results] == [ExitCode.OK] * 5
    assert [who for _, who in guarded.ran] == ["lab"] * 3 + ["token:someone"] * 2


async def test_the_command_says_what_is_missing(guarded, run, tmp_path):
    result = await run("models")
    assert result.exit_code == ExitCode.DENIED
    assert "--api-key-file" in result.output
    review, file = guarded.add("lab", [Role.REVIEW]), tmp_path / "field.png"
    file.write_bytes(b"image")
    result = await run("analyze", file, HEMASERVE_API_KEY=review)
    assert result.exit_code == ExitCode.DENIED
    assert "needs the role analyze" in result.output
    result = await run("models", "--api-key-file", tmp_path / "absent")
    assert result.exit_code == ExitCode.USAGE
    assert (await run("health")).exit_code in (ExitCode.OK, ExitCode.INCOMPLETE)


async def test_the_command_says_that_a_quota_is_used_up(guarded, run):
    key = guarded.add("lab", quota=Quota(requests=1))
    assert (await run("models", HEMASERVE_API_KEY=key)).exit_code == ExitCode.OK
    result = await run("models", HEMASERVE_API_KEY=key)
    assert result.exit_code == ExitCode.FAILED
    assert "quota is used up" in result.output
