"""Group commit of a database's primary: transactions that arrive together become one record.

What a transaction may do is state.py's business; when writers must wait, database.py's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any, Final

from trio import lowlevel

from nodes.base import Context, Timer
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.replica.driver import ReplicaDriver
from nodes.sql.state import Outcome, SqlState, Transaction
from nodes.wire.answers import Future
from protocols.errors import RpcError

MAX_WAITING: Final = 10_000
MAX_GROUP: Final = 64
GATHER_S: Final = 0.001
"""So long at most a group waits for the one before it to be acknowledged: what costs is each
record and its round to the replicas, not the transactions in it."""

Answer = tuple[Future, Any]


class Writes:
    """Transactions in the order of their arrival, each executed with all that came meanwhile."""

    def __init__(self, ctx: Context, driver: ReplicaDriver, sql: SqlState) -> None:
        self._clock = ctx.clock
        self._driver = driver
        self._sql = sql
        self._waiting: deque[tuple[Transaction, Future]] = deque()
        self._wanted = AutoResetEvent()
        self._group = 0
        """Groups executed so far."""
        self._is_held = False
        """The latest group is on its way, and others may gather."""
        self._timer: Timer | None = None
        metrics = ctx.metrics
        self._commits = metrics.counter("commits_total", "Transactions acknowledged.")
        self._refused = metrics.counter("transactions_refused_total", "Transactions refused.")
        self._seconds = metrics.histogram("commit_seconds", "Seconds from execution to commit.")

    def add(self, transaction: Transaction) -> Future:
        """Settled when all that the answer rests on is committed. Raises RpcError."""
        if not self._driver.is_primary:
            self._driver.check_can_write()
        if len(self._waiting) >= MAX_WAITING:
            raise RpcError("overloaded", f"{MAX_WAITING} transactions wait already")
        future = Future()
        self._waiting.append((transaction, future))
        self._look()
        return future

    async def run(self) -> None:
        """Execute what is added, until cancelled."""
        while True:
            await self._wanted.wait()
            gathered = -1
            while gathered < len(self._waiting) < MAX_GROUP:  # more came in the last turn
                gathered = len(self._waiting)
                await lowlevel.checkpoint()
            if self._is_due:
                self._execute()
                self._look()

    @property
    def _is_due(self) -> bool:
        return len(self._waiting) >= (MAX_GROUP if self._is_held else 1)

    def _look(self) -> None:
        """Have `run` execute what waits, now or when nothing holds it any more."""
        if self._is_due:
            self._wanted.set()
        elif self._waiting and self._timer is None:
            at_s = self._clock.monotonic_s() + GATHER_S
            self._timer = self._clock.call_at(at_s, self._release)

    def _release(self) -> None:
        self._is_held = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._look()

    def flush(self) -> None:
        """Execute all that waits, now."""
        while self._waiting:
            self._execute()

    def _execute(self) -> None:
        """As many as fit one record."""
        driver, waiting = self._driver, self._waiting
        try:
            driver.check_can_write()
        except RpcError as refusal:
            _settle(((each, None) for each in self._take(len(waiting))), refusal)
            return
        seen_lsn = driver.state_lsn
        asked = [transaction for transaction, _ in islice(waiting, MAX_GROUP)]
        outcomes, record = self._sql.execute(asked, driver.next_lsn)
        futures = self._take(len(outcomes))
        lsn = seen_lsn
        if record is not None:
            try:
                lsn = driver.propose(record, now=True)
            except RpcError as refusal:  # the state has the effect already: it must go back
                driver.rebuild()
                outcomes = [_without_effect(each, refusal, seen_lsn) for each in outcomes]
        self._settle_later(outcomes, futures, lsn)

    def _take(self, count: int) -> list[Future]:
        return [self._waiting.popleft()[1] for _ in range(count)]

    def _settle_later(self, outcomes: list[Outcome], futures: list[Future], lsn: int) -> None:
        """The answers rest on the record that they share, refusals too, and on what was before."""
        done: list[Answer] = []
        refused: list[tuple[Future, RpcError]] = []
        for (results, refusal, repeated_lsn), future in zip(outcomes, futures, strict=True):
            if refusal is None:
                done.append((future, {"results": results, "lsn": repeated_lsn or lsn}))
            else:
                refused.append((future, refusal))
        if done:
            self._group += 1
            self._is_held = True
            callback = partial(self._committed, self._group, done, self._clock.monotonic_s())
            self._driver.when_acknowledged(lsn, callback)
        if refused:
            self._refused.value += len(refused)
            self._driver.when_visible(lsn, partial(_refuse, refused))

    def _committed(
        self, group: int, done: list[Answer], began_s: float, lost: RpcError | None
    ) -> None:
        if lost is None:
            self._commits.value += len(done)
            self._seconds.observe(self._clock.monotonic_s() - began_s, len(done))
        _settle(done, lost)
        if group == self._group:
            self._release()


def _without_effect(outcome: Outcome, refusal: RpcError, seen_lsn: int) -> Outcome:
    """The record was not taken: only what an earlier one has done stands."""
    stands = outcome.repeated_lsn is not None and outcome.repeated_lsn <= seen_lsn
    return outcome if stands else Outcome([], refusal)


def _settle(answers: Iterable[Answer], error: RpcError | None) -> None:
    """With an error of each one's own: every waiter raises it."""
    for future, answer in answers:
        own = None if error is None else RpcError(error.code, error.message, *error.details)
        future.settle(answer, own)


def _refuse(refused: list[tuple[Future, RpcError]], lost: RpcError | None) -> None:
    for future, refusal in refused:
        _settle([(future, None)], lost or refusal)
