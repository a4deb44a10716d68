"""PNG pictures: taken apart, made smaller and put together, in steps of a millisecond or so. Pure,
and bounded: 8 bits a channel, not interlaced, at most MAX_PIXELS. Transparency is left out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from protocols.stepping import Steps

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS: Final = 512 * 512
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type → bytes of a pixel."""
PALETTE: Final = 3
STEP_BYTES: Final = 4096


class Picture(NamedTuple):
    """Red, green and blue of each pixel, row by row."""

    width: int
    height: int
    pixels: bytes


def encode(picture: Picture) -> bytes:
    width, row_bytes = picture.width, 3 * picture.width
    assert len(picture.pixels) == row_bytes * picture.height
    rows = (
        b"\x00" + picture.pixels[start : start + row_bytes]
        for start in range(0, len(picture.pixels), row_bytes)
    )
    header = struct.pack(">IIBBBBB", width, picture.height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 6)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(name, body) for name, body in parts)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def decode(data: bytes) -> Steps[Picture]:
    """Raises ValueError, with what is wrong, for anything that is no such picture."""
    chunks = _chunks(data)
    name, header = next(chunks, (b"", b""))
    if name != b"IHDR" or len(header) != 13:
        raise ValueError("a PNG begins with its header")
    width, height, depth, kind, packing, filtering, interlaced = struct.unpack(">IIBBBBB", header)
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"{width} × {height} pixels; at most {MAX_PIXELS} in all")
    if depth != 8 or kind not in CHANNELS or packing or filtering or interlaced:
        raise ValueError("only pictures of 8 bits a channel that are not interlaced")
    palette, packed = b"", b""
    for name, body in chunks:
        if name == b"PLTE":
            palette = body
        elif name == b"IDAT":
            packed += body
    channels = CHANNELS[kind]
    wanted = (width * channels + 1) * height
    try:
        raw = zlib.decompressobj().decompress(packed, wanted + 1)
    except zlib.error as error:
        raise ValueError(f"its data: {error}") from None
    if len(raw) != wanted:
        raise ValueError(f"its data is {len(raw)} bytes, and must be {wanted}")
    rows = yield from _unfiltered(raw, width * channels, channels)
    return Picture(width, height, _coloured(rows, kind, palette))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(SIGNATURE):
        raise ValueError("this is no PNG")
    position, name = len(SIGNATURE), b""
    while name != b"IEND":
        size = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + size
        if end > len(data):
            raise ValueError("it ends in the middle")
        name, body = data[position + 4 : position + 8], data[position + 8 : end - 4]
        if zlib.crc32(name + body) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"its part at byte {position} is damaged")
        yield name, body
        position = end


def _unfiltered(raw: bytes, row_bytes: int, channels: int) -> Steps[bytes]:
    """The rows as they are, from what each was told to differ by."""
    found = bytearray()
    above = bytes(row_bytes)
    since_step = 0
    for start in range(0, len(raw), row_bytes + 1):
        row = bytearray(raw[start + 1 : start + 1 + row_bytes])
        _unfilter(raw[start], row, above, channels)
        found += row
        above = bytes(row)
        since_step += row_bytes
        if since_step >= STEP_BYTES:
            since_step = 0
            yield
    return bytes(found)


def _unfilter(how: int, row: bytearray, above: bytes, channels: int) -> None:
    """How: 0 as it is, 1 from the left, 2 from above, 3 from their mean, 4 by Paeth."""
    if how > 4:
        raise ValueError(f"there is no filter {how}")
    if how == 2:
        for place, up in enumerate(above):
            row[place] = (row[place] + up) & 255
    elif how:
        for place, up in enumerate(above):
            left = row[place - channels] if place >= channels else 0
            if how == 1:
                guess = left
            elif how == 3:
                guess = (left + up) >> 1
            else:
                guess = _paeth(left, up, above[place - channels] if place >= channels else 0)
            row[place] = (row[place] + guess) & 255


def _paeth(left: int, up: int, corner: int) -> int:
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


def _coloured(rows: bytes, kind: int, palette: bytes) -> bytes:
    if kind == 2:
        return rows
    if kind == PALETTE:
        colours = [palette[at : at + 3] for at in range(0, len(palette) - 2, 3)]
        if rows and max(rows) >= len(colours):
            raise ValueError("a pixel has a colour that its palette lacks")
        return b"".join([colours[each] for each in rows])
    found = bytearray(3 * (len(rows) // CHANNELS[kind]))
    for colour in range(3):
        found[colour::3] = rows[colour if kind == 6 else 0 :: CHANNELS[kind]]
    return bytes(found)


def shrink(picture: Picture, most: int) -> Steps[Picture]:
    """At most so many pixels wide and high, each the mean of those that it stands for."""
    width, height, pixels = picture
    if max(width, height) <= most:
        return picture
    new_width = max(1, width * most // max(width, height))
    new_height = max(1, height * most // max(width, height))
    columns = [(x * width // new_width, (x + 1) * width // new_width) for x in range(new_width)]
    found = bytearray()
    for y in range(new_height):
        top, bottom = y * height // new_height, (y + 1) * height // new_height
        for left, right in columns:
            count = (right - left) * (bottom - top)
            spans = [
                pixels[3 * (row * width + left) : 3 * (row * width + right)]
                for row in range(top, bottom)
            ]
            block = b"".join(spans)
            found += bytes(sum(block[colour::3]) // count for colour in range(3))
        yield
    return Picture(new_width, new_height, bytes(found))


def drawn(text: str, width: int, height: int) -> Picture:
    """A picture that belongs to a text: two colours, and a slope from one to the other."""
    number = zlib.crc32(text.encode())
    first, second = number & 0xFFFFFF, (number * 2654435761 >> 5) & 0xFFFFFF
    ends = [((first >> shift) & 255, (second >> shift) & 255) for shift in (16, 8, 0)]
    most = max(1, width + height - 2)
    slope = [
        bytes(low + (high - low) * step // most for low, high in ends) for step in range(most + 1)
    ]
    return Picture(
        width, height, b"".join(slope[x + y] for y in range(height) for x in range(width))
    )
