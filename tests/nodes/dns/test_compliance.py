"""The queries of RFC 8906 and of the EDNS compliance tests: what a server must say to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from nodes.dns.node import DnsNode
from protocols import dns as wire
from tests.nodes.dns.test_node import rig

ZONE = "example.test"
Z_OF_EDNS, Z_OF_HEADER = 0x40, 0x40
UNKNOWN = dns.edns.GenericOption(dns.edns.OptionType.make(100), b"")
COOKIE = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"01234567")
NSID = dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")
EXPIRE = dns.edns.GenericOption(dns.edns.OptionType.make(9), b"")
SUBNET = dns.edns.ECSOption("0.0.0.0", 0)


def asked(node: DnsNode, rdtype: str = "SOA", over: str = "udp", **how: Any) -> dns.message.Message:
    query = dns.message.make_query(ZONE, rdtype, id=8906, **how)
    return dns.message.from_wire(node.respond(query.to_wire(), "us-east", over=over))


def is_answered(said: dns.message.Message) -> bool:
    return (
        said.rcode() == dns.rcode.NOERROR and bool(said.flags & dns.flags.AA) and bool(said.answer)
    )


CASES: dict[str, tuple[dict[str, Any], Callable[[dns.message.Message], bool]]] = {
    "plain DNS": ({"use_edns": False}, lambda said: is_answered(said) and said.edns == -1),
    "plain EDNS": ({"use_edns": 0}, lambda said: is_answered(said) and said.edns == 0),
    "EDNS version 1": (
        {"use_edns": 1},
        lambda said: (said.rcode(), said.edns, said.answer) == (dns.rcode.BADVERS, 0, []),
    ),
    "an unknown option": (
        {"use_edns": 0, "options": [UNKNOWN]},
        lambda said: is_answered(said) and not said.options,
    ),
    "an unknown flag of EDNS": (
        {"use_edns": 0, "ednsflags": Z_OF_EDNS},
        lambda said: is_answered(said) and not said.ednsflags & Z_OF_EDNS,
    ),
    "version 1 with an unknown flag": (
        {"use_edns": 1, "ednsflags": Z_OF_EDNS},
        lambda said: said.rcode() == dns.rcode.BADVERS and not said.ednsflags & Z_OF_EDNS,
    ),
    "version 1 with an unknown option": (
        {"use_edns": 1, "options": [UNKNOWN]},
        lambda said: said.rcode() == dns.rcode.BADVERS and not said.options,
    ),
    "DNSSEC wanted": (
        {"use_edns": 0, "want_dnssec": True},
        lambda said: is_answered(said) and bool(said.ednsflags & dns.flags.DO),
    ),
    "a small buffer": (
        {"use_edns": 0, "payload": 512},
        lambda said: is_answered(said) and len(said.to_wire()) <= 512,
    ),
    "many options": (
        {"use_edns": 0, "options": [NSID, COOKIE, EXPIRE, SUBNET]},
        lambda said: is_answered(said) and [int(each.otype) for each in said.options] == [8],
    ),
    "the header's unknown flag": (
        {"use_edns": False, "flags": dns.flags.RD | Z_OF_HEADER},
        lambda said: is_answered(said) and not said.flags & Z_OF_HEADER,
    ),
    "recursion wanted": (
        {"use_edns": False, "flags": dns.flags.RD},
        lambda said: is_answered(said) and not said.flags & dns.flags.RA,
    ),
    "authentic data wanted": (
        {"use_edns": False, "flags": dns.flags.AD},
        lambda said: is_answered(said) and not said.flags & dns.flags.AD,
    ),
    "an unknown type": (
        {"use_edns": False, "rdtype": "TYPE1000"},
        lambda said: said.rcode() == dns.rcode.NOERROR and not said.answer and bool(said.authority),
    ),
}


@pytest.mark.parametrize("over", ["udp", "tcp"])
async def test_each_query_is_answered_as_the_rfcs_say(over: str, autojump_clock: Any) -> None:
    async with rig() as r:
        await r.add("lb-1")
        node = await r.serve()
        wrong = {name: str(said) for name, (how, holds) in CASES.items()
                 if not holds(said := asked(node, over=over, **how))}  # fmt: skip
        assert wrong == {}


async def test_unknown_opcodes_are_not_implemented_and_answers_are_not_answered(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        node = await r.serve()
        query = dns.message.make_query(ZONE, "SOA", id=8906)
        for opcode in range(16):
            query.set_opcode(dns.opcode.Opcode(opcode))
            data = bytearray(query.to_wire())
            said = dns.message.from_wire(node.respond(bytes(data[:12]), "us-east"))
            expected = wire.FORMERR if opcode == 0 else wire.NOTIMP
            assert (said.id, said.opcode(), said.rcode()) == (8906, opcode, expected)
            data[2] |= 0x80
            assert node.respond(bytes(data), "us-east") == b""


async def test_both_halves_of_an_options_length_are_believed_only_if_they_fit(
    autojump_clock: Any,
) -> None:
    async with rig() as r:
        node = await r.serve()
        query = dns.message.make_query(ZONE, "SOA", id=8906, use_edns=0, options=[COOKIE])
        data = bytearray(query.to_wire())
        for cut in range(1, 13):
            said = node.respond(bytes(data[:-cut]), "us-east")
            assert dns.rcode.from_flags(int.from_bytes(said[2:4], "big"), 0) == dns.rcode.FORMERR
