"""One question to several shards: so many at a time, each with its deadline, and what it cost.

What is asked, and what becomes of the answers, is scatter.py's and joining.py's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from nodes.base import Context
from nodes.kv.client import KvClient
from nodes.kv.state import size_of
from nodes.metrics import Counter
from nodes.replica.client import ELSEWHERE
from nodes.wire.answers import deadline_in
from protocols.errors import RpcError
from protocols.hashing.partitioning import from_ranges

MAX_FAN_OUT: Final = 16
"""Shards asked at the same time by one question."""
MAX_RESPLITS: Final = 100
"""How often a question is shared out anew because slots moved meanwhile."""
RESPLIT_PAUSE_S: Final = 0.02
RESERVE_RATIO: Final = 0.1
"""Of the time that our caller has left: an answer without some shard must still reach it."""
LEAST_RESERVE_S: Final = 0.005
NO_ANSWER: Final = ELSEWHERE | {"overloaded", "expired", "cancelled", "stale_epoch"}
"""What makes an answer partial; any other refusal is the question's own fault."""
REDIRECTS: Final = frozenset({"moved", "ask"})


@dataclass(slots=True)
class Cost:
    """What a question took of the shards."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Shard → the time of its slowest request."""
    requests: int = 0
    keys: int = 0
    """Read by the shards, those that did not match included."""
    bytes: int = 0
    """Of the keys and values that came back."""

    def add(self, key: str, value: Any) -> None:
        self.bytes += len(key) + (size_of(value) if value is not None else 0)

    def to_wire(self) -> dict[str, Any]:
        slowest = max(self.seconds, key=lambda name: self.seconds[name], default="")
        return {
            "shards": len(self.seconds),
            "requests": self.requests,
            "keys": self.keys,
            "bytes": self.bytes,
            "slowest_shard": slowest,
            "slowest_ms": round(self.seconds.get(slowest, 0.0) * 1000, 3),
        }


