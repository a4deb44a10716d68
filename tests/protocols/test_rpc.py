"""The connection turns bytes into messages whatever the chunks, and garbage
into one clear error."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import rpc
from protocols.errors import DEFINITE, INDEFINITE, RpcError
from protocols.rpc import Connection, Limits, LocalProtocolError, RemoteProtocolError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.one_of(
    st.tuples(st.just(rpc.REQUEST), st.integers(0, rpc.MAX_MSGID), st.text(max_size=40),
    st.lists(VALUES, max_size=3)),
    st.tuples(st.just(rpc.RESPONSE), st.integers(0, rpc.MAX_MSGID), VALUES, VALUES),
    st.tuples(st.just(rpc.NOTIFY), st.text(max_size=40), st.lists(VALUES, max_size=3)),
).map(list)  # fmt: skip


@given(st.lists(MESSAGES, max_size=6), st.data())
def test_messages_survive_any_chunking(messages, data):
    stream = b"".join(msgpack.packb(message) for message in messages)
    connection, received, at = Connection(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, 20))
        received += connection.receive_data(stream[at : at + size])
        at += size
    assert received == messages
    assert not connection.mid_message


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_give_messages_or_a_remote_error_and_then_poison(data):
    connection = Connection()
    try:
        connection.receive_data(data)
    except RemoteProtocolError:
        with pytest.raises(RemoteProtocolError, match="already broken"):
            connection.receive_data(b"\x93\x02\xa1x\x90")


@pytest.mark.parametrize(
    "frame",
    [
        b"GET / HTTP/1.1\r\n",
        b"\xc1",
        b"\x91" * 3000,
        b"\xdd\xff\xff\xff\xff",
        b"\x93\x02\xa1\xff\x90",
        msgpack.packb([0, -1, "get", []]),
        msgpack.packb([0, 1, "get", {}]),
        msgpack.packb([True, 1, "get", []]),
        msgpack.packb([0, 1, "m" * 200, []]),
        msgpack.packb([3, 1, 2, 3]),
    ],
    ids=lambda frame: repr(frame[:8]),
)
def test_what_is_not_a_message_is_refused(frame):
    with pytest.raises(RemoteProtocolError):
        Connection().receive_data(frame)


def test_a_message_over_the_limit_is_refused_while_it_still_arrives():
    connection = Connection(Limits(max_frame_bytes=1000))
    header = b"\x94\x00\x01\xa3put\xdb\x00\xff\xff\xff"
    with pytest.raises(RemoteProtocolError, match="over 1000 bytes"):
        for _ in range(100):
            connection.receive_data(header)
            header = b"x" * 100


def test_an_end_inside_a_message_is_told_from_an_end_between_them():
    connection = Connection()
    whole = connection.send_request(1, "get", ["k"])
    connection.receive_data(whole + whole[:3])
    assert connection.mid_message
    with pytest.raises(RemoteProtocolError, match="in the middle"):
        connection.receive_data(b"")
    fresh = Connection()
    fresh.receive_data(whole)
    assert fresh.receive_data(b"") == []


def test_whole_messages_before_the_garbage_are_handed_over_with_the_error():
    connection = Connection()
    whole = connection.send_request(7, "get", ["k"])
    with pytest.raises(RemoteProtocolError) as caught:
        connection.receive_data(whole + b"\xc1")
    assert caught.value.messages_before == [[0, 7, "get", ["k"]]]


def test_an_answer_that_cannot_be_packed_is_our_error_and_the_connection_goes_on():
    connection = Connection()
    with pytest.raises(LocalProtocolError):
        connection.send_response(1, None, object())
    assert msgpack.unpackb(connection.send_response(1, None, 5)) == [1, 1, None, 5]


def test_every_error_code_is_definite_or_indefinite_and_unknown_ones_are_indefinite():
    assert not DEFINITE & INDEFINITE
    assert RpcError("refused").definite
    assert not RpcError("timeout").definite
    assert not RpcError("made-up").definite


@given(VALUES)
def test_whatever_a_server_sends_as_an_error_becomes_an_rpc_error(value):
    assert isinstance(RpcError.from_wire(value).code, str)
