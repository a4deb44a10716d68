"""What a DNS node says to questions of every kind, well formed and not."""

from __future__ import annotations

import random
from typing import Any

import dns.edns
import dns.flags
import dns.message
import pytest
import trio

from nodes.base import DNS_PORT
from nodes.dns.config import DnsConfig
from nodes.dns.node import DnsNode
from protocols import dns as wire
from tests.nodes.dns.messages import check, mutated
from tests.nodes.dns.test_node import Rig, rig


async def judge_many(seed: str, count: int, **config: Any) -> dict[str, int]:
    rng, found = random.Random(seed), dict[str, int]()
    async with rig() as r:
        await r.add("lb-1")
        await r.add("lb-2", "eu-west")
        node = await r.serve(**config)
        for _ in range(count):
            data, over = mutated(rng), rng.choice(("udp", "tcp"))
            said = check(data, node.respond(data, "us-east", over=over), over)
            found[said] = found.get(said, 0) + 1
    return found


async def test_mutated_questions_are_answered_as_dnspython_reads_them(autojump_clock: Any) -> None:
    found = await judge_many("sample", 3_000)
    assert set(found) >= {"noerror", "nxdomain", "refused", "formerr", "notimp", "badvers",
                          "dropped"}  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
async def test_a_million_mutated_questions_are_answered_as_dnspython_reads_them(
    part: int, record_property: Any, autojump_clock: Any
) -> None:
    policy = ("latency", "weighted", "failover")[part % 3]
    record_property("figures", await judge_many(f"soak/{part}", 100_000, policy=policy))


def ask(node: DnsNode, name: str, rdtype: str = "A", **how: Any) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, id=7, **how)
    return dns.message.from_wire(node.respond(query.to_wire(), "us-east"))


