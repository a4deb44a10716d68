"""DNS messages, over dnspython: queries in, answers out, and the stub resolver's half. Bytes only.

Message ids are always passed in (dnspython would draw them from the operating system), and whatever
comes from the network ends in a value or in Malformed, never in one of dnspython's many exceptions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

A: Final = int(dns.rdatatype.A)
NS: Final = int(dns.rdatatype.NS)
SOA: Final = int(dns.rdatatype.SOA)
AAAA: Final = int(dns.rdatatype.AAAA)
ANY: Final = int(dns.rdatatype.ANY)
ZONE_TRANSFERS: Final = (int(dns.rdatatype.IXFR), int(dns.rdatatype.AXFR))

NOERROR: Final = int(dns.rcode.NOERROR)
FORMERR: Final = int(dns.rcode.FORMERR)
SERVFAIL: Final = int(dns.rcode.SERVFAIL)
NXDOMAIN: Final = int(dns.rcode.NXDOMAIN)
NOTIMP: Final = int(dns.rcode.NOTIMP)
REFUSED: Final = int(dns.rcode.REFUSED)
BADVERS: Final = int(dns.rcode.BADVERS)
DROPPED: Final = -1
"""No answer at all."""

HEADER_BYTES: Final = 12
PLAIN_UDP_BYTES: Final = 512
"""What a client without EDNS can take in a datagram."""
EDNS_UDP_BYTES: Final = 1232
"""What we take and send at most in a datagram; longer answers are truncated, and
asked for over TCP."""
MAX_TCP_BYTES: Final = 65535
MAX_TTL_S: Final = 2**31 - 1
REGION_OPTION: Final = 65001
"""Local-use EDNS option: the asker's region, in place of the address database of a real GeoDNS."""

_FLAG_QR = 0x8000
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_HEADER = Struct("!HHHHHH")
_LENGTH = Struct("!H")


class Malformed(Exception):
    """Not a query we can answer (or not an answer). `reply` says so; empty: drop it."""

    def __init__(self, reason: str, reply: bytes = b"") -> None:
        super().__init__(reason)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Query:
    """One question of the IN class. `name` is lower case, without the last dot."""

    name: str
    rdtype: int
    udp_bytes: int
    """How long a datagram the client takes."""
    region: str = ""
    subnet: tuple[str, int] | None = None
    """The client subnet that a resolver passed on: address and prefix length."""
    edns_version: int = -1
    rdclass: int = 1
    message: dns.message.Message = field(compare=False, repr=False, kw_only=True)

    @property
    def labels(self) -> tuple[str, ...]:
        """The name's parts, lower case; unlike in `name`, a part may hold a dot."""
        parts = self.message.question[0].name.labels[:-1]
        return tuple(part.decode("latin-1").lower() for part in parts)


@dataclass(frozen=True, slots=True)
class Authority:
    """The zone's own records: they go with every negative answer."""

    zone: str
    server: str
    server_address: str
    serial: int
    negative_ttl_s: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What to say. No addresses and NOERROR is NODATA: the name exists, but has no such record."""

    rcode: int = NOERROR
    addresses: tuple[str, ...] = ()
    ttl_s: int = 0
    apex_type: int = 0
    """SOA or NS: answer with the zone's own record."""
    scope: int = 0
    """Prefix length for which the answer holds, for clients that sent their subnet."""


def canonical(name: str) -> str:
    """A host's name as it is on the wire: lower case, without the last dot, other scripts by IDNA.

    Raises ValueError for what is none: parts of letters, digits, `-` and `_`, 63 bytes each.
    """
    try:
        text = dns.name.from_text(name).to_text(omit_final_dot=True).lower()
    except (dns.exception.DNSException, UnicodeError) as error:
        raise ValueError(f"`{name}` is no domain name: {error}") from None
    if "\\" in name or not all(map(_LABEL.fullmatch, text.split("."))):
        raise ValueError(
            f"`{name}` is no name of a host: its parts are of letters, digits, `-` and `_`"
        )
    return text


def header_reply(wire: bytes | bytearray, rcode: int) -> bytes:
    """A bare header that answers `wire` (at least 12 bytes) with an error."""
    message_id, flags = _HEADER.unpack_from(wire)[:2]
    return _HEADER.pack(message_id, _FLAG_QR | (flags & 0x7900) | rcode, 0, 0, 0, 0)


def rcode_of(reply: bytes) -> int:
    """Of a bare header; DROPPED where there is none."""
    return reply[3] & 0x0F if reply else DROPPED


