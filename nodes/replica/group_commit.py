"""Group commit: what came together runs ahead of the log, is one record, and is answered together.

Gather, propose, settle: `Gathering` does all three for requests that can wait a moment, `Commits`
the last two for whoever executes at once. What a request does, and how a group is encoded, is the
family's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Final, Generic

from trio import lowlevel

from nodes.base import Context, Timer
from nodes.parts.auto_reset_event import AutoResetEvent
from nodes.replica import reach
from nodes.replica.driver import ReplicaDriver
from nodes.replica.family import Family, Outcome, Request
from nodes.wire.answers import Future
from protocols.errors import RpcError

MAX_WAITING: Final = 10_000
MAX_GROUP: Final = 64
GATHER_S: Final = 0.001
"""So long at most a group waits for the one before it to be acknowledged: what costs is each
record and its round to the replicas, not the requests in it."""


class Commits:
    """Records on their way, and the answers that rest on them.

    The family executes requests on the state, which runs ahead of the log. Whoever changed
    something joins the open group, with the answer it will get: its own result, or its own error,
    whatever the others of the group get. `close` makes the group one record. Whoever only saw what
    an earlier record does (a read, or a retry whose request id is known) rests on that one.

    An answer leaves when its record is acknowledged, in the order of the log. If this node loses
    its role first, the outcome is unknown. If the log does not take the record, the state goes back
    to what the log says, and the whole group hears why: nothing of it happened.
    """

    def __init__(
        self, driver: ReplicaDriver, on_acknowledged: Callable[[int], object] | None = None
    ) -> None:
        """`on_acknowledged(lsn)` is called before the answers of that record leave."""
        self._driver = driver
        self._on_acknowledged = on_acknowledged
        self._open: list[Future] = []
        self._resting: dict[int, list[Future]] = {}
        """Record → whose answers wait for it."""

    def __len__(self) -> int:
        """How many have joined the open group."""
        return len(self._open)

    def join(self, future: Future) -> None:
        """It has its answer, and waits for the record that the open group will be."""
        self._open.append(future)

    def rest_on(self, lsn: int, future: Future) -> None:
        """It has its answer, and waits for a record that is in the log."""
        resting = self._resting.get(lsn)
        if resting is not None:
            resting.append(future)
        else:
            self._settle_at(lsn, [future])

    def close(self, payload: bytes, *, now: bool = False) -> int:
        """The open group is this record; its LSN. Raises RpcError if the log does not take it."""
        try:
            lsn = self.propose(payload, now=now)
        except RpcError as refusal:
            group, self._open = self._open, []
            fail(group, refusal)
            raise
        self.rest(lsn)
        return lsn

    def propose(self, payload: bytes, *, now: bool = False) -> int:
        """The open group will be this record: on its way, while the answers are put together."""
        try:
            return self._driver.propose(payload, now=now)
        except RpcError:
            self._driver.rebuild()
            raise

    def rest(self, lsn: int) -> None:
        """The open group rests on that record, which is proposed."""
        group, self._open = self._open, []
        if group:
            self._settle_at(lsn, group)

    def _settle_at(self, lsn: int, futures: list[Future]) -> None:
        self._resting[lsn] = futures
        self._driver.when_acknowledged(lsn, partial(self._settle, lsn, futures))

    def _settle(self, lsn: int, futures: list[Future], lost: RpcError | None) -> None:
        if self._resting.get(lsn) is futures:  # else a later epoch has a record there
            del self._resting[lsn]
        if lost is not None:
            fail(futures, lost)
            return
        if self._on_acknowledged is not None:
            self._on_acknowledged(lsn)
        for future in futures:
            future.settle(future.result, future.error)


def fail(futures: Iterable[Future], error: RpcError) -> None:
    """With an error of each one's own: every waiter raises it."""
    for future in futures:
        future.settle(error=RpcError(error.code, error.message, *error.details))


