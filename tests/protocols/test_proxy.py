"""PROXY v2 headers: round trips, byte by byte, and garbage."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import proxy

ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
PORTS = st.integers(0, 65535)
TLVS = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=4).map(tuple)


def test_a_tcp4_header_has_the_specified_bytes() -> None:
    header = proxy.Header("127.0.0.1", 0x1234, "127.0.0.2", 0x1F90)
    assert proxy.encode(header) == (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x02\x12\x34\x1f\x90"
    )
    assert proxy.encode(proxy.LOCAL) == b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


@given(ADDRESSES, PORTS, PORTS, TLVS, st.binary(max_size=9))
def test_headers_round_trip_and_leave_what_follows(
    addresses: tuple[object, object],
    source_port: int,
    destination_port: int,
    tlvs: tuple[tuple[int, bytes], ...],
    rest: bytes,
) -> None:
    header = proxy.Header(str(addresses[0]), source_port, str(addresses[1]), destination_port, tlvs)
    packed = proxy.encode(header)
    assert proxy.decode(packed + rest) == (header, len(packed))
    for end in range(len(packed)):
        assert proxy.decode(packed[:end]) is None


def test_local_skips_whatever_addresses_it_carries() -> None:
    packed = proxy.SIGNATURE + b"\x20\x11\x00\x03abc"
    assert proxy.decode(packed + b"GET") == (proxy.LOCAL, len(packed))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\nx",
        proxy.SIGNATURE + b"\x11",  # version 1
        proxy.SIGNATURE + b"\x22",  # unknown command
        proxy.SIGNATURE + b"\x21\x11\xff\xff",  # too long
        proxy.SIGNATURE + b"\x21\x11\x00\x03abc",  # too short for IPv4
        proxy.SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),  # UDP
        proxy.SIGNATURE + b"\x21\x11\x00\x0e" + bytes(14),  # half a TLV
        proxy.SIGNATURE + b"\x21\x11\x00\x0f" + bytes(12) + b"\x01\x00\x09",
    ],
)
def test_what_is_no_header_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(proxy.RemoteProtocolError):
        proxy.decode(data)


def test_ten_thousand_damaged_headers_never_crash() -> None:
    rng = random.Random("proxy/fuzz")
    whole = proxy.encode(proxy.Header("::1", 1, "::2", 2, ((3, b"abcd"),)))
    outcomes = {"header": 0, "more": 0, "refused": 0}
    for _ in range(10_000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        del data[rng.randrange(1, len(data) + 9) :]
        try:
            found = proxy.decode(data)
        except proxy.RemoteProtocolError:
            outcomes["refused"] += 1
        else:
            outcomes["more" if found is None else "header"] += 1
    assert all(outcomes.values()), outcomes
