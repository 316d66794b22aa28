"""Tokens: an issuer's keys are fetched when they are needed, kept when it is away, and not fetched for forgers."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.access import Issuer, Role
from hemaserve.errors import Unavailable
from services.gateway.access import key_set as key_sets
from services.gateway.access.key_set import KeySet, parse, source_of
from services.gateway.access.refusals import Reason, Refused
from services.gateway.access.tokens import TokenVerifier, roles_of

from .conftest import AUDIENCE, ISSUER, Signer, key_set


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """An issuer that can be away."""

    def __init__(self, *signers: Signer) -> None:
        self.text = key_set(*signers).encode()
        self.away = False
        self.fetches = 0

    def __call__(self) -> bytes:
        self.fetches += 1
        if self.away:
            raise ConnectionRefusedError
        return self.text


_KEYS = Source(Signer())


async def settled(keys: KeySet) -> None:
    """Wait for a fetch behind the calls' back."""
    if keys._fetching is not None:
        await keys._fetching


async def test_keys_are_fetched_once_and_renewed_behind_the_back_of_calls(signer):
    clock, source = Clock(), Source(signer)
    keys = KeySet(source, clock=clock)
    assert await keys.key("k1") is not None
    assert await keys.key(None) is not None  # the only one
    assert source.fetches == 1
    clock.now += key_sets.REFRESH_S + 1
    assert await keys.key("k1") is not None
    await settled(keys)
    assert source.fetches == 2


async def test_an_issuer_that_is_away_is_not_missed_for_a_day(signer):
    clock, source = Clock(), Source(signer)
    keys = KeySet(source, clock=clock)
    await keys.key("k1")
    source.away = True
    for _ in range(100):
        clock.now += (key_sets.KEPT_S - 60) / 100
        assert await keys.key("k1") is not None
        await settled(keys)
    clock.now += 120
    with pytest.raises(Unavailable):
        await keys.key("k1")
    source.away = False
    clock.now += key_sets.PAUSE_S
    assert await keys.key("k1") is not None


async def test_an_issuer_that_never_was_there_is_said_so(signer):
    source = Source(signer)
    source.away = True
    with pytest.raises(Unavailable):
        await KeySet(source).key("k1")


async def test_a_new_key_is_found_and_a_thousand_invented_ones_cost_one_fetch(signer):
    clock, source = Clock(), Source(signer)
    keys = KeySet(source, clock=clock)
    await keys.key("k1")
    clock.now += key_sets.PAUSE_S
    found = await asyncio.gather(*(keys.key(f"invented-{number}") for number in range(1000)))
    assert set(found) == {None}
    assert source.fetches == 2
    source.text = key_set(signer, Signer(signer.key, "k2")).encode()
    clock.now += key_sets.PAUSE_S
    assert await keys.key("k2") is not None


async def test_a_slow_issuer_holds_up_nobody_whose_key_is_known(signer):
    clock, source, gate = Clock(), Source(signer), threading.Event()
    keys = KeySet(lambda: (source.fetches < 1 or gate.wait(20), source())[1], clock=clock)
    await keys.key("k1")
    clock.now += key_sets.REFRESH_S + 1
    assert await keys.key("k1") is not None
    gate.set()
    await settled(keys)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys": 1}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        b"<",
    ],
)
def test_what_holds_no_public_key_is_no_key_set(text):
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        parse(text)


def test_keys_of_no_use_are_passed_over(signer):
    odd = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        signer.jwk() | {"use": "enc", "kid": "b"},
        {"kty": "?"},
        1,
    ]
    keys = parse(json.dumps({"keys": [*odd, signer.jwk()]}).encode())
    assert set(keys) == {"k1"}


