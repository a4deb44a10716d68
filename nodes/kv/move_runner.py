"""Driving moves from the coordinators' primary: ask both ends, and record each phase.

Every step may be asked twice, so whoever is primary next goes on at the phase that was recorded.
What a phase means is in coordination.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from nodes.base import Context
from nodes.kv import reach
from nodes.kv.coordination import (
    ABORTED,
    ABORTING,
    COPYING,
    DONE,
    FENCING,
    OVER,
    PHASE,
    PUBLISHED,
    QUEUED,
    Coordination,
    Move,
)
from nodes.kv.mover import COPIED, DRAINED
from nodes.replica.client import GroupClients
from protocols.errors import RpcError
from protocols.kv import words

ASK_S: Final = 2.0
WAIT_MS: Final = 1000
PAUSE_S: Final = 0.05
PAUSE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Recorder(Protocol):
    """The coordinators' log."""

    async def record(self, facts: list[list[Any]]) -> None:
        """Return once the facts are committed. Raises RpcError."""
        ...


class MoveRunner:
    """Runs one move at a time to its end; a RpcError of `record` means that we lead no longer."""

    def __init__(
        self,
        ctx: Context,
        state: Coordination,
        recorder: Recorder,
        clients: GroupClients,
        *,
        max_pause_s: float,
        stall_s: float,
        is_returning: Callable[[Move], bool],
    ) -> None:
        """`is_returning`: whether an end of the move has lost its data, and waits to take its slots
        again, which it may do while no move has it as an end."""
        self.ctx = ctx
        self._is_returning = is_returning
        self._state = state
        self._recorder = recorder
        self._clients = clients
        self._max_pause_s = max_pause_s
        self._stall_s = stall_s
        self._steps: dict[str, Callable[[Move], Awaitable[None]]] = {
            QUEUED: self._start,
            COPYING: self._copy,
            FENCING: self._fence,
            PUBLISHED: self._hand_over,
            ABORTING: self._undo,
        }
        self._pauses = ctx.metrics.histogram(
            "write_pause_seconds",
            "Seconds for which a move refused writes to its slots.",
            PAUSE_BUCKETS_S,
        )
        self._fenced_s: dict[str, float] = {}
        """When each move's source was asked to fence, on our clock."""

    async def run(self, move: Move) -> None:
        """Until it is done or aborted. Raises RpcError when this node leads no longer."""
        if move.phase != QUEUED:
            self.ctx.reached(reach.MOVE_TAKEN_OVER)
        while move.phase not in OVER:
            await self._steps[move.phase](move)

    async def _enter(self, move: Move, phase: str, point: str, **figures: Any) -> None:
        await self._recorder.record([[PHASE, move.name, phase, figures]])
        self.ctx.log.info(
            f"move.{point}", move=move.name, source=move.source, target=move.target, **figures
        )

    async def _abort(self, move: Move, why: str) -> None:
        await self._enter(move, ABORTING, "aborting", why=why)

    # --- phases --------------------------------------------------------------------------

    async def _start(self, move: Move) -> None:
        while self._is_returning(move) and not self._state.cancelled:
            await self.ctx.clock.sleep(PAUSE_S)
        if self._state.cancelled:
            await self._enter(move, ABORTED, "cancelled", why="cancelled")
        else:
            await self._enter(move, COPYING, "begun", slots=move.slots)

    async def _copy(self, move: Move) -> None:
        """Until the target has nearly all. Without progress for too long it is given up."""
        clock = self.ctx.clock
        began_s = moved_s = clock.monotonic_s()
        before: tuple[int, ...] = ()
        while True:
            if self._state.cancelled:
                return await self._abort(move, "cancelled")
            if self._is_returning(move):
                return await self._abort(move, "one of its ends was restarted, and has no log")
            try:
                status = await self._import(move, COPIED)
            except RpcError as error:
                if error.code == "refused":
                    return await self._abort(move, str(error)[:200])
                self.ctx.log.debug("target not reached", move=move.name, why=str(error))
                await clock.sleep(PAUSE_S)
                status = {}
            if status.get(COPIED):
                figures = {name: status[name] for name in ("keys", "bytes")}
                copy_s = round(clock.monotonic_s() - began_s, 4)
                return await self._enter(move, FENCING, "copied", copy_s=copy_s, **figures)
            seen = tuple(status.get(name, 0) for name in ("keys", "streamed", "lag"))
            if status and seen != before:
                before, moved_s = seen, clock.monotonic_s()
            if clock.monotonic_s() - moved_s > self._stall_s:
                self.ctx.reached(reach.COPY_STALLED)
                return await self._abort(move, f"no progress for {self._stall_s:g} s")

    async def _fence(self, move: Move) -> None:
        """The pause: the source refuses, the target drains. Too long, and it is given up."""
        clock = self.ctx.clock
        began_s = self._fenced_s[move.name] = clock.monotonic_s()
        fenced = False
        while True:
            left_s = began_s + self._max_pause_s - clock.monotonic_s()
            if left_s <= 0:
                self.ctx.reached(reach.DRAIN_LATE)
                return await self._abort(move, f"not drained within {self._max_pause_s:g} s")
            try:
                if not fenced:
                    source, order = self._clients.of(move.source), self._order(move)
                    await source.ask(words.MOVE_FENCE, order, timeout_s=min(ASK_S, left_s))
                    fenced = True
                status = await self._import(move, DRAINED, wait_s=left_s)
            except RpcError as error:
                if error.code == "refused":
                    return await self._abort(move, str(error)[:200])
                await clock.sleep(PAUSE_S)
                continue
            if status[DRAINED]:
                figures = {name: status[name] for name in ("keys", "bytes", "streamed")}
                return await self._enter(move, PUBLISHED, "map published", **figures)

    async def _hand_over(self, move: Move) -> None:
        """It is decided: the target owns, then the source forgets. Both must happen."""
        await self._insist(move, move.target, words.MOVE_ADOPT, self._copy_again)
        figures: dict[str, Any] = {}
        fenced_s = self._fenced_s.pop(move.name, None)
        if fenced_s is not None:
            figures["pause_s"] = round(self.ctx.clock.monotonic_s() - fenced_s, 6)
            self._pauses.observe(figures["pause_s"])
        await self._insist(move, move.source, words.MOVE_RELEASE)
        await self._enter(move, DONE, "done", **figures)

    async def _undo(self, move: Move) -> None:
        """It is decided against: the target is told first, but the source need not wait for it,
        because nobody can publish this move any more."""
        try:
            target = self._clients.of(move.target)
            await target.ask(words.MOVE_DROP, self._order(move), timeout_s=self._max_pause_s)
        except RpcError as error:
            self.ctx.log.debug("target not told", move=move.name, why=str(error))
        await self._insist(move, move.source, words.MOVE_RESUME)
        self._fenced_s.pop(move.name, None)
        await self._enter(move, ABORTED, "aborted")

    # --- asking --------------------------------------------------------------------------

    def _order(self, move: Move) -> list[Any]:
        return move.order(self._state.keys_per_s).to_wire()

    async def _import(self, move: Move, want: str, wait_s: float = ASK_S) -> dict[str, Any]:
        order = self._order(move)
        wait_ms = int(min(WAIT_MS, wait_s * 1000))
        target = self._clients.of(move.target)
        answer = await target.ask(
            words.MOVE_IMPORT, order, want, wait_ms, timeout_s=wait_ms / 1000 + ASK_S
        )
        return dict(answer)

    async def _copy_again(self, move: Move) -> None:
        """A target without a log has lost its copy; the source has the data until it releases."""
        try:
            await self._import(move, DRAINED)
        except RpcError as error:
            self.ctx.log.debug("target not reached", move=move.name, why=str(error))

    async def _insist(
        self,
        move: Move,
        tier: str,
        method: str,
        mend: Callable[[Move], Awaitable[None]] | None = None,
    ) -> None:
        """Ask until it is done: the decision has been made, whoever is down comes back. `mend` what
        makes them refuse."""
        refusals = 0
        shard, order = self._clients.of(tier), self._order(move)
        while True:
            try:
                await shard.ask(method, order, move.epoch, timeout_s=ASK_S)
                return
            except RpcError as error:
                refusals += error.code == "refused"
                if refusals == 1 or error.code == "refused":
                    level = self.ctx.log.error if refusals == 1 else self.ctx.log.debug
                    level("move.step refused", move=move.name, step=method, why=str(error))
                if mend is not None and error.code == "refused":
                    await mend(move)
            await self.ctx.clock.sleep(PAUSE_S)
