"""What is posted to an HTTP address outside: in order, and again until it is taken.

An address that does not answer is asked ever more seldom, and costs nobody else anything: what
waits for it is bounded, and what is given up is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import trio

from nodes.metrics import Counter

FIRST_WAIT_S: Final = 1.0
MOST_WAIT_S: Final = 30.0
OUTCOMES: Final = ("sent", "dropped")
"""What its counters count."""
RETRIED: Final = (408, 425, 429)
"""Answers below 500 after which the same may be taken later."""


class Address(NamedTuple):
    """Where to post to."""

    url: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str, path: str = "/", example: str = "http://127.0.0.1:9095/") -> Address:
        """`path` is taken where the URL has none. Raises ValueError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")
        except ValueError as error:  # also of a name that cannot be one
            raise ValueError(f"`{url[:100]}` is no address: {error}") from error
        if parts.scheme != "http" or not host:
            raise ValueError(f"`{url[:100]}`: only plain HTTP is posted to, such as {example}")
        printable = all("!" <= each <= "~" for each in url)
        if parts.username or parts.fragment or port == 0 or not printable:
            raise ValueError(f"`{url[:100]}`: only a host, port, path and query are understood")
        target = parts.path if parts.path.strip("/") else path
        return cls(url, host, port or 80, f"{target}?{parts.query}" if parts.query else target)


Post = Callable[[Address, bytes], Awaitable[int]]
"""Posts JSON; the status of the answer. Raises OSError, which says why there is none."""


class Log(Protocol):
    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...


class Letter(NamedTuple):
    """One body. `number`: of how many things; `about`: what an event says of it."""

    told_s: float
    body: bytes
    number: int
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is posted, in words, and how much of it may wait."""

    things: str
    not_sent: str
    sent_again: str
    max_waiting: int
    """Letters; of more the oldest are given up."""
    give_up_s: float
    """What could not be posted for so long is old."""


class Outbox:
    """What waits for one address. `add` to it; run `run`. `counters`: of OUTCOMES; `now_s` and
    `sleep`: the cluster's time."""

    def __init__(
        self,
        kind: Kind,
        address: Address,
        post: Post,
        log: Log,
        counters: Sequence[Counter],
        *,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._kind, self._address, self._post, self._log = kind, address, post, log
        self._now_s, self._sleep = now_s, sleep
        self._waiting: deque[Letter] = deque()
        self._wanted = trio.Event()
        self._empty = trio.Event()
        self._empty.set()
        self._failed = False
        self._sent, self._dropped = counters

    def add(self, body: bytes, number: int = 1, **about: Any) -> None:
        """Post that, after what waits."""
        self._waiting.append(Letter(self._now_s(), body, number, about))
        if len(self._waiting) > self._kind.max_waiting:
            why = f"over {self._kind.max_waiting} {self._kind.things} wait for it"
            self._give_up(self._waiting.popleft(), why)
        self._wanted.set()
        if self._empty.is_set():
            self._empty = trio.Event()

    async def until_empty(self) -> None:
        """All was taken, or given up."""
        await self._empty.wait()

    async def run(self) -> None:
        """Post until cancelled; what waits then is given up."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted = trio.Event()
                while self._waiting:
                    await self._deliver(self._waiting[0])
                self._empty.set()
        finally:
            for each in self._waiting:
                self._give_up(each, "the run ended first")
            self._waiting.clear()
            self._empty.set()

    async def _deliver(self, letter: Letter) -> None:
        """Until it was taken, or is given up: then it waits no longer."""
        wait_s = FIRST_WAIT_S
        while self._waiting and self._waiting[0] is letter:
            why, final = await self._try(letter)
            if not (self._waiting and self._waiting[0] is letter):
                return  # it was given up meanwhile: there are too many
            if not why:
                self._waiting.popleft()
                self._sent.value += letter.number
                if self._failed:
                    self._failed = False
                    self._log.info(self._kind.sent_again, url=self._address.url)
                return
            if final or self._now_s() + wait_s - letter.told_s > self._kind.give_up_s:
                self._waiting.popleft()
                self._give_up(letter, why)
                return
            await self._sleep(wait_s)
            wait_s = min(MOST_WAIT_S, wait_s * 2)

    async def _try(self, letter: Letter) -> tuple[str, bool]:
        """Why it was not taken ("": it was), and whether asking again would not help."""
        try:
            status = await self._post(self._address, letter.body)
        except OSError as error:
            return f"no answer: {error}", False
        if 200 <= status < 300:
            return "", False
        return f"it answered {status}", status < 500 and status not in RETRIED

    def _give_up(self, letter: Letter, why: str) -> None:
        self._failed = True
        self._dropped.value += letter.number
        self._log.warning(
            self._kind.not_sent, **letter.about, url=self._address.url, why=why,
            dropped=int(self._dropped.value),
        )  # fmt: skip
