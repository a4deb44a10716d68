"""The door at which processes join: who does not prove that it knows the token learns why and is
closed, whatever it says; and what is said after that is sealed."""

from __future__ import annotations

import secrets
import socket
import struct

import msgpack
import pytest
import trio
from trio.testing import memory_stream_pair

from emu.processes import door
from emu.processes.control import Control, Nonsense, Seal
from emu.processes.door import ANOTHER_SPEECH, MAX_FRAME_BYTES, NO_TOKEN, NONCE_BYTES, DoorError
from tests.processes.rig import TOKEN, open_rig

NONCE = b"n" * NONCE_BYTES


def frame(said: object) -> bytes:
    data = msgpack.packb(said)
    return len(data).to_bytes(4, "big") + data


async def stand_at_the_door(*said: bytes, token: str = TOKEN) -> tuple[str, bytes]:
    """(why emu did not let them in, all that it answered) when `said` is said bit by bit."""
    ours, theirs = memory_stream_pair()
    why = ""

    async def open_it() -> None:
        nonlocal why
        try:
            await door.let_in(ours, token)
        except DoorError as error:
            why = str(error)

    answered = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        for each in said:
            await theirs.send_all(each)
        while data := await theirs.receive_some():
            answered += data
    return why, answered


HOSTILE = {
    "a browser": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a frame of two gigabytes": b"\x7f\xff\xff\xff" + b"x" * 100,
    "an empty frame": b"\x00\x00\x00\x00",
    "no MessagePack": (5).to_bytes(4, "big") + b"\xc1\xc1\xc1\xc1\xc1",
    "a list": frame([1, 2, 3]),
    "a deep list": (3000).to_bytes(4, "big") + b"\x91" * 3000,
    "a map with other keys": frame({"hello": 1}),
    "another protocol": frame({"emu": 99, "nonce": NONCE}),
    "a nonce that is none": frame({"emu": door.PROTOCOL, "nonce": "text"}),
    "a refusal of its own": frame({"refused": "you"}),
    "a deep refusal": (909).to_bytes(4, "big") + b"\x81\xa7refused" + b"\x91" * 899 + b"\x90",
    "a short nonce": frame({"emu": door.PROTOCOL, "nonce": b"n"}),
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
async def test_whoever_says_something_else_is_told_what_this_address_is(said, autojump_clock):
    why, answered = await stand_at_the_door(said)
    assert why == ANOTHER_SPEECH
    assert ANOTHER_SPEECH.encode() in answered and len(answered) < MAX_FRAME_BYTES


@pytest.mark.parametrize("proof", [b"", b"x" * 32, None, 7, "text", [1]])
async def test_whoever_cannot_prove_it_is_refused(proof, autojump_clock):
    hello = frame({"emu": door.PROTOCOL, "nonce": NONCE})
    why, answered = await stand_at_the_door(hello, frame({"nodes": "all", "proof": proof}))
    assert why == NO_TOKEN and NO_TOKEN.encode() in answered
    assert TOKEN.encode() not in answered


WORDS = ("", ",", "outside", "one outside", "pad-9", "region", "half", "[", "pad primary", 7, None)
"""What whoever knows the token may say that it brings."""


async def test_a_visitor_who_brings_nonsense_is_told_why_and_ends_nobody_else(tmp_path):
    async with open_rig("joined", tmp_path) as r:
        r.notebook("pad-1")
        host, port = r.runner.address.split(":")
        for words in WORDS:
            stream = await trio.open_tcp_stream(host, int(port))
            with pytest.raises(DoorError) as refused:
                await door.knock(stream, TOKEN, nodes=words, pid=1)
            assert "closed the connection" not in str(refused.value), words
        told = [each for each in r.events if each["event"] == "join refused"]
        assert [each["level"] for each in told] == ["warning"] * len(WORDS)


async def test_a_fault_of_ours_at_the_door_ends_that_visit_only(tmp_path, monkeypatch):
    def fail(*_: object) -> list[str]:
        raise KeyError("ours")

    async with open_rig("joined", tmp_path) as r:
        monkeypatch.setattr(r.runner, "_names", fail)
        host, port = r.runner.address.split(":")
        for _ in range(2):
            stream = await trio.open_tcp_stream(host, int(port))
            with pytest.raises(DoorError, match="the other end closed the connection"):
                await door.knock(stream, TOKEN, nodes="pad-1", pid=1)
        told = [
            (each["level"], each["why"]) for each in r.events if each["event"] == "join refused"
        ]
        assert told == [("error", "KeyError('ours')")] * 2


async def test_whoever_is_silent_is_sent_away_in_time(autojump_clock):
    for said in ((), (frame({"emu": door.PROTOCOL, "nonce": NONCE}),), (b"\x00",)):
        began_s = trio.current_time()
        why, answered = await stand_at_the_door(*said)
        assert why == "it was silent" and b"nothing was said" in answered
        assert trio.current_time() - began_s == door.PATIENCE_S


async def meet(emus: str, nodes: str) -> tuple[list[object], list[str]]:
    """What each end came to, emu's and the node's, with these tokens."""
    ours, theirs = memory_stream_pair()
    found: list[object] = [None, None]
    whys = ["", ""]

    async def open_it() -> None:
        try:
            found[0] = await door.let_in(ours, emus)
            await door.send(ours, number=1001)
        except DoorError as error:
            whys[0] = str(error)

    async def knock() -> None:
        try:
            found[1] = await door.knock(theirs, nodes, nodes="web-1", pid=7)
        except DoorError as error:
            whys[1] = str(error)
            await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        nursery.start_soon(knock)
    return found, whys


async def test_both_who_know_the_token_have_seals_that_fit_each_other(autojump_clock):
    (emus, nodes), whys = await meet(TOKEN, TOKEN)
    assert whys == ["", ""]
    assert emus[0] == {"nodes": "web-1", "pid": 7} and nodes[0] == {"number": 1001}
    nodes[1].check("boot", b"x", emus[1].put("boot", b"x"))
    emus[1].check("started", b"y", nodes[1].put("started", b"y"))


async def test_a_node_says_nothing_of_itself_to_whoever_does_not_know_its_token(autojump_clock):
    """It believes what emu says, so an emu has to prove itself first."""
    (emus, nodes), whys = await meet("another token than theirs", TOKEN)
    assert emus is None and nodes is None
    assert "does not know the token" in whys[1]


async def test_what_an_emu_proves_cannot_be_said_back_to_it(autojump_clock):
    """The two proofs are of different words, or an echo would be let in."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        with pytest.RaisesGroup(DoorError):
            async with trio.open_nursery() as inner:
                inner.start_soon(door.let_in, ours, TOKEN)
                await theirs.send_all(frame({"emu": door.PROTOCOL, "nonce": NONCE}))
                said = await door.receive(theirs)
                await theirs.send_all(frame({"nodes": "all", "proof": said["proof"]}))
        nursery.cancel_scope.cancel()


# --- what is said after that ------------------------------------------------------------------


def seals() -> tuple[Seal, Seal]:
    key = secrets.token_bytes(32)
    return Seal(key, emus=True), Seal(key, emus=False)


@pytest.mark.parametrize("change", ["word", "content", "again", "left out", "turned round", "none"])
def test_a_notice_that_was_changed_on_the_way_has_no_seal(change):
    emus, nodes = seals()
    first, second = emus.put("end", b"1"), emus.put("end", b"2")
    with pytest.raises(ValueError, match="without the seal"):
        match change:
            case "word":
                nodes.check("boot", b"1", first)
            case "content":
                nodes.check("end", b"2", first)
            case "again":
                nodes.check("end", b"1", first)
                nodes.check("end", b"1", first)
            case "left out":
                nodes.check("end", b"2", second)
            case "turned round":
                emus.check("end", b"1", first)
            case "none":
                nodes.check("end", b"1", None)


async def test_a_control_connection_ends_at_the_first_notice_without_its_seal():
    emus, nodes = seals()
    here, there = socket.socketpair()
    heard: list[tuple[object, ...]] = []
    ours, theirs = Control(here, seal=emus), Control(there, seal=nodes)
    theirs.tell("started", "web-1")
    theirs._seal = Seal(b"another key", emus=False)
    theirs.tell("started", "web-2")
    with trio.fail_after(5):
        await ours.serve(lambda *said: heard.append(said))
    assert heard == [("started", "web-1")]
    assert "without the seal" in ours.problem
    for each in (ours, theirs):
        each.close()


async def test_only_so_many_may_stand_at_the_door_and_others_are_told(tmp_path):
    async with open_rig("joined", tmp_path) as r:
        host, _, port = r.runner.address.rpartition(":")
        strangers = [await trio.open_tcp_stream(host, int(port)) for _ in range(16)]
        await r.until(lambda: r.runner._strangers == 16)
        with pytest.raises(DoorError, match="too many are at the door"):
            await door.knock(await trio.open_tcp_stream(host, int(port)), TOKEN, nodes="pad-1")
        for each in strangers:
            await each.aclose()
        await r.until(lambda: r.runner._strangers == 0)
        refused = [each for each in r.events if each["event"] == "join refused"]
        assert len(refused) == 16, "each told"
        with pytest.raises(DoorError, match="nothing is called `pad-1`"):
            await door.knock(await trio.open_tcp_stream(host, int(port)), TOKEN, nodes="pad-1")


async def test_who_leaves_before_a_word_harms_nobody(tmp_path):
    async with open_rig("joined", tmp_path) as r:
        host, _, port = r.runner.address.rpartition(":")
        for _ in range(20):
            stranger = socket.create_connection((host, int(port)))
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stranger.close()  # with a reset
        await r.until(lambda: r.runner._strangers == 0)
        with pytest.raises(DoorError, match="nothing is called `pad-1`"):
            await door.knock(await trio.open_tcp_stream(host, int(port)), TOKEN, nodes="pad-1")


async def test_a_process_that_talks_nonsense_is_parted_from():
    def hear(word: str, *params: object) -> None:
        raise Nonsense(f"{word}: nobody knows it")

    here, there = socket.socketpair()
    ours, theirs = Control(here), Control(there)
    theirs.tell("dance", 1)
    with trio.fail_after(5):
        await ours.serve(hear)
    assert ours.problem == "it said what it may not: dance: nobody knows it"
    for each in (ours, theirs):
        each.close()
