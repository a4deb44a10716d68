"""The caching resolver between users and the authority."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.edns
import dns.message
import pytest
import trio

from nodes.base import DNS_PORT, Peer
from nodes.dns.resolver import ResolverConfig, ResolverNode
from nodes.parts.dns_cache import MOST_FAILURE_S, Failures
from nodes.users.resolver import ResolveError, Resolver
from nodes.wire.dns_client import TRIES, TRY_TIMEOUT_S
from protocols import dns as wire
from tests.nodes.dns.test_node import Rig, rig

US, EU = "198.51.100.0/24", "203.0.113.0/24"
NETWORKS = {"us-east": [US], "eu-west": [EU]}
SITE = "www.example.test"


class Asked:
    """A rig with a resolver before its authority, and clients of the resolver."""

    def __init__(self, r: Rig, us: str, eu: str) -> None:
        self.r, self.us, self.eu = r, us, eu
        self.node = ResolverNode(r.world.context("resolver-1"), self.config)

    config = ResolverConfig("dns")

    def stub(self, **how: Any) -> Resolver:
        return Resolver(self.r.users, [self.node.ctx.network.address], **how)

    async def ask(self, name: str, rdtype: str = "A", **how: Any) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, id=7, **how)
        peer = Peer("outside", "127.0.0.1", 4000)
        return dns.message.from_wire(await self.node._answer(query.to_wire(), peer, "udp", 0.0))

    def hits(self) -> float:
        return self.node.ctx.metrics.counter("resolutions_total", "", result="hit").value

    def misses(self) -> float:
        return self.node.ctx.metrics.counter("resolutions_total", "", result="miss").value


@asynccontextmanager
async def asked(authority: dict[str, Any] | None = None, **config: Any) -> AsyncIterator[Asked]:
    async with rig() as r:
        us, eu = await r.add("lb-1"), await r.add("lb-2", "eu-west")
        await r.serve(**{"networks": NETWORKS, "ttl_s": 5, **(authority or {})})
        r.world.list_member("dns-1", DNS_PORT)
        Asked.config = ResolverConfig("dns", **config)
        made = Asked(r, us, eu)
        await r.world.start(made.node)
        yield made


async def test_people_of_two_networks_are_each_sent_home_by_one_resolver(
    autojump_clock: Any,
) -> None:
    async with asked() as a:
        here, there = a.stub(network=US), a.stub(network=EU)
        for _ in range(3):
            assert await here.resolve(SITE) == [a.us]
            assert await there.resolve(SITE) == [a.eu]
            await trio.sleep(2)
        assert await a.stub(region="eu-west").resolve(SITE) == [a.eu], "by region, too"


async def test_an_answer_is_asked_for_once_and_its_time_runs_on(autojump_clock: Any) -> None:
    async with asked() as a:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(a.ask, SITE)
        assert a.misses() == 1
        await trio.sleep(3)
        said = await a.ask(SITE)
        assert a.misses() == 1 and said.answer[0].ttl == 2
        assert said.flags & dns.flags.RA and not said.flags & dns.flags.AA
        await trio.sleep(2)
        await a.ask(SITE)
        assert a.misses() == 2


@pytest.mark.parametrize(("ttl_s", "negative_ttl_s", "kept_s"), [(3, 30, 3), (60, 4, 4)])
async def test_there_being_no_such_name_is_kept_for_the_shorter_of_two_times(
    ttl_s: int, negative_ttl_s: int, kept_s: int, autojump_clock: Any, monkeypatch: Any
) -> None:
    def soa(authority: wire.Authority, _: int) -> Any:
        text = f"ns.example.test. hostmaster.example.test. 1 3600 600 86400 {negative_ttl_s}"
        return dns.rrset.from_text("example.test.", ttl_s, "IN", "SOA", text)

    monkeypatch.setattr(wire, "_soa", soa)
    async with asked() as a:
        stub = a.stub()
        with pytest.raises(ResolveError, match="nxdomain"):
            await stub.resolve("lb-3.example.test")
        third = await a.r.add("lb-3")
        await trio.sleep(kept_s - 1.1)
        with pytest.raises(ResolveError, match="nxdomain"):
            await stub.resolve("lb-3.example.test")
        await trio.sleep(1.2)
        assert await stub.resolve("lb-3.example.test") == [third]


async def test_what_is_told_of_a_client_is_where_it_is_and_not_who(autojump_clock: Any) -> None:
    async with asked() as a:
        said = await a.ask(SITE, use_edns=0, options=[dns.edns.ECSOption("203.0.113.77", 32)])
        (option,) = said.options
        assert isinstance(option, dns.edns.ECSOption)
        assert (option.srclen, option.scopelen) == (32, 24)
        assert said.answer[0][0].to_text() == a.eu
        await a.ask(SITE, use_edns=0, options=[dns.edns.ECSOption("203.0.113.9", 32)])
        assert a.misses() == 1, "a neighbour's answer holds for it"
        plain = await a.ask(SITE, use_edns=False)
        assert plain.edns == -1 and plain.answer[0][0].to_text() == a.us


async def test_some_resolvers_keep_answers_longer_than_they_may(autojump_clock: Any) -> None:
    async with asked(min_ttl_s=30) as a:
        assert (await a.ask(SITE)).answer[0].ttl == 30
        await trio.sleep(20)
        assert (await a.ask(SITE)).answer[0].ttl == 10
        assert a.misses() == 1


async def test_where_no_server_answers_it_says_so_and_asks_again(autojump_clock: Any) -> None:
    async with asked() as a:
        a.r.world.unlist_member("dns-1")
        await trio.sleep(0.5)
        assert (await a.ask(SITE)).rcode() == wire.SERVFAIL
        a.r.world.list_member("dns-1", DNS_PORT)
        await trio.sleep(1.1)
        assert (await a.ask(SITE)).rcode() == wire.NOERROR
        assert (await a.ask("other.test")).rcode() == wire.SERVFAIL, "whom nobody serves"
        assert (await a.ask(SITE, "AXFR")).rcode() == wire.REFUSED
        assert (await a.ask(SITE, use_edns=5)).rcode() == wire.BADVERS
        assert (await a.ask(SITE, "TXT")).authority[0].rdtype == wire.SOA


async def test_a_failure_is_one_for_all_who_wait_and_is_remembered(autojump_clock: Any) -> None:
    """A thousand who ask for what nobody answers: one is asked for all, each has the answer as soon
    as it is known, and then nobody is asked for a while, which doubles."""
    async with asked() as a:
        a.r.world.loses = lambda data: not data[2] & 0x80
        seen, began_s = [], trio.current_time()

        async def ask() -> None:
            seen.append((await a.ask(SITE)).rcode())

        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(ask)
        assert (seen, a.misses(), a.hits()) == ([wire.SERVFAIL] * 1000, 1, 999)
        assert trio.current_time() - began_s == pytest.approx(TRIES * TRY_TIMEOUT_S)
        for rest_s, asked_for in ((0.9, 1), (0.2, 2), (1.9, 2), (0.2, 3)):
            await trio.sleep(rest_s)
            assert (await a.ask(SITE)).rcode() == wire.SERVFAIL
            assert a.misses() == asked_for
        a.r.world.loses = lambda data: False
        await trio.sleep(MOST_FAILURE_S)
        assert (await a.ask(SITE)).rcode() == wire.NOERROR
        a.r.world.loses = lambda data: not data[2] & 0x80
        await trio.sleep(6)
        await a.ask(SITE)
        await trio.sleep(1.1)
        await a.ask(SITE)
        assert a.misses() == 6, "once it was answered, the pause is short again"


def test_failures_are_bounded_and_the_oldest_forgotten() -> None:
    failures = Failures(max_questions=3)
    for number in range(5):
        failures.add(number, 0.0)
    assert [failures.covers(number, 0.5) for number in range(5)] == [False] * 2 + [True] * 3


async def test_what_holds_for_no_time_answers_all_who_asked_at_that_time(
    autojump_clock: Any,
) -> None:
    async with asked({"ttl_s": 0}) as a:
        stub = a.stub()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(stub.resolve, SITE)
                nursery.start_soon(a.ask, SITE)
        assert a.misses() <= 2
        counted = [stub.ctx.metrics.counter("resolutions_total", "", result=each).value
                   for each in ("miss", "hit")]  # fmt: skip
        assert counted == [1, 9]


async def test_any_message_is_answered_or_dropped(autojump_clock: Any) -> None:
    async with asked() as a:
        rng = random.Random("resolver/garbage")
        peer = Peer("outside", "127.0.0.1", 4000)
        good = wire.encode_query(1, SITE)
        for _ in range(300):
            data = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(2, len(data))] = rng.getrandbits(8)
            reply = await a.node._answer(bytes(data), peer, "udp", 0.0)
            assert reply == b"" or reply[2] & 0x80
        assert (await a.ask(SITE)).answer