def decode_query(wire: bytes) -> Query:
    """Raises Malformed for whatever is not exactly one plain question."""
    if len(wire) < HEADER_BYTES:
        raise Malformed("shorter than a header")
    _, flags, questions, *_ = _HEADER.unpack_from(wire)
    if flags & _FLAG_QR:
        raise Malformed("a response, not a query")
    if flags & 0x7800:
        raise Malformed("an opcode other than QUERY", header_reply(wire, NOTIMP))
    if questions != 1:
        raise Malformed(f"{questions} questions", header_reply(wire, FORMERR))
    try:
        message = dns.message.from_wire(wire)
        (question,) = message.question
        name = question.name.to_text(omit_final_dot=True).lower()
        region, subnet = _options(message)
    except Exception as error:  # dnspython's many: form, label, option, TSIG, struct, value ...
        reason = str(error) or type(error).__name__
        raise Malformed(reason, header_reply(wire, FORMERR)) from None
    udp_bytes = PLAIN_UDP_BYTES
    if message.edns >= 0:
        udp_bytes = min(max(message.payload, PLAIN_UDP_BYTES), EDNS_UDP_BYTES)
    return Query(
        name,
        int(question.rdtype),
        udp_bytes,
        region,
        subnet,
        message.edns,
        int(question.rdclass),
        message=message,
    )


def _options(message: dns.message.Message) -> tuple[str, tuple[str, int] | None]:
    region, subnet = "", None
    for option in message.options:
        if isinstance(option, dns.edns.ECSOption):
            if option.scopelen:
                raise ValueError("a query's client subnet has a scope")
            subnet = (option.address, option.srclen)
        elif isinstance(option, dns.edns.GenericOption) and int(option.otype) == REGION_OPTION:
            region = bytes(option.data)[:64].decode("ascii", "replace")
    return region, subnet


def encode_answer(
    query: Query, answer: Answer, authority: Authority | None, max_bytes: int
) -> bytes:
    """The response; if it is over `max_bytes`, without records and with the TC bit set."""
    if query.edns_version > 0:
        answer = Answer(BADVERS)
        authority = None
    response = dns.message.make_response(query.message, our_payload=EDNS_UDP_BYTES, pad=0)
    if query.edns_version >= 0:
        options: list[dns.edns.Option] = []
        if query.subnet is not None and query.edns_version == 0:
            options = [dns.edns.ECSOption(*query.subnet, answer.scope)]
        echoed = query.message.ednsflags & dns.flags.DO
        response.use_edns(0, echoed, EDNS_UDP_BYTES, query.message.payload, options)
    response.set_rcode(dns.rcode.Rcode(answer.rcode))
    if answer.rcode in (NOERROR, NXDOMAIN):
        response.flags |= dns.flags.AA
    if authority is not None:
        _fill(response, query, answer, authority)
    return _fitting(response, max_bytes)


def _fitting(response: dns.message.Message, max_bytes: int) -> bytes:
    try:
        return response.to_wire(max_size=max(max_bytes, PLAIN_UDP_BYTES), want_shuffle=False)
    except dns.exception.TooBig:
        response.answer.clear()
        response.authority.clear()
        response.additional.clear()
        response.flags |= dns.flags.TC
        return response.to_wire(want_shuffle=False)


def _fill(
    response: dns.message.Message, query: Query, answer: Answer, authority: Authority
) -> None:
    owner = query.message.question[0].name
    if answer.addresses:
        response.answer.append(
            dns.rrset.from_text_list(owner, answer.ttl_s, "IN", "A", list(answer.addresses))
        )
    elif answer.apex_type == SOA:
        response.answer.append(_soa(authority, authority.ttl_s))
    elif answer.apex_type == NS:
        server = f"{authority.server}."
        response.answer.append(
            dns.rrset.from_text(f"{authority.zone}.", authority.ttl_s, "IN", "NS", server)
        )
        response.additional.append(
            dns.rrset.from_text(server, authority.ttl_s, "IN", "A", authority.server_address)
        )
    elif answer.rcode in (NOERROR, NXDOMAIN):
        response.authority.append(_soa(authority, authority.negative_ttl_s))


def _soa(authority: Authority, ttl_s: int) -> dns.rrset.RRset:
    text = (
        f"{authority.server}. hostmaster.{authority.zone}. {authority.serial} "
        f"3600 600 86400 {authority.negative_ttl_s}"
    )
    return dns.rrset.from_text(f"{authority.zone}.", ttl_s, "IN", "SOA", text)


# --- the asking side -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """What a server said. `ttl_s` is the time to keep it, negative answers included."""

    message_id: int
    name: str
    rcode: int
    addresses: tuple[str, ...]
    ttl_s: int
    truncated: bool
    scope: int | None = None
    """For how long a prefix of the client's subnet it holds; None: the server did not look."""


