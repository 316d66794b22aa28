"""Nothing gets past the door without good credentials; why not, the audit log knows and the answer does not tell."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import time

import grpc.aio
import jwt
import pytest
from google.rpc import error_details_pb2, status_pb2

from hemaserve.access import Quota, Role
from hemaserve.access.keys import digest, make_key
from hemaserve.broken_calls import is_broken
from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc
from services.gateway.access.rules import RULES, is_open
from services.runtime import redaction

from .conftest import AUDIENCE, ISSUER, SERVICE, ago, bearer, begin

METHODS = [*SERVICE.methods_by_name, "ServerReflectionInfo"]


def unsigned(claims: dict) -> str:
    return jwt.encode(claims, "", algorithm="none")


def signed_with_the_public_key(signer, claims: dict) -> str:
    """The old confusion: a public key, which everybody has, used as the secret of HS256."""
    import hashlib

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    header = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": signer.key_id}).encode())
    signing = header + b"." + part(json.dumps(claims).encode())
    mac = hmac.new(signer.public_pem(), signing, hashlib.sha256).digest()
    return (signing + b"." + part(mac)).decode()


def bad_credentials(guarded, signer, stranger) -> dict[str, tuple[str, tuple[tuple[str, str], ...]]]:
    """By what is wrong: the reason that the audit log gives, and the metadata."""
    good = guarded.add("lab")
    expired = guarded.add("lab", expires_at=ago(1))
    revoked = guarded.add("lab")
    guarded.revoke(revoked.split("_")[1])
    now = int(time.time())
    other = good[:-1] + ("A" if good[-1] != "A" else "B")
    token = signer.token()
    tampered = token.split(".")
    tampered[1] = signer.token(sub="somebody-else").split(".")[1]
    return {
        "none": ("missing", ()),
        "empty": ("malformed", (("authorization", ""),)),
        "other scheme": ("malformed", (("authorization", "Basic dXNlcjpwdw=="),)),
        "no token": ("malformed", (("authorization", "Bearer "),)),
        "half a key": ("malformed", (bearer(good[:20]),)),
        "not a key": ("malformed", (("x-api-key", "letmein"),)),
        "two": ("malformed", (bearer(good), ("x-api-key", good))),
        "twice": ("malformed", (bearer(good), bearer(good))),
        "huge": ("malformed", (bearer("x" * 7000),)),
        "unknown key": ("unknown", (bearer(make_key()[1]),)),
        "wrong secret": ("wrong_secret", (bearer(other),)),
        "wrong secret, other header": ("wrong_secret", (("x-api-key", other),)),
        "expired key": ("expired", (bearer(expired),)),
        "revoked key": ("revoked", (bearer(revoked),)),
        "not a token": ("malformed", (bearer("a.b.c"),)),
        "unsigned": ("forbidden_algorithm", (bearer(unsigned(signer.claims())),)),
        "public key as a secret": (
            "forbidden_algorithm",
            (bearer(signed_with_the_public_key(signer, signer.claims())),),
        ),
        "another's signature": ("forged_signature", (bearer(stranger.token()),)),
        "tampered": ("forged_signature", (bearer(".".join(tampered)),)),
        "unknown signing key": ("unknown", (bearer(signer.token(header={"kid": "k9"})),)),
        "expired token": ("expired", (bearer(signer.token(exp=now - 3600)),)),
        "token of tomorrow": ("not_yet_valid", (bearer(signer.token(nbf=now + 3600)),)),
        "wrong audience": ("wrong_audience", (bearer(signer.token(aud="billing")),)),
        "wrong issuer": ("wrong_issuer", (bearer(signer.token(iss="https://elsewhere.example")),)),
        "for ever": ("missing_claim", (bearer(signer.token(exp=None)),)),
        "nobody's": ("missing_claim", (bearer(signer.token(sub=None)),)),
        "odd subject": ("malformed", (bearer(signer.token(sub="a\nb")),)),
    }


async def refusal(guarded, method: str, credentials, messages=None) -> grpc.aio.AioRpcError:
    """The error of a call that is refused; without messages it is one that never says anything."""
    while True:
        guarded.attempts += 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await guarded.call(method, *credentials, messages=silence() if messages is None else messages)
        if not is_broken(caught.value):  # grpc.aio's own confusion, see there
            return caught.value


async def code_of(guarded, method: str, key: str) -> grpc.StatusCode:
    call = begin(guarded.channel, method, [bearer(key)])
    with contextlib.suppress(grpc.aio.AioRpcError):
        async for _ in call:
            pass
    return await call.code()


async def silence():
    await asyncio.Event().wait()
    yield


def everything_told(error: grpc.aio.AioRpcError) -> tuple:
    """All of an answer that a stranger could learn from."""
    metadata = [
        (key, bytes(value, "ascii") if isinstance(value, str) else value)
        for key, value in (*error.initial_metadata(), *error.trailing_metadata())
    ]
    return error.code(), error.details(), tuple(sorted(metadata))


@pytest.mark.parametrize("method", METHODS)
async def test_bad_credentials_of_every_kind_get_one_answer_and_the_audit_log_tells_them_apart(
    guarded, signer, stranger, method
):
    cases = bad_credentials(guarded, signer, stranger)
    answers = set()
    for what, (reason, credentials) in cases.items():
        answers.add(everything_told(await refusal(guarded, method, credentials)))
        record = (await guarded.audit(guarded.attempts))[-1]
        assert (record["code"], record["reason"]) == ("UNAUTHENTICATED", reason), what
        assert record["method"].endswith(f"/{method}")
    assert len(answers) == 1
    ((code, _, _),) = answers
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert guarded.ran == []


async def test_a_key_is_compared_in_constant_time_whether_its_id_is_known_or_not(guarded, monkeypatch):
    key, compared = guarded.add("lab"), []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    shown = [key, make_key()[1], key[:-1] + ("A" if key[-1] != "A" else "B")]
    for each in shown:
        await code_of(guarded, "ListModels", each)
    assert [a for a, _ in compared] == [digest(each) for each in shown]


async def test_a_refusal_has_a_reason_and_our_domain_and_nothing_else(guarded):
    error = await refusal(guarded, "ListModels", ())
    metadata = dict(error.trailing_metadata())
    assert set(metadata) == {"grpc-status-details-bin"}
    (detail,) = status_pb2.Status.FromString(metadata["grpc-status-details-bin"]).details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert (info.reason, info.domain) == ("UNAUTHENTICATED", "hemaserve")


@pytest.mark.parametrize("method", METHODS)
async def test_good_credentials_of_each_kind_get_in_and_handlers_know_who_calls(guarded, signer, method):
    key = guarded.add("lab")
    for credentials in (
        bearer(key),
        ("x-api-key", key),
        ("authorization", f"bEaReR {key}"),
        bearer(signer.token()),
    ):
        await guarded.call(method, credentials)
    records = await guarded.audit(4)
    assert [record["client"] for record in records] == ["lab", "lab", "lab", "token:someone"]
    assert [record["credential"] for record in records] == ["api_key"] * 3 + ["token"]
    assert [record["credential_id"] for record in records] == [key.split("_")[1]] * 3 + ["t-1"]
    assert {record["code"] for record in records} == {"OK"}
    if method != "ServerReflectionInfo":
        assert guarded.ran == [(method, "lab")] * 3 + [(method, "token:someone")]


def test_every_rpc_has_a_rule_and_every_rule_an_rpc():
    methods = {f"/{SERVICE.full_name}/{name}" for name in SERVICE.methods_by_name}
    ours = {method for method in RULES if method.startswith("/hemaserve.")}
    assert ours == methods
    assert all(rule.any_of for rule in RULES.values())
    assert not any(is_open(method) for method in RULES)


ANALYZING = {"AnalyzeField", "AnalyzeSmear", "DetectCells", "ClassifyCells"}
LISTING = {"ListModels", "ListSiteProfiles"}
ALLOWED = {
    Role.ANALYZE: ANALYZING | LISTING,
    Role.REVIEW: {"ExplainCell"} | LISTING,
    Role.OPERATE: {"ServerReflectionInfo"} | LISTING,
}


@pytest.mark.parametrize("role", Role)
async def test_a_role_opens_its_rpcs_and_no_others(guarded, role):
    key = guarded.add("lab", [role])
    opened = set()
    for method in METHODS:
        code = await code_of(guarded, method, key)
        assert code in (grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED)
        if code is grpc.StatusCode.OK:
            opened.add(method)
    assert opened == ALLOWED[role]
    assert {name for name, _ in guarded.ran} == opened - {"ServerReflectionInfo"}
    refused = [record for record in await guarded.audit(len(METHODS)) if record["code"] != "OK"]
    assert {(record["client"], record["code"], record["reason"]) for record in refused} == {
        ("lab", "PERMISSION_DENIED", "ROLE_MISSING")
    }


async def test_a_token_without_a_role_of_ours_opens_nothing(guarded, signer):
    error = await refusal(guarded, "ListModels", [bearer(signer.token(roles=["admin"]))])
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_both_keys_work_during_a_rotation_and_a_revoked_one_fails_at_the_next_call(guarded):
    old, new = guarded.add("lab"), guarded.add("lab")
    for key in (old, new, old):
        await guarded.call("ListModels", bearer(key))
    guarded.revoke(old.split("_")[1])
    assert (await refusal(guarded, "ListModels", [bearer(old)])).code() is grpc.StatusCode.UNAUTHENTICATED
    await guarded.call("ListModels", bearer(new))


async def test_a_key_added_while_it_runs_works_and_a_broken_file_changes_nothing(guarded):
    key = guarded.add("lab")
    await guarded.call("ListModels", bearer(key))
    text = guarded.path.read_text()
    guarded.path.write_text(text[: len(text) // 2])
    await guarded.call("ListModels", bearer(key))
    assert guarded.application.registry.get_sample_value("hemaserve_access_file_usable") == 0
    guarded.path.unlink()
    await guarded.call("ListModels", bearer(key))
    guarded.path.write_text(text)
    await guarded.call("ListModels", bearer(key))
    assert guarded.application.registry.get_sample_value("hemaserve_access_file_usable") == 1


async def test_a_stranger_is_refused_before_any_message_is_read(guarded):
    """None is sent: only a door that does not wait for one has an answer."""
    call = begin(guarded.channel, "AnalyzeField", (), silence())
    assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_what_is_no_message_is_the_callers_fault(guarded):
    key = guarded.add("lab")
    call = guarded.channel.unary_unary(f"/{SERVICE.full_name}/AnalyzeField")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff", metadata=(bearer(key),))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_tells_whose_blood_it_is_stays_out_of_logs_at_a_guarded_gateway_too(guarded, monkeypatch):
    """The server's own interceptor sees only bytes here."""
    seen = []

    async def work(self, name):
        seen.append(redaction.redact("of SPECIMEN-7"))

    monkeypatch.setattr(type(guarded.application.servicer), "_after_message", work, raising=False)
    opening = gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="s", specimen="SPECIMEN-7"))
    await guarded.call("AnalyzeSmear", bearer(guarded.add("lab")), messages=[opening])
    assert seen
    assert not [text for text in seen if "SPECIMEN-7" in text]


