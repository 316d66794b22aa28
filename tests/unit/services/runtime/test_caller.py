"""Whom work is for, on its way through the services."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.metadata import PRIORITY_KEY
from hemaserve.results import Priority
from services.runtime.caller import (
    CLIENT_KEY,
    MAX_CLIENT_CHARS,
    Caller,
    call_metadata,
    current_caller,
    enter_at_door,
    read_metadata,
)
from services.runtime.principal import Principal, current_principal


class Context:
    """A call as gRPC shows it."""

    def __init__(self, peer):
        self._peer = peer

    def peer(self):
        return self._peer


@given(st.text(min_size=1, max_size=MAX_CLIENT_CHARS), st.sampled_from(Priority))
def test_what_is_written_is_what_is_read_whatever_the_name(client, priority):
    # A lone surrogate is no text that UTF-8 has.
    client = client.encode(errors="replace").decode()
    token = current_caller.set(Caller(client, priority))
    try:
        metadata = call_metadata()
    finally:
        current_caller.reset(token)
    assert all(value.isascii() for _, value in metadata)
    assert read_metadata(metadata, peer="") == Caller(client, priority)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ([], Caller("10.0.0.7", Priority.ROUTINE)),
        ([(PRIORITY_KEY, "now!")], Caller("10.0.0.7", Priority.ROUTINE)),
        ([(PRIORITY_KEY, "batch"), (CLIENT_KEY, "")], Caller("10.0.0.7", Priority.BATCH)),
        ([(CLIENT_KEY, "x" * 9999)], Caller("x" * MAX_CLIENT_CHARS, Priority.ROUTINE)),
        ([(CLIENT_KEY, "%ff%zz")], Caller("\ufffd%zz", Priority.ROUTINE)),
        ([(CLIENT_KEY, b"bytes")], Caller("10.0.0.7", Priority.ROUTINE)),
    ],
)
def test_metadata_that_make_no_sense_are_taken_for_none(metadata, expected):
    assert read_metadata(metadata, peer="ipv4:10.0.0.7:41234") == expected


@pytest.mark.parametrize(
    ("peer", "client"),
    [("ipv4:127.0.0.1:5", "127.0.0.1"), ("ipv6:%5B::1%5D:5", "[::1]"), ("unix:/run/x", "unix"), ("", "")],
)
def test_at_the_door_a_stranger_is_its_machine(peer, client):
    enter_at_door(Context(peer), Priority.STAT)
    assert current_caller.get() == Caller(client, Priority.STAT)


def test_at_the_door_a_client_that_is_known_is_its_name():
    token = current_principal.set(Principal("analyzer-3", frozenset()))
    try:
        enter_at_door(Context("ipv4:127.0.0.1:5"), Priority.BATCH)
    finally:
        current_principal.reset(token)
    assert current_caller.get() == Caller("analyzer-3", Priority.BATCH)
