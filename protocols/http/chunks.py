"""The framing of a chunked body, judged on its bytes as they come.

h11 reads the body, and waits for the end of each line, however it begins; here a size that can be
none is refused at its first wrong byte, and one that is too large before its data.
"""

from __future__ import annotations

import re
from typing import Final

from protocols.http.head import Refusal

MAX_LINE_BYTES: Final = 1024
"""Of a chunk's size with its extensions."""
_EXTENSION: Final = rb"(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?[ \t]*"
_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{0,16}|[0-9A-Fa-f]{1,16}" + _EXTENSION + rb"\r?")
_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})" + _EXTENSION + rb"\r\n")
_FOOTER: Final = b"\r\n"


class Framing:
    """Of one body, from its first size to its last; trailers are h11's to judge."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._body_bytes = 0
        self._data_bytes = 0
        """What is to come of the chunk."""
        self._footer = b""
        """And behind it."""
        self._line = b""
        """What has come of the next size."""
        self._has_ended = False
        self.refusal: Refusal | None = None

    def take(self, data: bytes) -> None:
        """More of the body: `refusal` says whether it can be one."""
        place = 0
        while place < len(data) and not self._has_ended and self.refusal is None:
            if self._data_bytes:
                skipped_bytes = min(self._data_bytes, len(data) - place)
                self._data_bytes -= skipped_bytes
                place += skipped_bytes
            elif self._footer:
                self._take_footer(data[place])
                place += 1
            else:
                end = data.find(b"\n", place) + 1 or len(data)
                self._line += data[place:end]
                self._judge_line()
                place = end

    def _take_footer(self, byte: int) -> None:
        if byte != self._footer[0]:
            self.refusal = Refusal("a chunk does not end where its size says", 400)
        self._footer = self._footer[1:]

    def _judge_line(self) -> None:
        line, whole = self._line, _LINE.fullmatch(self._line)
        if len(line) > MAX_LINE_BYTES or not (whole or _BEGUN.fullmatch(line)):
            self.refusal = Refusal("a chunk begins with its size, in at most 16 hex digits", 400)
        if whole is None or self.refusal is not None:
            return
        self._line, self._footer, self._data_bytes = b"", _FOOTER, int(whole[1], 16)
        self._has_ended = not self._data_bytes
        self._body_bytes += self._data_bytes
        if self._body_bytes > self._max_body_bytes:
            self.refusal = Refusal(f"the body is over {self._max_body_bytes} bytes", 413)