async def test_health_is_open_to_probes(guarded):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    answer = await health_pb2_grpc.HealthStub(guarded.channel).Check(
        health_pb2.HealthCheckRequest(), timeout=20
    )
    assert answer.status in (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )


async def test_refusals_are_counted_by_reason_and_by_code(guarded):
    await refusal(guarded, "ListModels", ())
    registry = guarded.application.registry
    assert registry.get_sample_value("hemaserve_access_refused_total", {"reason": "missing"}) == 1
    labels = {"method": f"/{SERVICE.full_name}/ListModels", "code": "UNAUTHENTICATED"}
    assert registry.get_sample_value("hemaserve_rpc_handled_total", labels) == 1


async def test_the_audit_log_counts_what_was_sent_and_names_none_of_it(guarded):
    key = guarded.add("lab")
    opening = gateway_pb2.AnalyzeSmearRequest(
        open=gateway_pb2.OpenSmear(smear_id="SMEAR-7", specimen="SPECIMEN-7")
    )
    fields = [
        gateway_pb2.AnalyzeSmearRequest(field=gateway_pb2.Field(field_id=f"FIELD-{n}", image=b"IMAGE" * 10))
        for n in range(3)
    ]
    await guarded.call("AnalyzeSmear", bearer(key), messages=[opening, *fields])
    (record,) = await guarded.audit(1)
    assert (record["requests"], record["fields"]) == (1, 3)
    assert record["bytes"] == sum(message.ByteSize() for message in (opening, *fields))
    text = guarded.audit_path.read_text()
    assert not [word for word in ("SMEAR-", "SPECIMEN-", "FIELD-", "IMAGE", key) if word in text]
    assert guarded.audit_path.stat().st_mode & 0o077 == 0


