"""Callers who are known by the certificates that TLS verified, on real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from hemaserve.access import Access, Client, Role
from hemaserve.access.editing import change
from hemaserve.certificates import make_certificates
from hemaserve.client import Client as HemaServeClient
from hemaserve.client import PermissionDeniedError, UnauthenticatedError, tls_credentials

from .conftest import Guard, Guarded


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Certificates of the services, and of three clients."""
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder, clients=["analyzer-3", "reading-room", "visitor"], days=1)
    return folder


@pytest.fixture
async def secured(guard: Guard, folder) -> Guarded:
    """A gateway that asks for certificates and knows two of the three."""
    guarded = await guard(
        tls_certificate=folder / "gateway.crt",
        tls_key=folder / "gateway.key",
        tls_client_ca=folder / "clients-ca.crt",
    )
    clients = (
        Client("lab", frozenset({Role.ANALYZE}), certificates=("analyzer-3",)),
        Client("doctors", frozenset({Role.REVIEW}), certificates=("reading-room",)),
    )
    change(guarded.path, lambda access: Access(clients, access.role_quotas, access.issuers))
    return guarded


@asynccontextmanager
async def connected(guarded: Guarded, folder, name: str, **settings) -> AsyncIterator[HemaServeClient]:
    credentials = tls_credentials(
        ca=folder / "ca.crt", certificate=folder / f"{name}.crt", key=folder / f"{name}.key"
    )
    async with HemaServeClient(guarded.address, credentials=credentials, **settings) as client:
        yield client


async def test_a_certificate_is_a_client_with_its_roles(secured, folder):
    async with connected(secured, folder, "analyzer-3") as client:
        await client.list_models()
        with pytest.raises(PermissionDeniedError):
            await client.explain_cell(b"image")
    async with connected(secured, folder, "reading-room") as client:
        await client.list_models()
        with pytest.raises(PermissionDeniedError):
            await client.detect_cells(b"image")
    records = await secured.audit(4)
    assert [record["client"] for record in records] == ["lab", "lab", "doctors", "doctors"]
    assert {(record["credential"], record["credential_id"]) for record in records} == {
        ("certificate", "analyzer-3"),
        ("certificate", "reading-room"),
    }


async def test_a_certificate_that_the_file_does_not_know_is_nobodys(secured, folder):
    async with connected(secured, folder, "visitor") as client:
        with pytest.raises(UnauthenticatedError):
            await client.list_models()
    (record,) = await secured.audit(1)
    assert (record["reason"], record["credential_id"], record["client"]) == ("unknown", "visitor", "")


async def test_a_key_over_tls_says_who_calls_whatever_the_certificate(secured, folder):
    key = secured.add("program", [Role.REVIEW])
    async with connected(secured, folder, "analyzer-3", api_key=key) as client:
        await client.list_models()
    async with connected(secured, folder, "analyzer-3", api_key=key[:-1]) as client:
        with pytest.raises(UnauthenticatedError):
            await client.list_models()
    records = await secured.audit(2)
    assert [(record["client"], record["reason"]) for record in records] == [
        ("program", ""),
        ("", "malformed"),
    ]


async def test_a_certificate_that_is_taken_from_a_client_is_refused_at_the_next_call(secured, folder):
    async with connected(secured, folder, "analyzer-3") as client:
        await client.list_models()
        secured.revoke("lab")
        with pytest.raises(UnauthenticatedError):
            await client.list_models()


async def test_who_has_no_certificate_does_not_even_reach_the_door(secured, folder):
    credentials = tls_credentials(ca=folder / "ca.crt")
    async with grpc.aio.secure_channel(secured.address, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/hemaserve.v1.SmearService/ListModels")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert secured.ran == []
