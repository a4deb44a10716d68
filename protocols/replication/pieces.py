"""Many bytes that grow: as one piece they would be moved now and then, for tens of milliseconds.

Written and read like bytes; what they mean is nobody's business here.
"""

from __future__ import annotations

from typing import Final, Protocol

PIECE_BYTES: Final = 1 << 20
"""Also what is copied, checked or written at once of a large file."""


class Pieces:
    """A growing sequence of bytes in pieces of PIECE_BYTES."""

    __slots__ = ("_pieces", "_size_bytes")

    def __init__(self) -> None:
        self._pieces: list[bytearray] = []
        self._size_bytes = 0

    def __len__(self) -> int:
        return self._size_bytes

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size_bytes)
        found = []
        while start < stop:
            index, within = divmod(start, PIECE_BYTES)
            found.append(memoryview(self._pieces[index])[within : within + stop - start])
            start += len(found[-1])
        return b"".join(found)

    def __bytes__(self) -> bytes:
        return self[:]

    def append(self, data: bytes) -> None:
        self.write(self._size_bytes, data)

    def write(self, offset: int, data: bytes) -> None:
        """Over what is there, and beyond the end."""
        if offset > self._size_bytes:
            self.append(bytes(offset - self._size_bytes))
        view = memoryview(data)
        while view:
            index, within = divmod(offset, PIECE_BYTES)
            if index == len(self._pieces):
                self._pieces.append(bytearray())
            part = view[: PIECE_BYTES - within]
            self._pieces[index][within : within + len(part)] = part
            offset, view = offset + len(part), view[len(part) :]
        self._size_bytes = max(self._size_bytes, offset)

    def truncate(self, size_bytes: int) -> None:
        """Forget what is beyond."""
        self._size_bytes = min(size_bytes, self._size_bytes)
        index, within = divmod(self._size_bytes, PIECE_BYTES)
        del self._pieces[index + 1 :]
        if index < len(self._pieces):
            del self._pieces[index][within:]
            if not within:
                del self._pieces[index]


class Content(Protocol):
    """Bytes, however many, and wherever they are."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...
    def __bytes__(self) -> bytes: ...
