"""Forms with files, as browsers and curl send them, and what is none."""

from __future__ import annotations

import random

import pytest

from protocols.http.forms import Part, parts

KIND = 'multipart/form-data; boundary="x y"'


def body(*fields: tuple[str, bytes], boundary: str = "x y", end: str = "--\r\n") -> bytes:
    made = b""
    for head, data in fields:
        made += f"--{boundary}\r\ncontent-disposition: form-data; {head}\r\n\r\n".encode()
        made += data + b"\r\n"
    return made + f"--{boundary}{end}".encode()


def test_a_form_with_a_file_and_a_field() -> None:
    picture = b"\x89PNG\r\n\x1a\n--x\r\n\x00"
    sent = body(('name="photo"; filename="a;b%22.png"', picture), ("name=owner", b"ada"))
    assert parts(KIND, sent) == [Part("photo", 'a;b".png', picture), Part("owner", None, b"ada")]
    assert parts(KIND, b"a preamble\r\n" + sent + b"an epilogue") == parts(KIND, sent)


def test_a_file_that_was_not_chosen_is_empty() -> None:
    assert parts(KIND, body(('name="photo"; filename=""', b""))) == [Part("photo", "", b"")]
    assert parts(KIND, body()) == []


@pytest.mark.parametrize(
    ("kind", "sent", "why"),
    [
        ("multipart/form-data", body(), "with a boundary"),
        ("multipart/form-data; boundary=" + "b" * 71, body(), "with a boundary"),
        ("text/plain; boundary=x", body(), "with a boundary"),
        (KIND, b"", "last boundary is missing"),
        (KIND, body(("name=a", b"1"), end=""), "does not end its line"),
        (KIND, body(("name=a", b"1"), end="\r\n"), "no head"),
        (KIND, body(("filename=a", b"1")), "no name"),
        (KIND, body((f"name={'a' * 5000}", b"1")), "no head of at most 4096"),
        (KIND, body(*[("name=a", b"")] * 101), "more than 100"),
        (KIND, body(("name=a", b"1")).replace(b"x y\r\n", b"x yz\r\n", 1), "does not end its line"),
    ],
)
def test_what_is_no_form_says_why(kind: str, sent: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parts(kind, sent)


def test_any_bytes_are_a_form_or_none() -> None:
    rng, sent = random.Random(1), body(('name="photo"; filename="a.png"', b"data"), ("name=b", b""))
    for _ in range(2000):
        cut = bytearray(sent)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(cut))
            cut[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        try:
            parts(KIND, bytes(cut))
        except ValueError as error:
            assert str(error).startswith(("it", "a "))
