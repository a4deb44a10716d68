"""Pictures: taken apart, made smaller, put together, and what is no picture."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from nodes.parts import png
from nodes.parts.png import Picture
from protocols.stepping import at_once


def noise(width: int, height: int) -> Picture:
    return Picture(width, height, random.Random(f"{width}x{height}").randbytes(3 * width * height))


def made(kind: int, width: int, rows: list[bytes], palette: bytes = b"", **header: int) -> bytes:
    """A PNG of those rows, each with the byte of its filter."""
    told = {"depth": 8, "packing": 0, "filtering": 0, "interlaced": 0, **header}
    start = struct.pack(">II", width, len(rows))
    start += bytes([told["depth"], kind, told["packing"], told["filtering"], told["interlaced"]])
    parts = [(b"IHDR", start), (b"PLTE", palette), (b"IDAT", zlib.compress(b"".join(rows)))]
    return png.SIGNATURE + b"".join(
        png._chunk(name, body) for name, body in [*parts, (b"IEND", b"")] if body or name != b"PLTE"
    )


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 5), (64, 48)])
def test_a_picture_comes_back_as_it_was(width: int, height: int) -> None:
    picture = noise(width, height)
    assert at_once(png.decode(png.encode(picture))) == picture


def test_every_filter_is_taken_back() -> None:
    """Each row says how its bytes differ from those left, above and beside; worked out by hand."""
    rows = [b"\x00\x01\x02\x03\x04\x05\x06", b"\x01\x01\x01\x01\x01\x01\x01",
            b"\x02\x01\x01\x01\x01\x01\x01", b"\x03\x02\x02\x02\x02\x02\x02",
            b"\x04\x01\x01\x01\x01\x01\x01"]  # fmt: skip
    picture = at_once(png.decode(made(2, 2, rows)))
    expected = [[1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 2, 2], [2, 2, 2, 3, 3, 3], [3, 3, 3, 5, 5, 5],
                [4, 4, 4, 6, 6, 6]]  # fmt: skip
    assert picture.pixels == bytes(each for row in expected for each in row)


def test_grey_palettes_and_transparency_become_plain_colours() -> None:
    assert at_once(png.decode(made(0, 2, [b"\x00\x07\x09"]))).pixels == bytes([7, 7, 7, 9, 9, 9])
    assert at_once(png.decode(made(4, 1, [b"\x00\x07\xff"]))).pixels == bytes([7, 7, 7])
    assert at_once(png.decode(made(6, 1, [b"\x00\x01\x02\x03\x80"]))).pixels == bytes([1, 2, 3])
    palette = bytes([9, 8, 7, 6, 5, 4])
    assert at_once(png.decode(made(3, 2, [b"\x00\x01\x00"], palette))).pixels == bytes(
        [6, 5, 4, 9, 8, 7]
    )


def test_a_smaller_picture_has_the_means_of_what_it_stands_for() -> None:
    picture = Picture(2, 2, bytes([0, 0, 0, 100, 0, 0, 0, 40, 0, 100, 0, 80]))
    assert at_once(png.shrink(picture, 1)) == Picture(1, 1, bytes([50, 10, 20]))
    assert at_once(png.shrink(picture, 2)) == picture
    tall = at_once(png.shrink(noise(10, 100), 20))
    assert (tall.width, tall.height) == (2, 20)


def test_work_is_cut_into_steps() -> None:
    assert sum(1 for _ in png.decode(png.encode(noise(200, 100)))) > 10
    assert sum(1 for _ in png.shrink(noise(200, 100), 50)) == 25


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GIF89a", "no PNG"),
        (png.encode(noise(9, 9))[:-20], "ends in the middle"),
        (png.encode(noise(9, 9)).replace(b"IHDR", b"IHDX"), "is damaged"),
        (made(2, 1, [b"\x00\x01\x02\x03"], interlaced=1), "not interlaced"),
        (made(2, 1, [b"\x00\x01\x02"]), "must be 4"),
        (made(2, 1, [b"\x05\x01\x02\x03"]), "no filter 5"),
        (made(3, 1, [b"\x00\x02"], bytes(6)), "palette lacks"),
        (made(0, 100_000, [b"\x00"] * 1000), "at most 262144"),
        (made(2, 1, [b"\x00" * 5_000_000]), "must be 4"),
    ],
)
def test_what_is_no_picture_says_why(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        at_once(png.decode(data))