async def test_a_call_that_is_cancelled_is_taken_down_as_such(guarded):
    key = guarded.add("lab")
    guarded.application.servicer.gate = asyncio.Event()
    call = begin(guarded.channel, "AnalyzeField", [bearer(key)])
    async with asyncio.timeout(20):
        while not guarded.ran:  # noqa: ASYNC110 - the other side changes it
            await asyncio.sleep(0.005)
    call.cancel()
    (record,) = await guarded.audit(1)
    assert (record["client"], record["code"]) == ("lab", "CANCELLED")


async def test_a_call_out_of_time_is_taken_down_as_such(guarded):
    key = guarded.add("lab")
    guarded.application.servicer.gate = asyncio.Event()
    stub = gateway_pb2_grpc.SmearServiceStub(guarded.channel)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(), metadata=(bearer(key),), timeout=0.2)
    (record,) = await guarded.audit(1)
    assert record["code"] == "DEADLINE_EXCEEDED"


async def test_a_stream_whose_caller_went_away_is_taken_down_as_cancelled_with_what_it_sent(guarded):
    key = guarded.add("lab")

    async def unending():
        for message in smear(2):
            yield message
        await asyncio.Event().wait()

    times = 20
    for _ in range(times):
        call = begin(guarded.channel, "AnalyzeSmear", [bearer(key)], unending())
        for _ in range(3):
            await call.read()
        call.cancel()
    records = await guarded.audit(times)
    assert {(record["client"], record["code"], record["fields"]) for record in records} == {
        ("lab", "CANCELLED", 2)
    }


