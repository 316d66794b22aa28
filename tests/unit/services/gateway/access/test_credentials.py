"""Reading credentials: any nonsense is refused, cheaply, and nothing else ever happens."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.access.keys import make_key
from services.gateway.access.credentials import (
    MAX_CHARS,
    ShownCertificate,
    ShownKey,
    ShownToken,
    came_privately,
    shown_by,
)
from services.gateway.access.refusals import Reason, Refused

KEY_ID, KEY = make_key()
headers = st.sampled_from(["authorization", "x-api-key", "user-agent"])
values = (
    st.text(max_size=200) | st.binary(max_size=50) | st.text(max_size=50).map(lambda text: f"Bearer {text}")
)


@given(st.lists(st.tuples(headers, values), max_size=4))
def test_any_metadata_is_credentials_or_refused(metadata):
    try:
        shown = shown_by(metadata, {})
    except Refused as refused:
        why = refused.why
        shown = None
    else:
        why = None
    assert isinstance(shown, ShownKey | ShownToken) or why in (Reason.MISSING, Reason.MALFORMED)


@pytest.mark.parametrize(
    ("metadata", "shown"),
    [
        ([("authorization", f"Bearer {KEY}")], ShownKey(KEY_ID, KEY)),
        ([("authorization", f"bearer  {KEY} ")], ShownKey(KEY_ID, KEY)),
        ([("x-api-key", KEY), ("user-agent", "x")], ShownKey(KEY_ID, KEY)),
        ([("authorization", "Bearer a.b.c")], ShownToken("a.b.c")),
    ],
)
def test_keys_and_tokens_are_told_apart(metadata, shown):
    assert shown_by(metadata, {}) == shown


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-api-key", "a.b.c")],
        [("x-api-key", KEY + "x")],
        [("x-api-key", KEY + "\n")],
        [("x-api-key", f"Bearer {KEY}")],
        [("authorization", KEY)],
        [("authorization", f"Basic {KEY}")],
        [("authorization", "Bearer a.b")],
        [("authorization", b"Bearer a.b.c")],
        [("authorization", "Bearer " + "." * (MAX_CHARS + 1))],
        [("authorization", "Bearer ä.b.c")],
        [("x-api-key", KEY), ("x-api-key", KEY)],
    ],
)
def test_what_is_not_quite_right_is_malformed(metadata):
    with pytest.raises(Refused) as caught:
        shown_by(metadata, {"x509_common_name": [b"lab"]})
    assert caught.value.why is Reason.MALFORMED


def test_a_giant_is_refused_in_no_time():
    giant = [("authorization", "Bearer " + "hsk_" * 10_000_000)]
    began = time.perf_counter()
    for _ in range(1000):
        with pytest.raises(Refused):
            shown_by(giant, {})
    assert time.perf_counter() - began < 1  # reading it once takes longer than a thousandth of that


def test_a_certificate_is_taken_by_its_alternative_names_and_only_without_them_by_its_common_name():
    both = {"x509_common_name": [b"cn"], "x509_subject_alternative_name": [b"a", b"b"]}
    assert shown_by([], both) == ShownCertificate(("a", "b"))
    assert shown_by([], {"x509_common_name": [b"cn"]}) == ShownCertificate(("cn",))


def test_a_key_comes_before_the_certificate_of_the_connection_it_came_over():
    assert isinstance(shown_by([("x-api-key", KEY)], {"x509_common_name": [b"lab"]}), ShownKey)


@pytest.mark.parametrize(
    ("peer", "private"),
    [
        ("ipv4:127.0.0.1:5000", True),
        ("ipv4:127.9.9.9:5000", True),
        ("ipv6:[::1]:5000", True),
        ("ipv6:%5B::1%5D:5000", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:5000", True),
        ("unix:/run/gateway", True),
        ("ipv4:10.0.0.7:5000", False),
        ("ipv6:[2001:db8::1]:5000", False),
        ("ipv6:%5B::ffff:10.0.0.7%5D:5000", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_only_this_machine_and_tls_are_private(peer, private):
    assert came_privately(peer, {}) is private
    assert came_privately(peer, {"transport_security_type": [b"insecure"]}) is private
    assert came_privately(peer, {"transport_security_type": [b"ssl"]})
