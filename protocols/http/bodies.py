"""Where a body ends, by its length, its chunks or its connection; judged on its bytes as they come.

A size that can be none is refused at its first wrong byte, and one too large before its data.
"""

from __future__ import annotations

import re
from typing import Final

from protocols.http import head
from protocols.http.message import Headers, RemoteProtocolError

MAX_LINE_BYTES: Final = 1024
"""Of a chunk's size with its extensions."""
MAX_TRAILER_BYTES: Final = 8192
_EXTENSION: Final = rb"(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?[ \t]*"
_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{0,16}|[0-9A-Fa-f]{1,16}" + _EXTENSION + rb"\r?")
_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})" + _EXTENSION + rb"\r\n")
_FOOTER: Final = b"\r\n"
_HALF_END: Final = re.compile(rb"\r[^\n]|(?<!\r)\n")


class Sized:
    """So many bytes."""

    trailers: Headers = ()

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def ended(self) -> bool:
        return not self._left

    def read(self, buffer: bytearray) -> bytes:
        """Take from the buffer what has come of the body. Raises RemoteProtocolError."""
        data = bytes(buffer[: self._left])
        del buffer[: len(data)]
        self._left -= len(data)
        return data

    def end_of_stream(self) -> None:
        """No more will come. Raises RemoteProtocolError if that is too little."""
        if not self.ended:
            raise RemoteProtocolError("the connection ended in the middle of a body")


class UntilClose:
    """All that comes."""

    trailers: Headers = ()

    def __init__(self) -> None:
        self.ended = False

    def read(self, buffer: bytearray) -> bytes:
        data = bytes(buffer)
        buffer.clear()
        return data

    def end_of_stream(self) -> None:
        self.ended = True


class Chunked:
    """Chunks of told sizes, and what trails them."""

    def __init__(self, max_body_bytes: int | None) -> None:
        """None: as long as it likes."""
        self._max_body_bytes = max_body_bytes
        self._body_bytes = 0
        self._left = 0
        """To come of this chunk."""
        self._in_chunk = self._in_trailers = False
        self.ended = False
        self.trailers: Headers = ()

    def read(self, buffer: bytearray) -> bytes:
        pieces: list[bytes] = []
        while not self.ended:
            if self._left:
                piece = bytes(buffer[: self._left])
                del buffer[: len(piece)]
                self._left -= len(piece)
                pieces.append(piece)
                if self._left:
                    break
            elif not self._step(buffer):
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end_of_stream(self) -> None:
        if not self.ended:
            raise RemoteProtocolError("the connection ended in the middle of a chunk")

    def _step(self, buffer: bytearray) -> bool:
        """Whether all of a part of the framing had come."""
        if self._in_trailers:
            return self._read_trailers(buffer)
        if self._in_chunk:
            return self._read_footer(buffer)
        return self._read_size(buffer)

    def _read_footer(self, buffer: bytearray) -> bool:
        come = bytes(buffer[:2])
        if not _FOOTER.startswith(come):
            raise RemoteProtocolError("a chunk does not end where its size says")
        if come != _FOOTER:
            return False
        del buffer[:2]
        self._in_chunk = False
        return True

    def _read_size(self, buffer: bytearray) -> bool:
        line = _LINE.match(buffer, 0, MAX_LINE_BYTES)
        if line is None:
            come = buffer[: MAX_LINE_BYTES + 1]
            if len(come) > MAX_LINE_BYTES or not _BEGUN.fullmatch(come):
                raise RemoteProtocolError("a chunk begins with its size, in at most 16 hex digits")
            return False
        size = int(line[1], 16)
        del buffer[: line.end()]
        self._body_bytes += size
        if self._max_body_bytes is not None and self._body_bytes > self._max_body_bytes:
            raise too_long(self._max_body_bytes)
        self._left, self._in_chunk, self._in_trailers = size, size > 0, not size
        return True

    def _read_trailers(self, buffer: bytearray) -> bool:
        if buffer[:2] == _FOOTER:
            del buffer[:2]
            self.ended = True
            return True
        end = buffer.find(head.END, 0, MAX_TRAILER_BYTES)
        if end < 0:
            if _HALF_END.search(buffer, 0, MAX_TRAILER_BYTES):
                raise RemoteProtocolError("a line of the trailers ends badly")
            if len(buffer) > MAX_TRAILER_BYTES:
                raise RemoteProtocolError("the trailers are too long", 431)
            return False
        self.trailers = head.read_pairs(buffer[: end + 2].decode("latin-1"))
        del buffer[: end + 4]
        self.ended = True
        return True


AnyBody = Sized | UntilClose | Chunked


def too_long(max_body_bytes: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"the body is over {max_body_bytes} bytes", 413)
