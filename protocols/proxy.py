"""PROXY protocol version 2: one header before the first byte of a connection that says whom it is
for. Bytes only.

A proxy sends PROXY with the client's addresses, or LOCAL for a connection of its
own (a health check).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from struct import Struct
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER_BYTES: Final = 16
MAX_BODY_BYTES: Final = 2048
"""Addresses and TLVs; a longer header is refused (the length field could say 65,535)."""

_VERSION: Final = 0x20
_LOCAL: Final = 0x0
_PROXY: Final = 0x1
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_PORTS = Struct("!HH")
_FIXED = Struct("!12sBBH")
_TLV = Struct("!BH")


class RemoteProtocolError(Exception):
    """What came is no PROXY v2 header: close the connection."""


@dataclass(frozen=True, slots=True)
class Header:
    """Who the client is and which address it dialed. `source` is empty for LOCAL."""

    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0
    tlvs: tuple[tuple[int, bytes], ...] = ()

    @property
    def local(self) -> bool:
        """The proxy speaks for itself: there is no client."""
        return not self.source


LOCAL: Final = Header()


def encode(header: Header) -> bytes:
    """The bytes to send before anything else."""
    tlvs = b"".join(_TLV.pack(kind, len(value)) + value for kind, value in header.tlvs)
    if header.local:
        return _FIXED.pack(SIGNATURE, _VERSION | _LOCAL, 0, len(tlvs)) + tlvs
    ports = _PORTS.pack(header.source_port, header.destination_port)
    try:
        addresses = IPv4Address(header.source).packed + IPv4Address(header.destination).packed
        family = _TCP4
    except AddressValueError:
        addresses = IPv6Address(header.source).packed + IPv6Address(header.destination).packed
        family = _TCP6
    body = addresses + ports + tlvs
    assert len(body) <= MAX_BODY_BYTES, f"a PROXY header of {len(body)} bytes"
    return _FIXED.pack(SIGNATURE, _VERSION | _PROXY, family, len(body)) + body


def decode(data: bytes | bytearray) -> tuple[Header, int] | None:
    """(header, bytes it took) from the first bytes of a connection; None: more bytes are needed.

    Raises RemoteProtocolError as soon as the bytes cannot become a header.
    """
    start = bytes(data[: len(SIGNATURE)])
    if not SIGNATURE.startswith(start):
        raise RemoteProtocolError("no PROXY v2 signature")
    if len(data) >= 13 and data[12] not in (_VERSION | _LOCAL, _VERSION | _PROXY):
        raise RemoteProtocolError(f"version and command {data[12]:#04x}")
    if len(data) < HEADER_BYTES:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if length > MAX_BODY_BYTES:
        raise RemoteProtocolError(f"a header body of {length} bytes")
    end = HEADER_BYTES + length
    if len(data) < end:
        return None
    body = bytes(data[HEADER_BYTES:end])
    if command & 0x0F == _LOCAL:
        return LOCAL, end  # whatever follows is to be skipped, says the specification
    return _parse(family, body), end


def _parse(family: int, body: bytes) -> Header:
    size = {_TCP4: 4, _TCP6: 16}.get(family)
    if size is None:
        raise RemoteProtocolError(f"address family and transport {family:#04x}")
    if len(body) < 2 * size + 4:
        raise RemoteProtocolError("a header too short for its addresses")
    make = IPv4Address if size == 4 else IPv6Address
    source_port, destination_port = _PORTS.unpack_from(body, 2 * size)
    return Header(
        str(make(body[:size])),
        source_port,
        str(make(body[size : 2 * size])),
        destination_port,
        _parse_tlvs(body[2 * size + 4 :]),
    )


def _parse_tlvs(data: bytes) -> tuple[tuple[int, bytes], ...]:
    tlvs: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        if len(data) - at < _TLV.size:
            raise RemoteProtocolError("a TLV cut short")
        kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size
        if len(data) - at < length:
            raise RemoteProtocolError("a TLV longer than the header")
        tlvs.append((kind, data[at : at + length]))
        at += length
    return tuple(tlvs)
