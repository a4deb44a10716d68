"""Forms that browsers send with files: multipart/form-data (RFC 7578), read from a whole body."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

MULTIPART: Final = "multipart/form-data"
MAX_PARTS: Final = 100
MAX_PART_HEAD_BYTES: Final = 4096
MAX_BOUNDARY_CHARS: Final = 70
_PARAMETER: Final = re.compile(
    r';\s*([!#$%&\'*+.^_`|~0-9a-zA-Z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))'
)
_BLANK: Final = b"\r\n\r\n"


class Part(NamedTuple):
    """A field of a form; `filename` is None where it is no file, "" where none was chosen."""

    name: str
    filename: str | None
    data: bytes


def parts(content_type: str, body: bytes) -> list[Part]:
    """Raises ValueError, as a sentence about the body."""
    kind, parameters = _value(content_type)
    boundary = parameters.get("boundary", "")
    if kind != MULTIPART or not 0 < len(boundary) <= MAX_BOUNDARY_CHARS or not boundary.isascii():
        raise ValueError(f"it is no {MULTIPART} with a boundary")
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), MAX_PARTS + 2)
    found: list[Part] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            return found
        if len(found) == MAX_PARTS:
            raise ValueError(f"it has more than {MAX_PARTS} fields")
        found.append(_part(piece))
    raise ValueError("its last boundary is missing")


def _part(piece: bytes) -> Part:
    line_end = piece.find(b"\r\n")
    if line_end < 0 or piece[:line_end].strip(b" \t"):
        raise ValueError("a boundary does not end its line")
    piece = piece[line_end:]  # the head begins with its line's end, so that it may be empty
    head_end = piece.find(_BLANK, 0, MAX_PART_HEAD_BYTES)
    if head_end < 0:
        raise ValueError(f"a field has no head of at most {MAX_PART_HEAD_BYTES} bytes")
    for line in piece[:head_end].decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            kind, parameters = _value(value)
            if kind == "form-data" and "name" in parameters:
                data = piece[head_end + len(_BLANK) :]
                return Part(parameters["name"], parameters.get("filename"), data)
    raise ValueError("a field has no name")


def _value(text: str) -> tuple[str, dict[str, str]]:
    """`form-data; name="a"` as its word and its parameters."""
    word = text.partition(";")[0].strip().lower()
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(text):
        quoted, plain = match[2], match[3]
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        found.setdefault(match[1].lower(), unquote(value))
    return word, found
