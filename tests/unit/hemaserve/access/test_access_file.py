"""The access file: what it says is what was said, and what is wrong in it is named and never passed over."""

import json
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.access import (
    Access,
    ApiKey,
    Client,
    Issuer,
    Quota,
    Role,
    UnusableAccessFile,
    from_text,
    to_text,
)
from hemaserve.access.clients import SIGNATURE_ALGORITHMS
from hemaserve.access.editing import NoSuchKey, change, read, revoked, with_key
from hemaserve.access.file import FORMAT
from hemaserve.access.keys import digest, key_id_of, make_key, matches

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True).filter(lambda name: name != "anonymous")
limits = st.none() | st.floats(1, 1e12)
quotas = st.builds(Quota, limits, limits, limits)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
keys = st.builds(
    ApiKey,
    st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    times,
    st.none() | times,
    st.none() | times,
)


@st.composite
def accesses(draw: st.DrawFn) -> Access:
    ids = draw(st.lists(keys, unique_by=lambda key: key.key_id, max_size=6))
    certificates = draw(st.lists(texts, unique=True, max_size=4))
    clients = tuple(
        Client(
            name,
            draw(st.frozensets(st.sampled_from(Role), min_size=1)),
            draw(quotas),
            tuple(certificates[number::3]),
            tuple(ids[number::3]),
        )
        for number, name in enumerate(draw(st.lists(names, unique=True, max_size=3)))
    )
    issuers = draw(
        st.lists(
            st.builds(
                Issuer,
                texts,
                texts,
                st.just("https://login.example/keys") | st.just("keys.json"),
                st.lists(st.sampled_from(SIGNATURE_ALGORITHMS), min_size=1).map(tuple),
                texts,
                st.floats(0, 300),
            ),
            unique_by=lambda issuer: issuer.issuer,
            max_size=2,
        )
    )
    return Access(clients, draw(st.dictionaries(st.sampled_from(Role), quotas)), tuple(issuers))


@given(accesses())
def test_what_is_written_is_read_again(access):
    assert from_text(to_text(access)) == access


def client(**members):
    return {"format": FORMAT, "clients": {"lab": {"roles": ["analyze"], **members}}}


def issuer(**members):
    made = {"issuer": "https://login.example", "audience": "h", "jwks": "keys.json", **members}
    return {"format": FORMAT, "issuers": [made]}


KEY = {"id": "0" * 12, "sha256": "0" * 64, "created_at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([], "the file"),
        ({}, "format"),
        ({"format": "other"}, "format"),
        ({"format": FORMAT, "client": {}}, "client"),
        ({"format": FORMAT, "clients": []}, "clients"),
        ({"format": FORMAT, "clients": {"Lab": {"roles": ["analyze"]}}}, "Lab"),
        ({"format": FORMAT, "clients": {"anonymous": {"roles": ["analyze"]}}}, "anonymous"),
        ({"format": FORMAT, "clients": {"token:x": {"roles": ["analyze"]}}}, "token:x"),
        (client(roles=[]), "clients.lab.roles"),
        (client(roles=["admin"]), "admin"),
        (client(roles="analyze"), "clients.lab.roles"),
        (client(role="analyze"), "role"),
        (client(quota={"requests": 0}), "clients.lab.quota.requests"),
        (client(quota={"requests": -1}), "clients.lab.quota.requests"),
        (client(quota={"requests": True}), "clients.lab.quota.requests"),
        (client(quota={"requests": float("nan")}), "clients.lab.quota.requests"),
        (client(quota={"requests": 10**400}), "clients.lab.quota.requests"),
        (client(quota={"cells": 1}), "cells"),
        (client(keys=[KEY | {"id": "x"}]), "clients.lab.keys[0].id"),
        (client(keys=[KEY | {"sha256": "hsk_secret"}]), "clients.lab.keys[0].sha256"),
        (client(keys=[KEY | {"created_at": "yesterday"}]), "clients.lab.keys[0].created_at"),
        (client(keys=[KEY | {"expires_at": "2026-01-01T00:00:00"}]), "clients.lab.keys[0].expires_at"),
        (client(keys=[KEY, KEY]), "0" * 12),
        (client(certificates=["a", "a"]), "certificates"),
        (client(certificates=[" a"]), "certificates"),
        (issuer(algorithms=["HS256"]), "issuers[0].algorithms"),
        (issuer(algorithms=["none"]), "issuers[0].algorithms"),
        (issuer(algorithms=[]), "issuers[0].algorithms"),
        (issuer(jwks="http://login.example/keys"), "issuers[0].jwks"),
        (issuer(leeway_s=1e6), "issuers[0].leeway_s"),
        (issuer(audience=""), "issuers[0].audience"),
        ({"format": FORMAT, "role_quotas": {"admin": {}}}, "admin"),
    ],
)
def test_what_is_wrong_is_named(content, named):
    with pytest.raises(UnusableAccessFile) as caught:
        from_text(json.dumps(content))
    assert named in str(caught.value)
    assert "hsk_secret" not in str(caught.value)  # a key where its digest belongs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        '{"format": 1, "format": 2}',
        to_text(Access()).replace("{", '{"format": "x",', 1),
    ],
)
def test_what_is_no_json_or_says_two_things_is_refused(text):
    with pytest.raises(UnusableAccessFile):
        from_text(text)


