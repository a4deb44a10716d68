"""What HTTP says: requests, responses, their limits and errors. Bytes are not known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import parse_qsl, unquote

MAX_QUERY_FIELDS: Final = 100
DEADLINE_MS: Final = "x-deadline-ms"
"""Request header: the caller waits so many milliseconds more (never a time of day)."""
TRACE: Final = "x-emu-trace"
PRIORITY: Final = "priority"
"""Request header (RFC 9218): `u=0` (the most urgent) to `u=7`; 3 where it is not said."""
REQUEST_ID: Final = "x-request-id"
"""Of an answer that went wrong: by what it is found in the logs."""
NODE: Final = "x-emu-node"
"""Response header: the name of the node that answered."""
NO_BODY: Final = frozenset({204, 304})
"""Statuses whose answers end with their head; so do the interim ones, below 200."""

Headers = Sequence[tuple[str, str]]


class LocalProtocolError(Exception):
    """We broke the protocol: our bug."""


class RemoteProtocolError(Exception):
    """The peer broke the protocol, or a limit: answer `status` if you can, then close."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection; each has an answer when reached."""

    max_head_bytes: int = 16384
    """Longer heads are answered 431."""
    max_line_bytes: int = 8192
    """A longer first line (which is its target) is answered 414."""
    max_body_bytes: int = 1 << 20
    """Longer bodies are answered 413; of one that is streamed perhaps a part was passed on."""
    max_buffered_bytes: int = 65536
    """Of what was not yet asked for: above it reading stops (back-pressure)."""
    idle_timeout_s: float = 60.0
    """A connection on which nothing moves for so long is closed."""
    request_timeout_s: float = 10.0
    """A request that is begun must end within this, or it is answered 408."""


class Body(Protocol):
    """A body as it comes: whoever reads it sets the pace."""

    @property
    def trailers(self) -> Headers:
        """What followed it; known at its end."""
        ...

    async def receive_some(self) -> bytes:
        """The next piece; b"" is the end. Raises RpcError when it breaks off."""
        ...

    def abort(self) -> None:
        """Nobody reads on. Always called in the end; after the end it does no harm."""
        ...


@dataclass(frozen=True)
class Request:
    """One request. Header names are lower case; repeated headers are joined."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content: Body | None = field(default=None, compare=False, repr=False)
    """Its body as it comes, where the endpoint streams; `body` is empty then."""

    @cached_property
    def path(self) -> str:
        """The path, percent-decoded."""
        path = self._split[0]
        return unquote(path, errors="replace") if "%" in path else path

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last. Raises ValueError for too many."""
        return fields(self._split[1])

    @property
    def _split(self) -> tuple[str, str]:
        target = self.target
        if "://" in target[:8]:  # absolute form, as sent to proxies
            rest = target.partition("://")[2]
            target = "/" + rest.partition("/")[2]
        path, _, query = target.partition("?")
        return path, query

    @cached_property
    def cookies(self) -> dict[str, str]:
        text = self.headers.get("cookie")
        if text is None:
            return {}
        pairs = (each.partition("=") for each in text.split(";"))
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


@dataclass(frozen=True)
class Response:
    """One whole response. content-length is added; `body` of an answer to HEAD is not sent."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of that (lower case) name."""
        return first(self.headers, name)


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """A response whose body is sent as it comes, and no faster than it is taken."""

    status: int
    headers: Headers
    content: Body
    length_bytes: int | None = None
    """Of the body, where it is known; else it is sent in chunks."""
    interim: Sequence[tuple[int, Headers]] = ()
    """Responses below 200 that go out before it."""


def first(headers: Headers, name: str) -> str | None:
    """The first header of that (lower case) name."""
    for key, value in headers:
        if key == name or key.lower() == name:
            return value
    return None


def fields(encoded: str) -> dict[str, str]:
    """Decode `a=1&b=2`. Raises ValueError when there are too many."""
    if not encoded:
        return {}
    pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    return dict(pairs)


def reason_phrase(status: int) -> str:
    """What follows the status code: `Not Found`."""
    return PHRASES.get(status, "Unknown")


PHRASES: Final = {int(each): each.phrase for each in HTTPStatus}
