"""DNS messages: round trips, EDNS and truncation, TCP framing, and ten thousand bad ones."""

from __future__ import annotations

import random

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import dns as wire

AUTHORITY = wire.Authority("example.test", "ns.example.test", "127.0.0.53", 7, 30, 60)


def ask(name: str = "www.example.test", **how: object) -> wire.Query:
    return wire.decode_query(wire.encode_query(1234, name, **how))  # type: ignore[arg-type]


def parse(data: bytes) -> dns.message.Message:
    return dns.message.from_wire(data)


def test_a_query_says_name_type_size_and_region() -> None:
    query = ask("WWW.Example.test.", region="eu-west")
    assert (query.name, query.rdtype, query.region) == ("www.example.test", wire.A, "eu-west")
    assert query.udp_bytes == wire.EDNS_UDP_BYTES
    plain = dns.message.make_query("a.test", "A", use_edns=False, id=1).to_wire()
    assert wire.decode_query(plain).udp_bytes == 512
    with pytest.raises(ValueError, match=r"a\.\.b"):
        wire.encode_query(1, "a..b")


def test_an_answer_carries_the_id_addresses_and_ttl() -> None:
    answer = wire.Answer(addresses=("127.0.0.1", "127.0.0.2"), ttl_s=5)
    data = wire.encode_answer(ask(), answer, AUTHORITY, 1232)
    response = wire.decode_response(data)
    assert response == wire.Response(
        1234, "www.example.test", 0, ("127.0.0.1", "127.0.0.2"), 5, False
    )
    message = parse(data)
    assert message.flags & dns.flags.AA and message.edns == 0


@pytest.mark.parametrize("rcode", [wire.NOERROR, wire.NXDOMAIN])
def test_negative_answers_carry_the_soa_with_the_negative_ttl(rcode: int) -> None:
    data = wire.encode_answer(ask(), wire.Answer(rcode), AUTHORITY, 1232)
    (soa,) = parse(data).authority
    assert soa.rdtype == dns.rdatatype.SOA and soa[0].minimum == soa.ttl == 30
    response = wire.decode_response(data)
    assert (response.rcode, response.ttl_s, response.addresses) == (rcode, 30, ())


def test_an_answer_that_is_too_long_is_truncated_and_fits_over_tcp() -> None:
    many = wire.Answer(addresses=tuple(f"127.0.1.{n}" for n in range(100)), ttl_s=5)
    cut = wire.decode_response(wire.encode_answer(ask(), many, AUTHORITY, 512))
    assert cut.truncated and not cut.addresses
    whole = wire.encode_answer(ask(), many, AUTHORITY, wire.MAX_TCP_BYTES)
    assert wire.decode_response(whole).addresses == many.addresses
    assert len(whole) > 1232


def test_the_zones_own_records_are_given_at_the_apex() -> None:
    query = ask("example.test", rdtype=wire.NS)
    message = parse(wire.encode_answer(query, wire.Answer(apex_type=wire.NS), AUTHORITY, 1232))
    assert message.answer[0][0].to_text() == "ns.example.test."
    assert message.additional[0][0].to_text() == "127.0.0.53"
    soa = parse(wire.encode_answer(query, wire.Answer(apex_type=wire.SOA), AUTHORITY, 1232))
    assert soa.answer[0][0].serial == 7


def test_a_client_subnet_comes_back_with_its_scope() -> None:
    option = dns.edns.ECSOption("127.3.2.1", 32)
    raw = dns.message.make_query("a.test", "A", use_edns=0, options=[option], id=1).to_wire()
    query = wire.decode_query(raw)
    assert query.subnet == ("127.3.2.1", 32)
    answer = wire.Answer(addresses=("127.0.0.1",), scope=24)
    (back,) = parse(wire.encode_answer(query, answer, AUTHORITY, 1232)).options
    assert isinstance(back, dns.edns.ECSOption)
    assert (back.address, back.srclen, back.scopelen) == ("127.3.2.1", 32, 24)


def test_an_unknown_edns_version_is_answered_badvers() -> None:
    message = dns.message.make_query("a.test", "A", use_edns=1, id=5)
    data = wire.encode_answer(wire.decode_query(message.to_wire()), wire.Answer(), AUTHORITY, 512)
    assert parse(data).rcode() == wire.BADVERS


def test_what_is_no_single_question_gets_its_error_or_nothing() -> None:
    good = wire.encode_query(77, "a.test")
    cases = {
        b"": None,
        good[:11]: None,
        bytes([*good[:2], 0x81, *good[3:]]): None,  # a response
        bytes([*good[:2], 0x28, *good[3:]]): wire.NOTIMP,  # UPDATE
        good[:4] + b"\x00\x02" + good[6:]: wire.FORMERR,
        good[:-3]: wire.FORMERR,
        good[:12] + b"\xc0\x0c\x00\x01\x00\x01": wire.FORMERR,  # a name that points at itself
    }
    for data, rcode in cases.items():
        with pytest.raises(wire.Malformed) as caught:
            wire.decode_query(data)
        reply = caught.value.reply
        assert (reply[3] & 15 if reply else None) == rcode, data
        if reply:
            assert reply[:2] == data[:2] and reply[2] & 0x80


@pytest.mark.slow
def test_ten_thousand_bad_messages_never_crash_either_side() -> None:
    rng = random.Random("dns/fuzz")
    many = wire.Answer(addresses=("127.0.0.1", "127.0.0.2"), ttl_s=5)
    seeds = [
        wire.encode_query(1, "www.example.test", region="eu-west"),
        wire.encode_answer(ask(), many, AUTHORITY, 1232),
        wire.encode_answer(ask(), wire.Answer(wire.NXDOMAIN), AUTHORITY, 1232),
    ]
    parsed = 0
    for number in range(10_000):
        data = bytearray(seeds[number % len(seeds)])
        if number % 10 == 0:
            data = bytearray(rng.randbytes(rng.randrange(60)))
        for _ in range(rng.randrange(1, 5)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        del data[rng.randrange(12, len(data) + 20) :]
        try:
            wire.encode_answer(wire.decode_query(bytes(data)), many, AUTHORITY, 512)
            parsed += 1
        except wire.Malformed:
            pass
        try:
            wire.decode_response(bytes(data))
            parsed += 1
        except wire.Malformed:
            pass
    assert 500 < parsed < 9000


@given(st.binary(max_size=64))
@settings(max_examples=300)
def test_any_bytes_are_a_query_or_malformed(data: bytes) -> None:
    try:
        wire.decode_query(data)
    except wire.Malformed as error:
        assert not error.reply or error.reply[:2] == data[:2]


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_tcp_frames_come_out_whole_however_the_stream_is_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(wire.frame(message) for message in messages)
    frames, got = wire.TcpFrames(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += frames.receive_data(stream[:size])
        stream = stream[size:]
    assert got == messages and not frames.mid_message
    frames.receive_data(b"\x00\x09abc")
    assert frames.mid_message
