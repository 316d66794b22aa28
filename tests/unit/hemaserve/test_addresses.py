"""One replica, several, or all of a name: what an address may say, and what gRPC is told."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.addresses import AddressError, may_have_replicas, replicas, target

PORTS = st.integers(1, 65535)
IPV4 = st.builds("{}:{}".format, st.ip_addresses(v=4), PORTS)
IPV6 = st.builds("[{}]:{}".format, st.ip_addresses(v=6), PORTS)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "detector:50052", "a-b.c_d.svc:65535", "[::1]:50051"])
def test_one_replica_is_its_own_target(address):
    assert replicas(address) == (address,)
    assert target(address) == address
    assert not may_have_replicas(address)


@given(st.one_of(st.lists(IPV4, min_size=2, unique=True), st.lists(IPV6, min_size=2, unique=True)))
def test_a_list_names_each_replica_in_order(addresses):
    written = ", ".join(addresses)
    assert replicas(written) == tuple(addresses)
    scheme, _, path = target(written).partition(":")
    assert scheme == ("ipv6" if addresses[0].startswith("[") else "ipv4")
    assert path.split(",") == addresses
    assert may_have_replicas(written)


def test_a_name_stands_for_as_many_replicas_as_it_has_addresses():
    assert target("dns:///detector:50052") == "dns:///detector:50052"
    assert may_have_replicas("dns:///detector:50052")


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        ("", "an address is empty"),
        ("127.0.0.1:1,", "an address is empty"),
        ("detector", "has no port"),
        ("detector:0", "no port"),
        ("detector:65536", "no port"),
        ("detector:http", "no port"),
        ("::1:50051", "neither a name nor an IP address"),
        ("a b:1", "neither a name nor an IP address"),
        ("unix:/run/socket:1", "neither a name nor an IP address"),
        ("dns:///:1", "has no port"),
        ("dns:///a,b:1", "neither a name nor an IP address"),
        ("one:1,two:2", "IP addresses of one version"),
        ("127.0.0.1:1,[::1]:1", "IP addresses of one version"),
        ("127.0.0.1:1,127.0.0.1:1", "named twice"),
    ],
)
def test_a_malformed_address_says_what_is_wrong_and_what_is_allowed(address, wrong):
    with pytest.raises(AddressError) as caught:
        target(address)
    assert wrong in str(caught.value)
    assert repr(address) in str(caught.value)
    assert "dns:///NAME:PORT" in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_malformed(text):
    with contextlib.suppress(AddressError):
        assert replicas(text)