@contextmanager
def served(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """A web server of these answers by path; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[self.path]
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body.decode())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_keys_come_from_a_web_server_and_stay_when_it_goes(signer, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    made = []

    def make(source):
        made.append(KeySet(source))
        return made[-1]

    verifier = TokenVerifier(tmp_path, make_key_set=make)
    with served({"/keys": (200, key_set(signer).encode())}) as address:
        issuers = (Issuer(ISSUER, AUDIENCE, f"{address}/keys"),)
        holder = await verifier.verify(signer.token(), issuers)
    assert holder.subject == "someone"
    made[0]._clock = Clock()
    made[0]._fetched_at, made[0]._tried_at = 1000.0 - key_sets.REFRESH_S - 1, 0.0
    assert (await verifier.verify(signer.token(), issuers)).roles == frozenset(Role)
    await settled(made[0])
    assert (await verifier.verify(signer.token(), issuers)).roles == frozenset(Role)


async def test_keys_come_from_nowhere_that_their_place_points_to(signer, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with served({"/real": (200, key_set(signer).encode())}) as elsewhere:
        answers = {"/keys": (302, f"{elsewhere}/real".encode()), "/gone": (404, b"")}
        with served(answers) as address:
            for path in answers:
                with pytest.raises(OSError):  # noqa: PT011 - of several kinds
                    source_of(address + path, tmp_path)()


async def test_an_elliptic_key_works_and_each_key_only_with_its_own_algorithms(tmp_path, signer):
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "e1"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk, signer.jwk()]}))
    verifier, issuers = TokenVerifier(tmp_path), (Issuer(ISSUER, AUDIENCE, "keys.json"),)
    token = jwt.encode(signer.claims(), key, algorithm="ES256", headers={"kid": "e1"})
    assert (await verifier.verify(token, issuers)).subject == "someone"
    crossed = jwt.encode(signer.claims(), key, algorithm="ES256", headers={"kid": "k1"})
    with pytest.raises(Refused) as caught:
        await verifier.verify(crossed, issuers)
    assert caught.value.why is Reason.FORBIDDEN_ALGORITHM


async def test_the_clocks_may_differ_by_the_leeway(tmp_path, signer):
    (tmp_path / "keys.json").write_text(key_set(signer))
    verifier, issuers = TokenVerifier(tmp_path), (Issuer(ISSUER, AUDIENCE, "keys.json", leeway_s=60),)
    now = signer.claims()["iat"]
    assert await verifier.verify(signer.token(exp=now - 30, nbf=now + 30, iat=now + 30), issuers)
    with pytest.raises(Refused):
        await verifier.verify(signer.token(exp=now - 90), issuers)


@pytest.mark.parametrize(
    ("claims", "path", "roles"),
    [
        ({"roles": ["analyze", "admin", 7]}, "roles", {Role.ANALYZE}),
        ({"scope": "openid review operate"}, "scope", {Role.REVIEW, Role.OPERATE}),
        ({"realm_access": {"roles": ["review"]}}, "realm_access.roles", {Role.REVIEW}),
        ({"https://lab.example/roles": ["review"]}, "https://lab.example/roles", {Role.REVIEW}),
        ({"roles": {"analyze": True}}, "roles", set()),
        ({"roles": None}, "roles", set()),
        ({}, "realm_access.roles", set()),
    ],
)
def test_roles_are_found_where_the_issuer_puts_them(claims, path, roles):
    assert roles_of(claims, path) == roles


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
known = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "iss", "aud", "sub", "exp", "nbf", "iat"])
objects = (
    st.dictionaries(known, json_values | st.sampled_from(["RS256", "k1", ISSUER, AUDIENCE, "none"]))
    | json_values
)


@given(objects, objects, st.binary(max_size=300))
async def test_nothing_that_a_stranger_can_write_is_more_than_refused(header, payload, signature):
    keys = KeySet(_KEYS)
    verifier = TokenVerifier(Path(), make_key_set=lambda _: keys)
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    with pytest.raises(Refused):
        await verifier.verify(token, (Issuer(ISSUER, AUDIENCE, "keys.json"),))


@given(st.text(max_size=100) | st.lists(st.text(max_size=30), min_size=3, max_size=3).map(".".join))
async def test_no_text_is_a_token_by_chance(text):
    with pytest.raises(Refused):
        await TokenVerifier(Path()).verify(text, ())
