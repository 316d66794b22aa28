"""A guarded server whose handlers only note that they ran, an issuer of tokens, and an audit log to read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from grpc_reflection.v1alpha import reflection_pb2

from hemaserve.access import Access as AccessContent
from hemaserve.access import Issuer, Quota, Role
from hemaserve.access.editing import change, revoked, with_key
from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc
from services.gateway.access.open import Access
from services.gateway.settings import GatewaySettings
from services.runtime.principal import current_principal
from services.runtime.server import running

ISSUER = "https://login.example"
AUDIENCE = "hemaserve"
SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["SmearService"]
PATIENCE_S = 20.0


class NotingServicer(gateway_pb2_grpc.SmearServiceServicer):
    """Answers with nothing, and notes who asked for what."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []
        self.messages = 0
        self.gate: asyncio.Event | None = None

    def _note(self, name: str) -> None:
        self.ran.append((name, current_principal.get().name))

    async def _in_a_task(self, name: str) -> None:
        # As the gateway's streams do their work: in tasks of their own.
        async def work() -> None:
            self._note(name)

        await asyncio.create_task(work())

    async def _after_message(self, name: str) -> None:
        """For a test to look around in."""

    async def AnalyzeField(self, request, context):
        self._note("AnalyzeField")
        if self.gate is not None:
            await self.gate.wait()
        return gateway_pb2.AnalyzeFieldResponse()

    async def AnalyzeSmear(self, request_iterator, context):
        await self._in_a_task("AnalyzeSmear")
        async for _ in request_iterator:
            self.messages += 1
            await self._after_message("AnalyzeSmear")
            yield gateway_pb2.AnalyzeSmearResponse()

    async def DetectCells(self, request, context):
        self._note("DetectCells")
        return gateway_pb2.DetectCellsResponse()

    async def ClassifyCells(self, request_iterator, context):
        await self._in_a_task("ClassifyCells")
        async for _ in request_iterator:
            yield gateway_pb2.ClassifyCellsResponse()

    async def ExplainCell(self, request, context):
        self._note("ExplainCell")
        return gateway_pb2.ExplainCellResponse()

    async def ListModels(self, request, context):
        self._note("ListModels")
        return gateway_pb2.ListModelsResponse()

    async def ListSiteProfiles(self, request, context):
        self._note("ListSiteProfiles")
        return gateway_pb2.ListSiteProfilesResponse()


class GuardedApplication:
    service_names = (SERVICE.full_name,)

    def __init__(self, settings: GatewaySettings) -> None:
        self.servicer = NotingServicer()
        self.settings = settings
        self.access: Access | None = None

    def interceptors(self, registry):
        assert self.settings.access is not None
        self.access = Access(self.settings.access, self.settings, registry)
        self.registry = registry
        return (self.access.interceptor,)

    def register(self, server: grpc.aio.Server) -> None:
        gateway_pb2_grpc.add_SmearServiceServicer_to_server(self.servicer, server)

    async def check(self) -> None: ...

    async def close(self) -> None:
        self.access.close()


