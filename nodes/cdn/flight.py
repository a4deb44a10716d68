"""One question to the origin, and all who wait for its answer.

It runs in a task of its own: whoever asked first may leave, and nobody who waits is left behind.
As soon as it is known that the answer is for that one alone, all others are woken, at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from nodes.cdn.asked import Asked
from nodes.cdn.store import Kept
from protocols.caching.reuse import Stored
from protocols.errors import RpcError
from protocols.http.message import Body, Headers

SERVER_ERRORS: Final = frozenset({500, 502, 503, 504})
"""What `stale-if-error` is for (RFC 5861, 4)."""


class Carried:
    """A body of which some has been read already (a Body)."""

    def __init__(self, pieces: Sequence[bytes], rest: Body | None = None) -> None:
        self._pieces = [each for each in reversed(pieces) if each]
        self._rest = rest

    @property
    def trailers(self) -> Headers:
        return () if self._rest is None else self._rest.trailers

    async def receive_some(self) -> bytes:
        if self._pieces:
            return self._pieces.pop()
        return b"" if self._rest is None else await self._rest.receive_some()

    def abort(self) -> None:
        self._pieces.clear()
        if self._rest is not None:
            self._rest.abort()


class Flight:
    """`kept` is what it asks about, if anything."""

    __slots__ = (
        "asked", "body", "content", "done", "error", "headers", "interim", "kept", "key",
        "length_bytes", "spoiled", "status", "stored", "taken", "why",
    )  # fmt: skip

    def __init__(self, key: tuple[Any, ...] | None, asked: Asked, kept: Kept | None) -> None:
        self.key = key
        """None: nobody else may wait for it."""
        self.asked = asked
        self.kept = kept
        self.done = trio.Event()
        self.status = 0
        """Of the answer; 0: none came."""
        self.headers: Headers = ()
        self.interim: Sequence[tuple[int, Headers]] = ()
        self.body = b""
        """Of a failure: for all who wait."""
        self.content: Body | None = None
        """The body of what is not stored: for the one who takes it."""
        self.length_bytes: int | None = None
        self.stored: Stored | None = None
        """What the answer has come to be in the store."""
        self.why = ""
        """Why it is not stored."""
        self.error: RpcError | None = None
        self.spoiled = False
        """Something has changed at the origin since it was asked."""
        self.taken = False
        """Somebody has the content, or nobody will."""

    @property
    def is_failure(self) -> bool:
        """Whether the origin did not do what it should have."""
        return self.error is not None or self.status in SERVER_ERRORS

    @property
    def failed(self) -> str:
        """What went wrong, in words."""
        if self.error is not None:
            return f"{self.error.code}: {self.error.message}"
        return f"status {self.status}"

    def take(self) -> Body:
        """The content, once."""
        assert self.content is not None and not self.taken
        self.taken = True
        return self.content

    def leave(self) -> None:
        """Nobody takes it: whoever would have is gone, or there is nobody."""
        if not self.taken and self.content is not None:
            self.content.abort()
        self.taken = True

    def land(self) -> None:
        """All who wait are woken."""
        if self.taken and self.content is not None:
            self.content.abort()
        self.done.set()
