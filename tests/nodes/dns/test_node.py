"""The DNS node and the stub resolver over memory, on virtual time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.edns
import dns.message
import pytest
import trio
import trio.testing

from nodes.base import ADMIN_PORT, DNS_PORT, Stream
from nodes.dns.config import DnsConfig
from nodes.dns.node import DnsNode
from nodes.dns.steering import Policy, Steering
from nodes.users.resolver import ResolveError, Resolver
from nodes.wire.client import Client
from protocols import dns as wire
from protocols.control import Member
from tests.nodes.harness import MemoryWorld

PORT = 8080


async def accepts(stream: Stream) -> None:
    await trio.sleep_forever()


class Rig:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.world = MemoryWorld(nursery)
        self.ctx = self.world.context("dns-1")
        self.users = self.world.context("users-1", "eu-west")
        self.servers: dict[str, trio.CancelScope] = {}

    async def serve(self, **config: Any) -> DnsNode:
        config = {"zone": "example.test", "answers": "lb", "check": "tcp", **config}
        self.node = DnsNode(self.ctx, DnsConfig(**config))
        await self.world.start(self.node)
        return self.node

    async def add(self, name: str, region: str = "us-east") -> str:
        self.servers[name] = await self.world.serve(name, PORT, accepts)
        self.world.list_member(name, PORT, region)
        return self.world.address_of(name)

    def resolver(self, **how: Any) -> Resolver:
        return Resolver(self.users, [self.ctx.network.address], **how)

    def answer(self, name: str, asker: str = "us-east", **how: Any) -> wire.Response:
        return wire.decode_response(self.node.respond(wire.encode_query(9, name, **how), asker))


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        made = Rig(nursery)
        await made.world.serve_directory()
        yield made
        nursery.cancel_scope.cancel()


async def test_the_zone_names_its_tier_its_nodes_and_nothing_else(autojump_clock: Any) -> None:
    async with rig() as r:
        one, two = await r.add("lb-1"), await r.add("lb-2")
        r.world.list_member("web-1", PORT)
        await r.serve(names=["web"])
        for name in ("example.test", "www.example.test", "lb.example.test", "LB.Example.Test"):
            assert sorted(r.answer(name).addresses) == sorted([one, two]), name
        assert r.answer("lb-2.example.test").addresses == (two,)
        web = r.world.address_of("web-1")
        assert r.answer("web.example.test").addresses == (web,)
        assert r.answer("web-1.example.test").addresses == (web,)
        assert r.answer("ns.example.test").addresses == (r.ctx.network.address,)
        missing = r.answer("nothing.example.test")
        assert (missing.rcode, missing.ttl_s) == (wire.NXDOMAIN, 30)
        no_data = r.answer("www.example.test", rdtype=wire.AAAA)
        assert (no_data.rcode, no_data.addresses, no_data.ttl_s) == (wire.NOERROR, (), 30)
        for name in ("example.com", "notexample.test", "test", "."):
            assert r.answer(name).rcode == wire.REFUSED, name
        assert r.answer("example.test", rdtype=252).rcode == wire.REFUSED


async def test_a_nodes_own_name_means_that_node_wherever_one_asks(autojump_clock: Any) -> None:
    async with rig() as r:
        one = await r.add("lb-1", region="eu-west")
        await r.serve(policy="geolocation", near={"us-east": ["eu-west"]})
        for asker in ("us-east", "eu-west", "sa-east"):
            assert r.answer("lb-1.example.test", asker).addresses == (one,), asker
        assert r.answer("www.example.test", "us-east").addresses == (one,)
        assert r.answer("www.example.test", "sa-east").addresses == ()


async def test_each_answer_begins_with_another_address_even_when_names_alternate(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        both = {await r.add("lb-1"), await r.add("lb-2")}
        await r.serve(max_answers=1)
        seen: dict[str, list[str]] = {"www.example.test": [], "example.test": []}
        for _ in range(40):
            for name, firsts in seen.items():
                firsts.append(r.answer(name).addresses[0])
        for firsts in seen.values():
            assert Counter(firsts) == dict.fromkeys(both, 20)


async def test_members_that_fail_their_checks_are_withdrawn_and_come_back(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        one, two = await r.add("lb-1"), await r.add("lb-2")
        await r.serve(check_interval_s=2.0, fall=3, rise=2)
        await trio.sleep(5)
        r.servers["lb-1"].cancel()
        await trio.sleep(8)
        assert r.answer("www.example.test").addresses == (two,)
        assert b'emu_health{node="dns-1",server="lb-1"} 0' in r.ctx.metrics.render()
        r.servers["lb-2"].cancel()
        await trio.sleep(8)
        assert sorted(r.answer("www.example.test").addresses) == sorted([one, two]), "all are down"
        await r.world.serve("lb-1", PORT, accepts)
        await trio.sleep(8)
        assert r.answer("www.example.test").addresses == (one,)
        assert r.ctx.log.names().count("address withdrawn") == 2
        assert r.ctx.log.names().count("address restored") == 1


async def test_scaling_and_draining_change_the_answers(autojump_clock: Any) -> None:
    async with rig() as r:
        one = await r.add("lb-1")
        await r.serve()
        two = await r.add("lb-2")
        await trio.sleep(0.5)
        assert sorted(r.answer("www.example.test").addresses) == sorted([one, two])
        r.world.list_member("lb-1", PORT, draining=True)
        await trio.sleep(0.5)
        assert r.answer("www.example.test").addresses == (two,)
        r.world.unlist_member("lb-1")
        r.world.unlist_member("lb-2")
        await trio.sleep(0.5)
        assert r.answer("www.example.test").rcode == wire.NOERROR
        assert r.answer("lb-1.example.test").rcode == wire.NXDOMAIN
        assert b'server="lb-1"' not in r.ctx.metrics.render()


async def test_askers_get_their_own_region_then_another(autojump_clock: Any) -> None:
    async with rig() as r:
        us, eu = await r.add("lb-1"), await r.add("lb-2", "eu-west")
        await r.serve(check_interval_s=2.0)
        assert await r.resolver().resolve("www.example.test") == [eu]
        assert await r.resolver(region="us-east").resolve("www.example.test") == [us]
        assert await r.resolver(region="").resolve("www.example.test") == [us], "the server's own"
        await trio.sleep(5)
        r.servers["lb-2"].cancel()
        await trio.sleep(10)
        assert await r.resolver().resolve("www.example.test") == [us]
        assert b'emu_answers_total{node="dns-1",policy="latency",to_region="eu-west"}' in (
            r.ctx.metrics.render()
        )


async def test_a_client_subnet_places_the_asker(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        eu = await r.add("lb-2", "eu-west")
        await r.serve()
        option = dns.edns.ECSOption(eu, 32)
        query = dns.message.make_query("www.example.test", "A", use_edns=0, options=[option], id=3)
        reply = dns.message.from_wire(r.node.respond(query.to_wire(), "us-east"))
        assert [record.to_text() for record in reply.answer[0]] == [eu]
        assert isinstance(reply.options[0], dns.edns.ECSOption)
        assert reply.options[0].scopelen == 32


def member(name: str, region: str) -> Member:
    return Member(name, "lb", "balancer", region, name, PORT, True)


def steering(policy: Any, policies: dict[str, Policy] | None = None, **how: Any) -> Steering:
    return Steering(Policy(policy, **how), policies)


def test_each_policy_chooses_its_region() -> None:
    members = [member("a", "us"), member("b", "eu"), member("c", "ap")]
    rng = random.Random(1)

    def chosen(steering: Steering, asker: str, among: list[Member] = members) -> str:
        return "".join(each.name for each in steering.choose(among, asker, rng))

    latency = steering("latency", near={"eu": ["eu", "ap", "us"]})
    assert chosen(latency, "eu") == "b"
    assert chosen(latency, "eu", [members[0], members[2]]) == "c"
    assert chosen(latency, "sa") == "abc", "nothing is known of that asker"
    places = steering("geolocation", near={"eu": ["us"], "default": ["ap"]})
    assert (chosen(places, "eu"), chosen(places, "sa")) == ("a", "c")
    failover = steering("failover", order=["ap", "us"])
    assert chosen(failover, "eu") == "c"
    assert chosen(failover, "eu", members[:2]) == "a"
    weighted = steering("weighted", weights={"us": 3, "eu": 1})
    counts = Counter(chosen(weighted, "eu") for _ in range(400))
    assert counts["a"] == pytest.approx(300, abs=40) and not counts["c"]
    assert chosen(steering("weighted", weights={"mars": 1}), "eu") == "abc"


async def test_long_answers_are_truncated_over_udp_and_whole_over_tcp(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        for number in range(100):
            r.world.list_member(f"lb-{number}", PORT, "eu-west")
        await r.serve(max_answers=200, check="none")
        assert len(await r.resolver().resolve("www.example.test")) == 100
        rendered = r.ctx.metrics.render()
        assert all(
            b'emu_requests_total{code="noerror",method="%b",node="dns-1"} 1' % over in rendered
            for over in (b"udp", b"tcp")
        )


async def test_garbage_gets_formerr_or_silence_and_the_node_goes_on(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        await r.serve()
        rng = random.Random("dns/garbage")
        socket = await r.users.network.open_datagram()
        for _ in range(500):
            data = rng.randbytes(rng.randrange(40))
            await socket.send_to(data, r.ctx.network.address, DNS_PORT)
        for _ in range(20):
            stream = await r.users.network.open_stream("dns-1", DNS_PORT)
            await stream.send_all(rng.randbytes(50))
            await stream.aclose()
        await trio.sleep(1)
        assert await r.resolver().resolve("www.example.test")
        assert r.node.respond(b"", "us-east") == b""


async def test_several_questions_share_one_tcp_connection_and_idle_ones_are_closed(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        await r.add("lb-1")
        await r.serve(tcp_idle_timeout_s=5.0)
        stream = await r.users.network.open_stream("dns-1", DNS_PORT)
        queries = [wire.encode_query(number, "www.example.test") for number in (5, 6)]
        await stream.send_all(b"".join(wire.frame(query) for query in queries))
        frames, got = wire.TcpFrames(), []
        while len(got) < 2:
            got += frames.receive_data(await stream.receive_some(1000))
        assert [wire.decode_response(each).message_id for each in got] == [5, 6]
        started_s = trio.current_time()
        assert await stream.receive_some(1) == b""
        assert trio.current_time() - started_s == pytest.approx(5.0, abs=0.1)


# --- the resolver ------------------------------------------------------------------------------


def resolutions(r: Rig, result: str) -> float:
    return r.users.metrics.counter("resolutions_total", "", result=result).value


async def test_answers_are_kept_for_their_time_to_live_and_asked_for_once(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        await r.add("lb-1")
        await r.serve(ttl_s=5)
        resolver = r.resolver()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(resolver.resolve, "www.example.test")
        assert resolutions(r, "miss") == 1
        await trio.sleep(4.9)
        await resolver.resolve("WWW.example.test.")
        assert resolutions(r, "miss") == 1
        await trio.sleep(0.2)
        await resolver.resolve("www.example.test")
        assert resolutions(r, "miss") == 2


async def test_names_that_do_not_exist_are_remembered_too(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        await r.serve(negative_ttl_s=3)
        resolver = r.resolver()
        for _ in range(3):
            with pytest.raises(ResolveError) as caught:
                await resolver.resolve("no.example.test")
            assert caught.value.reason == "nxdomain"
        assert resolutions(r, "miss") == 1
        await trio.sleep(3.1)
        with pytest.raises(ResolveError):
            await resolver.resolve("no.example.test")
        assert resolutions(r, "miss") == 2


async def test_lost_datagrams_are_asked_again_and_dead_servers_passed_over(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        one = await r.add("lb-1")
        await r.serve()
        dead = Resolver(r.users, ["127.9.9.9"])
        with pytest.raises(ResolveError, match="unreachable"):
            await dead.resolve("www.example.test")
        second = Resolver(r.users, ["127.9.9.9", r.ctx.network.address])
        assert await second.resolve("www.example.test") == [one]
        lost = iter([True, False, False])
        r.world.loses = lambda data: next(lost, False)
        assert await r.resolver().resolve("www.example.test") == [one]


async def test_forged_answers_are_ignored(autojump_clock: Any) -> None:
    async with rig() as r:
        one = await r.add("lb-1")
        await r.serve()
        forger = await r.world.context("evil").network.open_datagram()
        forged = wire.Answer(addresses=("6.6.6.6",), ttl_s=99)

        def forge(data: bytes) -> bool:
            if data[2] & 0x80:
                return False
            query = wire.decode_query(data)
            reply = wire.encode_answer(query, forged, r.node._authority(), 512)
            for socket in list(r.world.datagrams.values()):
                socket.put.send_nowait((reply, forger.peer))
            return False

        r.world.loses = forge
        assert await r.resolver().resolve("www.example.test") == [one]


async def test_those_who_pin_keep_the_address_until_it_fails(autojump_clock: Any) -> None:
    async with rig() as r:
        one = await r.add("lb-1", "eu-west")
        await r.serve(ttl_s=5, check="none")
        resolver = r.resolver(pin_share=0.5)
        clients = [f"user-{number}" for number in range(100)]
        pinning = [client for client in clients if resolver.pins(client)]
        assert 30 < len(pinning) < 70
        assert await resolver.resolve("www.example.test", client=pinning[0]) == [one]
        two = await r.add("lb-2", "eu-west")
        r.world.unlist_member("lb-1")
        await trio.sleep(6)
        loose = next(client for client in clients if client not in pinning)
        assert await resolver.resolve("www.example.test", client=pinning[0]) == [one]
        assert await resolver.resolve("www.example.test", client=loose) == [two]
        assert await resolver.resolve("www.example.test", client=pinning[0]) == [one]
        assert r.users.metrics.counter("stale_routed_requests_total", "").value == 2
        resolver.failed("www.example.test")
        assert await resolver.resolve("www.example.test", client=pinning[0]) == [two]


async def test_describe_says_zone_and_health(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        await r.serve()
        admin = Client(r.world.context("emu"), r.nursery, "dns-1", ADMIN_PORT)
        described = await admin.call("describe")
        assert described["zone"] == "example.test"
        assert (described["servers_up"], described["servers_total"]) == (1, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("policy", "nearest"), ("check", "icmp"), ("zone", "a..b"), ("max_answers", 0), ("rise", 0),
     ("fall", -1), ("check_interval_s", 0.0), ("check_interval_s", 1e-9)],
)  # fmt: skip
def test_a_config_that_makes_no_sense_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field.removesuffix("_s")):
        DnsConfig(**{"zone": "example.test", "answers": "lb", field: value})