async def test_calls_are_refused_while_nobody_can_take_them_down(guard, tmp_path):
    away = tmp_path / "away" / "audit.jsonl"
    guarded = await guard(audit_log=away, audit_required=True)
    guarded.audit_path = away
    key = guarded.add("lab")
    await guarded.call("ListModels", bearer(key))  # that it cannot be written shows only now
    lost = "hemaserve_audit_records_lost_total"
    async with asyncio.timeout(20):
        while not guarded.application.registry.get_sample_value(lost):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    error = await refusal(guarded, "ListModels", [bearer(key)])
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    away.parent.mkdir()
    async with asyncio.timeout(20):
        # The first refusal that is taken down shows that the log can be written again.
        while await code_of(guarded, "ListModels", key) is not grpc.StatusCode.OK:
            pass
    assert [name for name, _ in guarded.ran] == ["ListModels"] * 2


QUOTA_METADATA = {"ratelimit", "ratelimit-policy"}


async def test_a_quota_of_requests_is_told_and_kept(guarded):
    key = guarded.add("lab", quota=Quota(requests=2))
    call = await guarded.call("ListModels", bearer(key))
    told = dict(await call.trailing_metadata())
    assert told["ratelimit-policy"] == '"requests";q=2;w=60'
    assert told["ratelimit"].startswith('"requests";r=1;t=')
    await guarded.call("ListModels", bearer(key))
    error = await refusal(guarded, "ListModels", [bearer(key)])
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    told = dict(error.trailing_metadata())
    assert told["ratelimit"].startswith('"requests";r=0;t=')
    status = status_pb2.Status.FromString(told["grpc-status-details-bin"])
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "QUOTA_EXCEEDED"
    assert status.details[1].Unpack(retry)
    assert 0 < retry.retry_delay.ToMilliseconds() <= 30_000
    record = (await guarded.audit(3))[-1]
    assert (record["client"], record["code"], record["reason"]) == (
        "lab",
        "RESOURCE_EXHAUSTED",
        "QUOTA_EXCEEDED",
    )