def encode_query(
    message_id: int,
    name: str,
    *,
    region: str = "",
    rdtype: int = A,
    subnet: tuple[str, int] | None = None,
) -> bytes:
    """Ask for `name`; `region`, or the client's `subnet`, tells the server where the asker is.
    Raises ValueError for a name that cannot be asked for."""
    options: list[dns.edns.Option] = []
    if region:
        kind = dns.edns.OptionType.make(REGION_OPTION)
        options.append(dns.edns.GenericOption(kind, region.encode()))
    if subnet is not None:
        options.append(dns.edns.ECSOption(*subnet))
    try:
        message = dns.message.make_query(
            name,
            dns.rdatatype.RdataType(rdtype),
            use_edns=0,
            payload=EDNS_UDP_BYTES,
            options=options,
            id=message_id,
        )
        return message.to_wire()
    except dns.exception.DNSException as error:
        raise ValueError(f"`{name}` is no domain name: {error}") from None


def decode_response(wire: bytes) -> Response:
    """Raises Malformed."""
    if len(wire) < HEADER_BYTES or not wire[2] & 0x80:
        raise Malformed("no response")
    truncated = bool(wire[2] & 0x02)
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
        if len(message.question) != 1:
            raise Malformed("no question in the response")
        name = message.question[0].name
        scopes = [each.scopelen for each in message.options if isinstance(each, dns.edns.ECSOption)]
        addresses: list[str] = []
        ttls: list[int] = []
        for rrset in message.answer:
            if rrset.rdtype == dns.rdatatype.A and rrset.name == name:
                addresses.extend(record.to_text() for record in rrset)
                ttls.append(rrset.ttl)
        if not addresses:
            ttls = [rrset.ttl for rrset in message.answer]
        for rrset in () if message.answer else message.authority:
            if rrset.rdtype == dns.rdatatype.SOA:
                ttls.append(min(rrset.ttl, rrset[0].minimum))
        return Response(
            message.id,
            name.to_text(omit_final_dot=True).lower(),
            int(message.rcode()),
            tuple(addresses),
            min(ttls, default=0),
            truncated,
            scopes[0] if scopes else None,
        )
    except Malformed:
        raise
    except Exception as error:  # as in decode_query
        raise Malformed(str(error) or type(error).__name__) from None


def relay(
    stored: bytes, query: Query, age_s: int, scope: int, max_bytes: int, *, least_ttl_s: int = 0
) -> bytes:
    """A server's answer to the same question, `age_s` old, as a resolver hands it on: what is left
    of its time (of `least_ttl_s`, if it had less), and of EDNS what this client asked for."""
    said = dns.message.from_wire(stored, ignore_trailing=True)
    response = dns.message.make_response(
        query.message, recursion_available=True, our_payload=EDNS_UDP_BYTES, pad=0
    )
    if query.edns_version >= 0:
        options: list[dns.edns.Option] = []
        if query.subnet is not None:
            options = [dns.edns.ECSOption(*query.subnet, min(scope, query.subnet[1]))]
        echoed = query.message.ednsflags & dns.flags.DO
        response.use_edns(0, echoed, EDNS_UDP_BYTES, query.message.payload, options)
    response.set_rcode(said.rcode())
    for mine, theirs in (
        (response.answer, said.answer),
        (response.authority, said.authority),
        (response.additional, said.additional),
    ):
        for rrset in theirs:
            rrset.ttl = max(0, max(rrset.ttl, least_ttl_s) - age_s)
            mine.append(rrset)
    return _fitting(response, max_bytes)


def failure(query: Query, rcode: int) -> bytes:
    """A resolver's answer without records."""
    response = dns.message.make_response(query.message, recursion_available=True, pad=0)
    response.set_rcode(dns.rcode.Rcode(rcode))
    return response.to_wire()


# --- over TCP ------------------------------------------------------------------------------------


def frame(message: bytes) -> bytes:
    """A message as TCP carries it: its length first."""
    return _LENGTH.pack(len(message)) + message


class TcpFrames:
    """Cuts a TCP stream into messages. Memory stays below one message and what was fed."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def mid_message(self) -> bool:
        return bool(self._buffer)

    def receive_data(self, data: bytes | bytearray) -> list[bytes]:
        """The messages that end in `data`."""
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        at = 0
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            end = at + _LENGTH.size + length
            if end > len(buffer):
                break
            messages.append(bytes(buffer[at + _LENGTH.size : end]))
            at = end
        del buffer[:at]
        return messages
