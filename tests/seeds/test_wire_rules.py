"""Who reads along on the wire notices a broken rule of MessagePack-RPC, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from emu.machine.links import Slow
from emu.machine.pipe import Pipe
from emu.seeds.wire_rules import WireRules
from emu.sim.run import in_virtual_time
from emu.sim.world import SimWorld
from protocols import rpc
from tests.conformance.conftest import CLIENT, SERVER, connected

PACK = rpc.Connection()


class Talk:
    """A conversation that the rules overhear."""

    def __init__(self) -> None:
        self.rules = WireRules()

    def ask(self, msgid: int, *params: Any, way: str = "web>db", method: str = "query") -> None:
        self.say(way, PACK.send_request(msgid, method, list(params)))

    def answer(self, msgid: int, *, way: str = "db>web") -> None:
        self.say(way, PACK.send_response(msgid, None, "yes"))

    def say(self, way: str, data: bytes, port: str = "7000/1") -> None:
        self.rules.take(f"{way}:{port}".encode(), data)

    @property
    def problems(self) -> list[str]:
        return list(self.rules.problems)


def test_answers_in_any_order_and_notices_break_no_rule():
    talk = Talk()
    talk.ask(1)
    talk.ask(2)
    talk.say("web>db", PACK.send_notify(rpc.CANCEL, [1]))
    talk.answer(2)
    talk.answer(1)
    talk.ask(1)
    assert talk.problems == []


def test_what_comes_a_byte_at_a_time_is_read_all_the_same():
    talk = Talk()
    for byte in PACK.send_request(7, "query", []):
        talk.say("web>db", bytes([byte]))
    talk.answer(8)
    assert talk.problems == ["db → web: an answer with msgid 8, under which nothing is asked"]


def test_a_second_answer_is_one_too_many():
    talk = Talk()
    talk.ask(1)
    talk.answer(1)
    talk.answer(1)
    assert talk.problems == ["db → web: an answer with msgid 1, under which nothing is asked"]


def test_a_msgid_that_is_still_in_use_may_not_be_used_again():
    talk = Talk()
    talk.ask(1, method="write")
    talk.ask(1)
    said = "query has msgid 1, under which write is not answered yet"
    assert talk.problems == [f"web → db: {said}"]


def test_another_connection_has_its_own_msgids():
    talk = Talk()
    talk.ask(1)
    talk.say("db>web", PACK.send_response(1, None, "yes"), "7000/2")
    assert len(talk.problems) == 1


@pytest.mark.parametrize(
    ("granted_ms", "taken_ms", "fine"), [(500, 500, True), (500, 499, True), (500, 501, False)]
)
def test_nobody_grants_more_time_than_its_own_caller_gave(granted_ms, taken_ms, fine):
    talk = Talk()
    talk.ask(0, {}, way="lb>web", method=rpc.HELLO)
    talk.ask(1, {rpc.REMAINING_MS: granted_ms, rpc.TRACE: 9}, way="lb>web")
    talk.ask(0, {}, method=rpc.HELLO)
    talk.ask(1, {rpc.REMAINING_MS: taken_ms, rpc.TRACE: 9})
    talk.ask(2, {rpc.REMAINING_MS: 9999, rpc.TRACE: 10})
    said = "web → db: query may take 501 ms, and its cause had 500 ms"
    assert talk.problems == ([] if fine else [said])


def test_a_client_of_ours_says_how_much_time_is_left():
    talk = Talk()
    talk.ask(0, {}, method=rpc.HELLO)
    talk.ask(1, {rpc.TRACE: 9})
    assert talk.problems == ["web → db: query does not say how much time is left"]


def test_other_protocols_are_let_pass_and_broken_messages_are_not():
    talk = Talk()
    talk.say("lb>web", b"GET / HTTP/1.1\r\n\r\n", "8080/1")
    talk.say("web>lb", b"HTTP/1.1 200 OK\r\n\r\n", "8080/1")
    assert talk.problems == []
    talk.say("web>db", b"\x94\xc1")
    assert len(talk.problems) == 1 and "no MessagePack-RPC" in talk.problems[0]


def test_on_a_stream_nothing_overtakes_whatever_it_speaks(monkeypatch: pytest.MonkeyPatch):
    def problems() -> list[str]:
        rules = WireRules()

        async def program() -> None:
            async with SimWorld(1) as world, connected(world) as (_, _, near, far):
                world.links.add(Slow(CLIENT, SERVER, latency_s=0.1))
                await near.send_all(b"GET / HTTP/1.1")
                await near.send_all(b"Host: ours")
                await trio.sleep(1)
                await far.receive_some()

        outcome = in_virtual_time(program, seed=1, rules=rules)
        assert outcome.error is None
        return list(rules.problems)

    assert problems() == []
    sound = Pipe._due

    def due(self: Any) -> None:
        self._queue.reverse()
        sound(self)

    monkeypatch.setattr(Pipe, "_due", due)
    assert problems() and "bytes arrived that were not those that were sent next" in problems()[0]