async def test_one_clients_quota_is_not_anothers_and_without_one_nothing_is_told(guarded):
    mean, free = guarded.add("mean", quota=Quota(requests=1)), guarded.add("free")
    await guarded.call("ListModels", bearer(mean))
    for _ in range(3):
        call = await guarded.call("ListModels", bearer(free))
        assert not QUOTA_METADATA & set(dict(await call.trailing_metadata()))
    assert (await refusal(guarded, "ListModels", [bearer(mean)])).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_all_keys_of_a_client_draw_on_one_quota(guarded):
    first, second = guarded.add("lab", quota=Quota(requests=1)), guarded.add("lab")
    await guarded.call("ListModels", bearer(first))
    assert (
        await refusal(guarded, "ListModels", [bearer(second)])
    ).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def smear(count: int, size: int = 10) -> list[gateway_pb2.AnalyzeSmearRequest]:
    fields = (gateway_pb2.Field(field_id=f"f{n}", image=bytes(size)) for n in range(count))
    return [gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="s"))] + [
        gateway_pb2.AnalyzeSmearRequest(field=field) for field in fields
    ]


async def test_a_stream_slows_down_to_its_quota_of_fields(guarded):
    """600 a minute are ten a second: of 603 fields the last three wait, together about 0.3 s."""
    key = guarded.add("lab", quota=Quota(fields=600))
    await guarded.call("AnalyzeSmear", bearer(key), messages=smear(603))
    assert guarded.application.servicer.messages == 604
    waited = guarded.application.registry.get_sample_value("hemaserve_access_throttled_seconds_total")
    assert 0 < waited <= 0.3


async def test_a_stream_that_would_wait_too_long_is_told_when_to_come_again(guard):
    guarded = await guard(quota_wait_s=1)
    key = guarded.add("lab", quota=Quota(fields=2))
    error = await refusal(guarded, "AnalyzeSmear", [bearer(key)], smear(3))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert guarded.application.servicer.messages >= 3  # the opening and what the quota has room for


async def test_a_unary_call_does_not_wait_for_its_quota_of_fields(guarded):
    key = guarded.add("lab", quota=Quota(fields=1))
    request = [gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(field_id="f"))]
    await guarded.call("AnalyzeField", bearer(key), messages=request)
    error = await refusal(guarded, "AnalyzeField", [bearer(key)], request)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [name for name, _ in guarded.ran] == ["AnalyzeField"]


async def test_what_no_wait_would_let_in_is_not_told_to_come_again(guarded):
    key = guarded.add("lab", quota=Quota(bytes=100))
    error = await refusal(guarded, "AnalyzeSmear", [bearer(key)], smear(1, size=1000))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_messages_of_cells_count_as_requests(guard):
    guarded = await guard(quota_wait_s=0)
    key = guarded.add("lab", quota=Quota(requests=3))
    await guarded.call("ClassifyCells", bearer(key), messages=[gateway_pb2.ClassifyCellsRequest()] * 3)
    (record,) = await guarded.audit(1)
    assert record["requests"] == 3
    assert (await refusal(guarded, "ListModels", [bearer(key)])).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_issuer_of_these_tests_is_the_one_in_the_file(access_path):
    (issuer,) = json.loads(access_path.read_text())["issuers"]
    assert (issuer["issuer"], issuer["audience"]) == (ISSUER, AUDIENCE)