@dataclass
class Signer:
    """An issuer's key, and tokens signed with it."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    key_id: str = "k1"

    def jwk(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**public, "kid": self.key_id, "use": "sig", "alg": "RS256"}

    def public_pem(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def claims(self, **claims: Any) -> dict[str, Any]:
        now = int(time.time())
        made = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "someone",
            "exp": now + 600,
            "iat": now,
            "jti": "t-1",
            "roles": ["analyze", "review", "operate"],
            **claims,
        }
        return {name: value for name, value in made.items() if value is not None}

    def token(self, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        headers = {"kid": self.key_id, **(header or {})}
        return jwt.encode(self.claims(**claims), self.key, algorithm="RS256", headers=headers)


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()


@pytest.fixture(scope="session")
def stranger() -> Signer:
    """A key that the issuer does not have, under the id of the one that it has."""
    return Signer()


def key_set(*signers: Signer) -> str:
    return json.dumps({"keys": [signer.jwk() for signer in signers]})


@dataclass
class Guarded:
    """A guarded server, and the files around it."""

    path: Path
    audit_path: Path
    application: GuardedApplication
    channel: grpc.aio.Channel
    address: str
    attempts: int = 0
    """Calls that were to be refused, with those that broke before that was heard."""

    @property
    def ran(self) -> list[tuple[str, str]]:
        return self.application.servicer.ran

    def add(self, name: str, roles: Iterable[Role] = tuple(Role), **given: Any) -> str:
        """One more key of a client's."""
        return add_key(self.path, name, roles, **given)

    def revoke(self, name: str) -> None:
        change(self.path, lambda access: revoked(access, name, now=datetime.now(UTC)))

    async def call(self, name: str, *credentials: tuple[str, str], messages: Iterable[Any] | None = None):
        """Call an RPC to its end; returns the call."""
        call = begin(self.channel, name, credentials, messages)
        async for _ in call:
            pass
        return call

    async def audit(self, count: int) -> list[dict[str, Any]]:
        """The first records, once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while len(lines := self._lines()) < count:  # noqa: ASYNC110 - a thread writes them
                await asyncio.sleep(0.005)
        return [json.loads(line) for line in lines]

    def _lines(self) -> list[str]:
        """Those that are written to their end."""
        if not self.audit_path.exists():
            return []
        return self.audit_path.read_text().split("\n")[:-1]


def begin(channel: grpc.aio.Channel, name: str, credentials: Iterable[tuple[str, str]], messages: Any = None):
    """Start an RPC, as a stream whatever it is, with one empty message unless others are given."""
    if name == "ServerReflectionInfo":
        path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        request, response = (
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionResponse,
        )
    else:
        method = SERVICE.methods_by_name[name]
        path = f"/{SERVICE.full_name}/{name}"
        request = getattr(gateway_pb2, method.input_type.name)()
        response = getattr(gateway_pb2, method.output_type.name)
    open_call = channel.stream_stream(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    return open_call(
        messages if hasattr(messages, "__aiter__") else iter([request] if messages is None else messages),
        metadata=tuple(credentials),
        timeout=PATIENCE_S,
    )


def add_key(path: Path, name: str, roles: Iterable[Role] = tuple(Role), **given: Any) -> str:
    made = []

    def edit(access: AccessContent) -> AccessContent:
        changed, key = with_key(access, name, now=datetime.now(UTC), roles=roles, **given)
        made.append(key)
        return changed

    change(path, edit)
    return made[0]


@pytest.fixture
def access_path(tmp_path: Path, signer: Signer) -> Path:
    """An access file that trusts one issuer and knows nobody."""
    path = tmp_path / "access.json"
    (tmp_path / "keys.json").write_text(key_set(signer))
    change(path, lambda access: AccessContent(issuers=(Issuer(ISSUER, AUDIENCE, "keys.json"),)))
    return path


class NoEndpoint:
    """In place of the endpoint of metrics, which takes half a second to end."""

    address = ""

    def __init__(self, *_: Any) -> None: ...

    def close(self) -> None: ...


Guard = Callable[..., Any]


@pytest.fixture
async def guard(access_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Guard]:
    """`await guard(**settings)`: a guarded server."""
    monkeypatch.setattr("services.runtime.server.MetricsEndpoint", NoEndpoint)
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Guarded:
            return await stack.enter_async_context(_serving(access_path, tmp_path / "audit.jsonl", settings))

        yield start


@asynccontextmanager
async def _serving(path: Path, audit_path: Path, settings: dict[str, Any]) -> AsyncIterator[Guarded]:
    chosen = GatewaySettings(
        **{
            "listen": "127.0.0.1:0",
            "metrics_listen": "127.0.0.1:0",
            "access": path,
            "audit_log": audit_path,
            "drain_grace_s": 0,
            **settings,
        }
    )
    application = GuardedApplication(chosen)
    async with (
        running(application, chosen, name="guarded") as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Guarded(path, audit_path, application, channel, server.address)


@pytest.fixture
async def guarded(guard: Guard) -> Guarded:
    return await guard()


def bearer(text: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {text}")


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


NO_QUOTA = Quota()