class FanOutSeries:
    """Counters, and a word in the log when a shard begins to be missing from answers."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._silent: dict[str, None] = {}

    def of(self, command: str) -> tuple[Counter, Counter, Counter]:
        """Questions, the requests that they became, and those answered in part."""
        metrics = self._ctx.metrics
        return (
            metrics.counter("scatters_total", "Questions to several shards, by command.",
                            command=command),
            metrics.counter("scatter_requests_total", "Requests to shards that they became.",
                            command=command),
            metrics.counter("partial_results_total", "Questions that some shard did not answer.",
                            command=command),
        )  # fmt: skip

    def answered(self, shard: str) -> None:
        if shard in self._silent:
            del self._silent[shard]
            self._ctx.log.info("shard answers again", shard=shard)

    def missed(self, shard: str, why: str) -> None:
        if shard not in self._silent:
            self._silent[shard] = None
            self._ctx.log.warning("shard does not answer in time", shard=shard, why=why)


class FanOut:
    """One question, however many rounds it takes."""

    def __init__(
        self,
        client: KvClient,
        series: FanOutSeries,
        command: str,
        *,
        timeout_s: float,
        shard_timeout_s: float | None = None,
    ) -> None:
        self.client = client
        self.clock = client.ctx.clock
        self.cost = Cost()
        self.unanswered: dict[str, str] = {}
        """Shard → why. It is not asked again for this question."""
        self.unread = 0
        """Slots that were on their way from one shard to another until the time was over."""
        now_s = self.clock.monotonic_s()
        left_s = deadline_in(self.clock, timeout_s) - now_s
        self.deadline_s = now_s + left_s - max(left_s * RESERVE_RATIO, LEAST_RESERVE_S)
        self._shard_timeout_s = shard_timeout_s
        self._series = series
        self._command = command
        self._counters = series.of(command)
        self._counters[0].value += 1
        self._limiter = trio.CapacityLimiter(MAX_FAN_OUT)
        self._refusal: RpcError | None = None
        self._was_partial = False

    @property
    def over(self) -> bool:
        return self.clock.monotonic_s() >= self.deadline_s

    async def ask(self, shard: str, command: str, *params: Any) -> Any:
        """The shard's answer, or None if there was none in time: then it is `unanswered`.

        Raises RpcError for redirects, and for refusals that say the question is wrong.
        """
        async with self._limiter:
            began_s = self.clock.monotonic_s()
            timeout_s = self.deadline_s - began_s
            if self._shard_timeout_s is not None:
                timeout_s = min(timeout_s, self._shard_timeout_s)
            if shard in self.unanswered or timeout_s <= 0:
                self._miss(shard, RpcError("expired", "no time was left to ask"))
                return None
            self.cost.requests += 1
            self._counters[1].value += 1
            group = self.client.groups.of(shard)
            try:
                answer = await group.ask(command, *params, timeout_s=timeout_s, patient=False)
            except RpcError as error:
                if error.code not in NO_ANSWER:
                    raise
                if group.is_gone:
                    raise RpcError("moved", f"{shard} has no nodes any more") from error
                self._miss(shard, error)
                return None
            finally:
                took_s = self.clock.monotonic_s() - began_s
                self.cost.seconds[shard] = max(self.cost.seconds.get(shard, 0.0), took_s)
            self._series.answered(shard)
            return answer

    def _miss(self, shard: str, error: RpcError) -> None:
        if shard not in self.unanswered:
            self.unanswered[shard] = str(error)
            self._series.missed(shard, str(error))

    async def share_out(
        self,
        left: dict[int, None],
        ask: Callable[[str, list[int]], Awaitable[None]],
        is_enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """`ask(shard, slots)` of all owners of the slots in `left` at once, and again of others for
        what has moved meanwhile. What `ask` was told it takes off `left`.

        Raises RpcError: the first refusal, when all have ended. Slots that are on their way all the
        time until it is over stay `unread`.
        """
        for number in range(MAX_RESPLITS + 1):
            slot_map = await self.client.known_map(self.deadline_s)
            parts: dict[str, list[int]] = {}
            for slot in left:
                if slot_map.owners[slot] not in self.unanswered:
                    parts.setdefault(slot_map.owners[slot], []).append(slot)
            if not parts or is_enough():
                return
            if self.over or number == MAX_RESPLITS:
                self.unread += sum(len(slots) for slots in parts.values())
                return
            await self._each(ask, parts)
            if any(slot_map.owners[slot] not in self.unanswered for slot in left):
                await self.look_again()

    async def _each(
        self, ask: Callable[[str, list[int]], Awaitable[None]], parts: Mapping[str, list[int]]
    ) -> None:
        """A redirect is no refusal: what has moved stays to be asked for, by a later map."""

        async def one(shard: str, slots: list[int]) -> None:
            try:
                await ask(shard, slots)
            except RpcError as error:
                if error.code not in REDIRECTS and self._refusal is None:
                    self._refusal = error

        if len(parts) == 1:
            ((shard, slots),) = parts.items()
            await one(shard, slots)
        else:
            async with trio.open_nursery() as nursery:
                for shard, slots in parts.items():
                    nursery.start_soon(one, shard, slots)
        if self._refusal is not None:
            raise self._refusal

    async def look_again(self) -> None:
        """Slots are not where the map says: see whether there is a later one; not in haste."""
        left_s = self.deadline_s - self.clock.monotonic_s()
        if left_s > 0:
            await self.client.look_again(left_s)
            await self.clock.sleep(RESPLIT_PAUSE_S * (0.5 + self.client.rng.random()))

    def finish(self, *, partial: bool) -> dict[str, Any]:
        """What every answer says of itself. Raises `unavailable` if a part is missing and `partial`
        was not asked for."""
        is_partial = bool(self.unanswered or self.unread)
        if is_partial and not self._was_partial:
            self._was_partial = True
            self._counters[2].value += 1
        if is_partial and not partial:
            said = [f"{shard}: {why}" for shard, why in sorted(self.unanswered.items())]
            said += [f"{self.unread} slots were moving"] if self.unread else []
            why = "; ".join(said)
            raise RpcError("unavailable", f"no answer in time ({why}); `partial` gives the rest")
        return {
            "partial": is_partial,
            "unanswered": sorted(self.unanswered),
            "cost": self.cost.to_wire(),
        }


def take_off(
    left: dict[int, None], slots: Sequence[int], skipped: Sequence[Sequence[int]] = ()
) -> None:
    """These slots have been read, but for those that the shard does not have (as ranges)."""
    not_here = dict.fromkeys(from_ranges(skipped))
    for slot in slots:
        if slot not in not_here:
            left.pop(slot, None)