def test_keys_differ_match_themselves_and_have_256_random_bits():
    made = [make_key() for _ in range(100)]
    assert len({key for _, key in made}) == 100
    for key_id, key in made:
        assert key_id_of(key) == key_id
        assert matches(key, digest(key))
        assert not matches(key[:-1], digest(key))
        assert len(key.rpartition(key_id + "_")[2]) == 43  # of 6 bits


@given(st.text())
def test_only_keys_have_ids(text):
    assert key_id_of(text) is None


def test_digests_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((a, b)) or False)
    assert not matches("x", "y")
    assert compared == [(digest("x"), "y")]


def add(path, name="lab", **given):
    made = []

    def edit(access):
        changed, key = with_key(access, name, now=NOW, **given)
        made.append(key)
        return changed

    change(path, edit)
    return made[0]


def test_a_client_gets_keys_side_by_side_and_loses_one_or_all(tmp_path):
    path = tmp_path / "folder" / "access.json"
    first = add(path, roles=[Role.ANALYZE], certificates=["lab.example"])
    second = add(path, expires_at=NOW + timedelta(days=1), quota=Quota(requests=5))
    (lab,) = read(path).clients
    assert [key.sha256 for key in lab.keys] == [digest(first), digest(second)]
    assert (lab.roles, lab.quota, lab.certificates) == ({Role.ANALYZE}, Quota(requests=5), ("lab.example",))
    change(path, lambda access: revoked(access, key_id_of(first), now=NOW))
    (lab,) = read(path).clients
    assert [key.revoked_at for key in lab.keys] == [NOW, None]
    assert lab.certificates == ("lab.example",)
    change(path, lambda access: revoked(access, "lab", now=NOW + timedelta(1)))
    (lab,) = read(path).clients
    assert [key.revoked_at for key in lab.keys] == [NOW, NOW + timedelta(1)]
    assert lab.certificates == ()


def test_the_file_is_for_its_owner_and_holds_no_key(tmp_path):
    path = tmp_path / "access.json"
    key = add(path, roles=[Role.ANALYZE])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert key[-43:] not in path.read_text()


def test_a_new_client_needs_a_role_and_a_key_to_revoke_must_be_there(tmp_path):
    path = tmp_path / "access.json"
    with pytest.raises(ValueError, match="needs a role"):
        add(path)
    with pytest.raises(NoSuchKey):
        change(path, lambda access: revoked(access, "nobody", now=NOW))
    assert not path.exists()


def test_an_edit_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "access.json"
    add(path, roles=[Role.ANALYZE])
    before = path.read_text()
    with pytest.raises(UnusableAccessFile):
        change(path, lambda access: Access((*access.clients, Client("new", frozenset()))))
    path.write_text(before + "x")
    with pytest.raises(UnusableAccessFile):
        add(path)
    assert path.read_text() == before + "x"
    assert {item.name for item in tmp_path.iterdir()} == {"access.json", "access.json.lock"}


def test_keys_that_are_added_at_the_same_time_are_all_there(tmp_path):
    path = tmp_path / "access.json"
    threads = [
        threading.Thread(target=add, args=(path, f"lab-{number % 3}"), kwargs={"roles": [Role.REVIEW]})
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(client.keys) for client in read(path).clients) == 12


def test_a_link_to_the_file_stays_a_link(tmp_path):
    path, link = tmp_path / "access.json", tmp_path / "link.json"
    add(path, roles=[Role.ANALYZE])
    link.symlink_to(path)
    add(link)
    assert link.is_symlink()
    assert len(read(path).clients[0].keys) == 2


def test_a_quota_is_the_clients_own_or_the_most_generous_of_its_roles():
    access = Access(role_quotas={Role.ANALYZE: Quota(requests=10, fields=5), Role.REVIEW: Quota(requests=20)})
    both = frozenset({Role.ANALYZE, Role.REVIEW})
    assert access.quota_of(both) == Quota(requests=20, fields=5)
    assert access.quota_of(both, Quota(requests=1, bytes=9)) == Quota(requests=1, fields=5, bytes=9)
    assert access.quota_of(frozenset({Role.OPERATE})) == Quota()
