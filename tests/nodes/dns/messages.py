"""DNS questions as they should be and as they should not, from a seed, and what is right to say,
by dnspython's judgement of names and messages."""

from __future__ import annotations

import random
import struct
from typing import Final

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

ZONE: Final = dns.name.from_text("example.test")
KNOWN: Final = frozenset(
    ZONE if front == "@" else dns.name.from_text(front, ZONE)
    for front in ("@", "www", "lb", "lb-1", "lb-2", "ns")
)
NAMES: Final = tuple(
    dns.name.from_text(text)
    for text in (
        "example.test", "www.example.test", "WWW.Example.Test", "lb-1.example.test",
        "ns.example.test", "no.example.test", "www.www.example.test", "a\\.example.test",
        "www\\.example.test", "lb\\.x.example.test", "\\.example.test", "notexample.test",
        "test", ".", "example.test.example.org", "\\000.example.test", "a" * 63 + ".example.test",
    )
)  # fmt: skip
KINDS: Final = ("A", "AAAA", "ANY", "SOA", "NS", "TXT", "MX", "AXFR", "IXFR", "TYPE65280", "CNAME")


def question(rng: random.Random) -> dns.message.Message:
    """One question, with EDNS or without."""
    number = rng.randrange(1 << 16)
    made = dns.message.make_query(rng.choice(NAMES), rng.choice(KINDS[: rng.choice((1, 11))]),
                                  rng.choice((1, 1, 1, 1, 3, 255)), id=number)  # fmt: skip
    if rng.random() < 0.6:
        options: list[dns.edns.Option] = []
        if rng.random() < 0.5:
            address = rng.choice(("127.3.0.1", "127.3.0.2", "10.0.0.0", "255.255.255.255"))
            bits = rng.choice((0, 1, 8, 15, 24, 31, 32))
            options.append(dns.edns.ECSOption(address, bits, rng.choice((0, 0, 0, 0, 24))))
        if rng.random() < 0.1:
            options.append(dns.edns.ECSOption("2001:db8::1", rng.randrange(129)))
        if rng.random() < 0.2:
            options.append(dns.edns.GenericOption(rng.randrange(1 << 16), rng.randbytes(5)))
        flags = rng.choice((0, 0, int(dns.flags.DO), 0x4000))
        made.use_edns(rng.choice((0, 0, 0, 0, 1, 255)), flags, rng.choice((0, 511, 512, 600, 1232,
                      4096, 65535)), options=options)  # fmt: skip
    made.flags = dns.flags.Flag(rng.choice((0x0100, 0x0100, 0x0100, 0x0110, 0x8000, 0x2800, 0)))
    return made


def mutated(rng: random.Random) -> bytes:
    data = bytearray(question(rng).to_wire())
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, rng.randrange(256)))
            case 1:
                del data[at : at + rng.randrange(1, 5)]
            case 2:
                data[at:at] = data[at : at + rng.randrange(1, 5)]
            case 3:
                data += rng.randbytes(rng.randrange(1, 12))
        if not data:
            break
    return bytes(data)


def check(wire: bytes, reply: bytes, over: str) -> str:
    """Whether that is a right answer to `wire`; says what it was, fails where it is not."""
    if len(wire) < 12 or wire[2] & 0x80:
        assert reply == b""
        return "dropped"
    assert reply[:2] == wire[:2] and reply[2] & 0x80
    rcode = reply[3] & 0x0F
    if wire[2] & 0x78:
        assert rcode == dns.rcode.NOTIMP
        return "notimp"
    try:
        asked = dns.message.from_wire(wire)
        asked.question[0].name.to_text()
    except (dns.exception.DNSException, ValueError, IndexError, struct.error):
        assert rcode == dns.rcode.FORMERR
        return "formerr"
    scoped = any(isinstance(each, dns.edns.ECSOption) and each.scopelen for each in asked.options)
    if len(asked.question) != 1 or struct.unpack_from("!H", wire, 4) != (1,) or scoped:
        assert rcode == dns.rcode.FORMERR
        return "formerr"
    _check_answer(asked, dns.message.from_wire(reply), len(reply), over)
    return dns.rcode.to_text(dns.message.from_wire(reply).rcode()).lower()


def _check_answer(
    asked: dns.message.Message, said: dns.message.Message, size: int, over: str
) -> None:
    assert said.question == asked.question
    assert said.edns == min(asked.edns, 0)
    limit = 512 if asked.edns < 0 else min(max(asked.payload, 512), 1232)
    assert over == "tcp" or size <= limit
    assert said.ednsflags & dns.flags.DO == asked.ednsflags & dns.flags.DO
    if asked.edns > 0:
        assert said.rcode() == dns.rcode.BADVERS and not said.answer
        return
    _check_subnet(asked, said)
    (one,) = asked.question
    addresses = [rrset for rrset in said.answer if rrset.rdtype == dns.rdatatype.A]
    if not one.name.is_subdomain(ZONE) or one.rdclass != 1 or one.rdtype in (251, 252):
        assert said.rcode() == dns.rcode.REFUSED and not said.answer and not said.authority
        return
    assert said.rcode() == (dns.rcode.NOERROR if one.name in KNOWN else dns.rcode.NXDOMAIN)
    if said.flags & dns.flags.TC:
        assert not (said.answer or said.authority) and over == "udp"
    elif one.name in KNOWN and one.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
        assert [rrset.name for rrset in addresses] == [one.name]
    elif one.name == ZONE and one.rdtype in (dns.rdatatype.SOA, dns.rdatatype.NS):
        assert [rrset.rdtype for rrset in said.answer] == [one.rdtype]
    else:
        assert not said.answer
        assert [rrset.rdtype for rrset in said.authority] == [dns.rdatatype.SOA]


def _check_subnet(asked: dns.message.Message, said: dns.message.Message) -> None:
    """The last one counts, and comes back; the scope says for how much of it the answer holds."""
    subnets = [each for each in asked.options if isinstance(each, dns.edns.ECSOption)]
    back = [each for each in said.options if isinstance(each, dns.edns.ECSOption)]
    assert [(each.address, each.srclen) for each in back] == [
        (each.address, each.srclen) for each in subnets[-1:]
    ]
    for each in back:
        assert each.scopelen == 0 or (each.scopelen >= each.srclen and said.answer)