async def test_what_is_remembered_of_strangers_questions_is_bounded(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they are, and however many."""
    monkeypatch.setattr("nodes.dns.node.MAX_REMEMBERED_BYTES", 20_000)
    rng, most = random.Random(1), 0
    async with rig() as r:
        await r.add("lb-1")
        node = await r.serve()
        for number in range(120):
            options = [dns.edns.GenericOption(65001, rng.randbytes(rng.choice((8, 400, 30_000))))]
            query = dns.message.make_query("www.example.test", "A", id=number, options=options)
            assert node.respond(query.to_wire(max_size=65535), "us-east", over="tcp")
            most = max(most, kept_bytes(node))
    assert 10_000 < most < 22_000


def kept_bytes(node: DnsNode) -> int:
    return sum(
        len(wire) * len(turns) + sum(len(each.wire) for each in turns)
        for (wire, *_), turns in node._replies.items()
    )


async def test_a_name_with_another_type_only_is_there_and_has_no_data(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        node = await r.serve()
        for name in ("ns", "www", "lb", "lb-1"):
            for kind in ("AAAA", "TXT", "SOA", "NS", "CNAME"):
                said = ask(node, f"{name}.example.test", kind)
                assert (said.rcode(), said.answer) == (wire.NOERROR, []), (name, kind)
                assert said.authority[0].rdtype == wire.SOA
        assert ask(node, "no.example.test", "AAAA").rcode() == wire.NXDOMAIN


async def test_what_lies_between_a_name_and_the_zone_is_there_too(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        node = await r.serve()
        node.zone.set_members("a.deep.tier", ())
        for name in ("deep.tier", "tier"):
            assert ask(node, f"{name}.example.test").rcode() == wire.NOERROR, name
        for name in ("eep.tier", "ier", "x.deep.tier", "b.tier"):
            assert ask(node, f"{name}.example.test").rcode() == wire.NXDOMAIN, name


async def test_a_dot_inside_a_label_parts_nothing(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        node = await r.serve()
        for name in (r"www\.example.test", r"\.example.test", r"a\.b\.example.test"):
            assert ask(node, name).rcode() == wire.REFUSED, name
        for name in (r"www\.x.example.test", r"\..example.test", r"a\\.example.test"):
            assert ask(node, name).rcode() == wire.NXDOMAIN, name


def subnet_of(said: dns.message.Message) -> tuple[int, int]:
    (option,) = said.options
    assert isinstance(option, dns.edns.ECSOption)
    return option.srclen, option.scopelen


async def subnets(r: Rig) -> tuple[str, str]:
    return await r.add("lb-1"), await r.add("lb-2", "eu-west")


async def test_a_subnet_of_any_length_places_its_clients(autojump_clock: Any) -> None:
    async with rig() as r:
        here, there = await subnets(r)
        node = await r.serve()
        apart = next(bits for bits in range(32, 0, -1) if _same(here, there, bits)) + 1
        for bits in range(apart, 33):
            said = ask(node, "www.example.test", options=[dns.edns.ECSOption(there, bits)])
            assert said.answer[0][0].to_text() == there
            assert subnet_of(said) == (bits, bits)
        for bits in range(apart):  # both regions are inside: it holds for single addresses only
            said = ask(node, "www.example.test", options=[dns.edns.ECSOption(there, bits)])
            assert subnet_of(said) == (bits, 32)


def _same(one: str, other: str, bits: int) -> bool:
    return dns.edns.ECSOption(one, bits).addrdata == dns.edns.ECSOption(other, bits).addrdata


async def test_a_strange_subnet_says_no_more_than_it_knows(autojump_clock: Any) -> None:
    async with rig() as r:
        here, _ = await subnets(r)
        node = await r.serve()
        for address, bits in (("203.0.113.9", 24), ("2001:db8::", 56)):
            said = ask(node, "www.example.test", options=[dns.edns.ECSOption(address, bits)])
            assert said.answer[0][0].to_text() == here, "as for who asks"
            assert subnet_of(said) == (bits, bits)
        scoped = dns.edns.ECSOption(here, 24, 24)
        assert ask(node, "www.example.test", options=[scoped]).rcode() == wire.FORMERR
        no = ask(node, "no.example.test", options=[dns.edns.ECSOption(here, 24)])
        assert subnet_of(no) == (24, 0), "it holds for everybody"


async def test_where_the_place_decides_nothing_an_answer_holds_for_everybody(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        here, _ = await subnets(r)
        node = await r.serve(policy="failover")
        said = ask(node, "www.example.test", options=[dns.edns.ECSOption(here, 24)])
        assert subnet_of(said) == (24, 0)


async def test_edns_comes_back_as_far_as_it_was_asked(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        node = await r.serve()
        for wanted in (True, False):
            for name in ("www.example.test", "no.example.test", "example.org"):
                said = ask(node, name, want_dnssec=wanted, use_edns=0)
                assert bool(said.ednsflags & dns.flags.DO) == wanted, name
        assert ask(node, "www.example.test", use_edns=False).edns == -1


async def test_what_does_not_fit_with_its_options_is_cut(autojump_clock: Any) -> None:
    async with rig() as r:
        for number in range(60):
            await r.add(f"lb-{number}")
        sizes = set()
        for most in range(20, 60):
            node = DnsNode(r.ctx, DnsConfig("example.test", "lb", check="none", max_answers=most))
            node.zone.set_members("lb", list(r.world.tiers["lb"].values()))
            for options in ([], [dns.edns.ECSOption("10.0.0.0", 32)]):
                for edns in (False, 0):
                    query = dns.message.make_query("www.example.test", "A", use_edns=edns,
                        payload=600, options=options if edns == 0 else [], id=1)  # fmt: skip
                    reply = node.respond(query.to_wire(), "us-east")
                    limit, said = 512 if edns is False else 600, dns.message.from_wire(reply)
                    assert len(reply) <= limit
                    cut = bool(said.flags & dns.flags.TC)
                    assert cut != (len(said.answer) == 1 and len(said.answer[0]) == most)
                    sizes.add((edns, bool(options), most, cut))
        assert (0, False, 34, False) in sizes and (0, True, 34, True) in sizes


async def test_a_client_that_dribbles_or_does_not_read_is_let_go(autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        await r.serve(tcp_idle_timeout_s=10.0)
        stream = await r.users.network.open_stream(r.ctx.network.address, DNS_PORT)
        message = wire.frame(wire.encode_query(1, "www.example.test"))
        began_s = trio.current_time()
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            for byte in message:
                await stream.send_all(bytes([byte]))
                await trio.sleep(9)
        assert trio.current_time() - began_s < 30
        await stream.aclose()


@pytest.mark.parametrize("zone", ["example.test", "Example.TEST.", "bücher.test", "a_b.test",
                                  "xn--bcher-kva.test", "test", "a." * 90 + "test"])  # fmt: skip
async def test_a_zone_that_is_taken_answers(zone: str, autojump_clock: Any) -> None:
    async with rig() as r:
        here = await r.add("lb-1")
        await r.serve(zone=zone)
        for front in ("", "www.", "lb-1."):
            assert await r.resolver().resolve(front + zone) == [here], front


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"zone": "exa mple.test"}, "`exa mple.test` is no name of a host"),
        ({"zone": "."}, "is no name of a host"),
        ({"zone": ""}, "is no name of a host"),
        ({"zone": "a..test"}, "is no domain name"),
        ({"zone": "a*b.test"}, "is no name of a host"),
        ({"zone": "-a.test"}, "is no name of a host"),
        ({"zone": r"a\.b.test"}, "is no name of a host"),
        ({"zone": "a" * 64 + ".test"}, "is no domain name"),
        ({"zone": "ü" * 60 + ".test"}, "is no domain name"),
        ({"zone": ("a" * 60 + ".") * 3 + "test12345"}, "at most 190"),
        ({"zone": ("a" * 60 + ".") * 5 + "test"}, "is no domain name"),
        ({"ttl_s": 60000 * 86400.0}, "`ttl` must be from 0 to 2147483647"),
        ({"ttl_s": -1.0}, "`ttl` must be"),
        ({"ttl_s": float("inf")}, "`ttl` must be"),
        ({"ttl_s": float("nan")}, "`ttl` must be"),
        ({"negative_ttl_s": 2.0**31}, "`negative_ttl` must be"),
        ({"policy": "weighted", "weights": {"a": 2, "b": -1}}, "`weights` must not be below 0"),
    ],
)
def test_a_config_that_no_answer_could_carry_is_refused(config: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        DnsConfig(**{"zone": "example.test", "answers": "lb", **config})
