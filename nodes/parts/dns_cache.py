"""What a resolver remembers: answers by question, and by the part of the world that they hold for
(RFC 7871's scope). Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import ip_network
from typing import Any, Final, Generic, NamedTuple, TypeVar

MAX_QUESTIONS: Final = 1024
MAX_SCOPES: Final = 256
"""Answers to one question for different parts of the world; the oldest is forgotten."""
MAX_TTL_S: Final = 86400
FAILURE_S: Final = 1.0
"""The least that RFC 9520 (3.2) allows, and what BIND does."""
MOST_FAILURE_S: Final = 5.0
"""What Unbound does; the standard allows five minutes, for which people would not see that the
servers are back."""
MOST_DOUBLINGS: Final = 8


class Span(NamedTuple):
    """A network's addresses, as numbers."""

    version: int
    first: int
    last: int

    @property
    def bits(self) -> int:
        """How long its prefix is."""
        return (32 if self.version == 4 else 128) - (self.last - self.first).bit_length()

    def covers(self, other: Span) -> bool:
        same = self.version == other.version
        return same and self.first <= other.first and other.last <= self.last


def span_of(address: str, bits: int) -> Span:
    """Of the network of that length around the address."""
    found = ip_network(f"{address}/{bits}", strict=False)
    return Span(found.version, int(found.network_address), int(found.broadcast_address))


T = TypeVar("T")


class Entry(NamedTuple, Generic[T]):
    value: T
    stored_s: float
    expires_s: float
    span: Span | None
    """Whom it is for; None: everybody."""


class DnsCache(Generic[T]):
    """Answers until they expire, the oldest questions forgotten first."""

    def __init__(self, max_questions: int = MAX_QUESTIONS) -> None:
        self._entries: OrderedDict[Hashable, list[Entry[T]]] = OrderedDict()
        self._max_questions = max_questions

    def get(self, question: Hashable, span: Span | None, now_s: float) -> Entry[T] | None:
        """The answer for a client of that network (None: one who did not say), if it lives."""
        fitting = [
            entry
            for entry in self._entries.get(question, ())
            if now_s < entry.expires_s and _holds_for(entry.span, span)
        ]
        return max(fitting, key=_length, default=None)  # RFC 7871, 7.3.1: the longest prefix

    def put(
        self,
        question: Hashable,
        value: T,
        now_s: float,
        ttl_s: float,
        subnet: tuple[str, int] | None = None,
        scope: int | None = None,
    ) -> Entry[T]:
        """Remember an answer to a question that was asked for `subnet`. `scope`: for how long a
        prefix of it the server says it holds, and no longer one than was told; 0, or None: it did
        not look at it."""
        span = None
        if subnet is not None and scope:
            span = span_of(subnet[0], min(scope, subnet[1]))
        others = [each for each in self._entries.get(question, ())
                  if now_s < each.expires_s and each.span != span]  # fmt: skip
        entry = Entry(value, now_s, now_s + min(ttl_s, MAX_TTL_S), span)
        self._entries[question] = [entry, *others[: MAX_SCOPES - 1]]
        self._entries.move_to_end(question)
        while len(self._entries) > self._max_questions:
            self._entries.popitem(last=False)
        return entry


class Failures:
    """Questions that nobody could answer: for so long they are not asked again (RFC 9520), twice as
    long each time. The oldest is forgotten first."""

    def __init__(self, max_questions: int = MAX_QUESTIONS) -> None:
        self._known: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()
        """How often in a row, and until when."""
        self._max_questions = max_questions

    def add(self, question: Hashable, now_s: float) -> None:
        times, _ = self._known.get(question, (0, 0.0))
        rest_s = min(FAILURE_S * 2.0**times, MOST_FAILURE_S)
        self._known[question] = (min(times + 1, MOST_DOUBLINGS), now_s + rest_s)
        self._known.move_to_end(question)
        if len(self._known) > self._max_questions:
            self._known.popitem(last=False)

    def covers(self, question: Hashable, now_s: float) -> bool:
        """Whether it is not to be asked now."""
        return now_s < self._known.get(question, (0, 0.0))[1]

    def forget(self, question: Hashable) -> None:
        """It was answered."""
        self._known.pop(question, None)


def _length(entry: Entry[Any]) -> int:
    return -1 if entry.span is None else entry.span.bits


def _holds_for(entry: Span | None, asked: Span | None) -> bool:
    if entry is None:
        return True
    return asked is not None and entry.covers(asked)