class Gathering(Generic[Request]):
    """Requests in the order of their arrival, each executed with all that came meanwhile.

    A group is executed when nothing holds it: the one before it is acknowledged, or has been on its
    way for GATHER_S, or MAX_GROUP have gathered. More than MAX_WAITING are refused as overload.

    Who is done hears of it when the record is acknowledged. A refusal rests on what it saw: the
    record of its group, and all before; it leaves when that is visible.
    """

    def __init__(self, ctx: Context, driver: ReplicaDriver, family: Family[Request]) -> None:
        self._clock = ctx.clock
        self._network = ctx.network
        self._reached = ctx.reached
        self._driver = driver
        self._family = family
        self._commits = Commits(driver)
        self._waiting: deque[tuple[Request, Future]] = deque()
        self._wanted = AutoResetEvent()
        self._group = 0
        """Groups executed so far."""
        self._is_held = False
        """The latest group is on its way, and others may gather."""
        self._timer: Timer | None = None
        self._sizes = (0, 0)
        """Of the latest two groups."""
        self._is_adding = self._is_told = False
        """The end of what arrives now will be told, or is told at once."""
        self._failure: Exception | None = None
        """What went wrong in another's task, for ours to raise."""

    # --- gather --------------------------------------------------------------------------

    def add(self, request: Request) -> Future:
        """Settled with the family's answer when all that it rests on is committed. Raises
        RpcError."""
        if not self._driver.is_primary:
            self._driver.check_can_write()
        if len(self._waiting) >= MAX_WAITING:
            raise RpcError("overloaded", f"{MAX_WAITING} requests wait already")
        future = Future()
        self._waiting.append((request, future))
        if not self._is_told:
            self._is_told = self._is_adding = True
            self._network.after_arrivals(self._arrived)
            self._is_adding = False
        if not (self._is_told or self._wanted.is_set):
            self._look()
        return future

    def _arrived(self) -> None:
        """All is here that came together: what may be executed need not wait for a turn of the
        scheduler that shows whether others follow."""
        self._is_told = False
        if self._is_adding:
            return  # told at once, which says nothing
        if self._waiting and self._may_go:
            try:
                self._execute()
            except Exception as error:  # of this node: in another's task it would end that
                self._failure = error
                self._wanted.set()
        if not self._wanted.is_set:
            self._look()

    @property
    def _may_go(self) -> bool:
        """As many as before are not likely to become more."""
        return not self._is_held and len(self._waiting) >= max(self._sizes)

    async def run(self) -> None:
        """Execute what is added, until cancelled."""
        while True:
            await self._wanted.wait()
            if self._failure is not None:
                raise self._failure
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

    # --- propose -------------------------------------------------------------------------

    def _execute(self) -> None:
        """As many as fit one record."""
        driver, waiting = self._driver, self._waiting
        try:
            driver.check_can_write()
        except RpcError as refusal:
            fail(self._take(len(waiting)), refusal)
            return
        seen_lsn = driver.state_lsn
        asked = [request for request, _ in islice(waiting, MAX_GROUP)]
        outcomes, record = self._family.execute(asked, driver.next_lsn)
        lsn = seen_lsn if record is None else driver.next_lsn
        self._note(outcomes, lsn, seen_lsn)
        lost = None
        if record is not None:
            try:
                self._commits.propose(record, now=True)
            except RpcError as refusal:  # what they saw and did is gone
                self._reached(reach.NOT_TAKEN)
                lost = refusal
        refused: list[Future] = []
        for outcome, future in zip(outcomes, self._take(len(outcomes)), strict=True):
            results, future.error, repeated_lsn = outcome
            future.result = self._family.answer(results, repeated_lsn or lsn)
            if future.error is not None:
                refused.append(future)
            elif (repeated_lsn or lsn) <= seen_lsn:
                self._commits.rest_on(seen_lsn, future)
            elif lost is None:
                self._commits.join(future)
            else:
                refused.append(future)
        if lost is not None:
            fail(refused, lost)
            self._family.refused(len(outcomes))
            return
        self._commits.rest(lsn)
        self._settle_later(len(outcomes) - len(refused), refused, lsn)

    def _note(self, outcomes: Sequence[Outcome], lsn: int, seen_lsn: int) -> None:
        """Which of the states that matter this group is in."""
        if len(outcomes) == 1 and outcomes[0].refusal is None and not outcomes[0].repeated_lsn:
            return
        open_lsn = self._driver.core.visible_lsn + 1
        refused = len([each for each in outcomes if each.refusal is not None])
        if len(outcomes) - refused > 1 and lsn > seen_lsn:
            self._reached(reach.GROUP)
        if refused and lsn > seen_lsn:
            self._reached(reach.MIXED)
        if refused and lsn >= open_lsn:
            self._reached(reach.REFUSED_OPEN)
        for each in outcomes:
            if each.repeated_lsn is not None:
                once = each.repeated_lsn
                late = reach.REPEATED_OPEN if once >= open_lsn else reach.REPEATED_DONE
                self._reached(reach.REPEATED if once == lsn > seen_lsn else late)

    def _take(self, count: int) -> list[Future]:
        return [self._waiting.popleft()[1] for _ in range(count)]

    # --- settle --------------------------------------------------------------------------

    def _settle_later(self, done: int, refused: list[Future], lsn: int) -> None:
        """The answers rest on the record that they share, refusals too, and on what was before."""
        if done:
            self._sizes = self._sizes[1], done
            self._group += 1
            self._is_held = True
            began_s = self._clock.monotonic_s()
            over = partial(self._over, self._group, done, began_s)
            self._driver.when_acknowledged(lsn, over)
        if refused:
            self._family.refused(len(refused))
            self._driver.when_visible(lsn, partial(_refuse, refused))

    def _over(self, group: int, done: int, began_s: float, lost: RpcError | None) -> None:
        """The group has its answers: another may go."""
        if lost is not None:
            self._reached(reach.LOST)
        else:
            self._family.acknowledged(done, self._clock.monotonic_s() - began_s)
        if group == self._group:
            self._release()


def _refuse(refused: list[Future], lost: RpcError | None) -> None:
    for future in refused:
        error = lost or future.error
        assert error is not None
        fail([future], error)
