"""Moving slots between shards: what the source answers, and the target's task that pulls.

The target copies page by page, then takes the stream of changes, each into its own log, so that
whoever is primary next goes on from there. What either end may do is in moves.py; when
it is done is the coordinator's business.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from nodes.base import Context
from nodes.kv import reach
from nodes.kv.arguments import key_slot
from nodes.kv.engine import KvEngine, execute
from nodes.kv.moves import ShardMoves, changes_for
from nodes.kv.state import ADOPT, Incoming
from nodes.parts.timing import move_on_after
from nodes.replica.client import GroupClients
from nodes.wire.service import Call, Service, current_call
from protocols.errors import RpcError
from protocols.hashing.partitioning import from_ranges, ranges_from_wire, ranges_to_wire
from protocols.kv import words
from protocols.kv.coordinator import MoveOrder

PAGE_BYTES: Final = 96 * 1024
SHORT_PAGE_BYTES: Final = 100
"""Any size of page is right."""
PULL_TIMEOUT_S: Final = 2.0
PULL_PAUSE_S: Final = 0.05
STREAM_WAIT_S: Final = 0.5
MAX_WAIT_S: Final = 5.0
ASK_WAIT_S: Final = 2.0
"""How long a query that was sent here by `ask` waits for the slot to be adopted."""
CLOSE_RECORDS: Final = 100
"""A copy that lags by so few records may be cut over."""
COPIED: Final = "copied"
DRAINED: Final = "drained"
TOO_OLD: Final = "too_old"
FORGOTTEN: Final = "forgotten"


class Mover:
    """One node's part in moves."""

    def __init__(self, ctx: Context, nursery: trio.Nursery, engine: KvEngine,
                 clients: GroupClients) -> None:  # fmt: skip
        self.ctx = ctx
        self.engine = engine
        self.state = engine.state
        self.moves = ShardMoves(engine.state)
        self.changed = trio.Event()
        """Set at the next step of an import or change of owner; take it anew after each wait."""
        self.may_give = True
        """Whether slots may move away: not while a shard without a log asks what it owns."""
        self._nursery = nursery
        self._clients = clients
        self._pulling: dict[str, _Pull] = {}
        self._decided: dict[str, None] = {}
        """Moves that were to be adopted here, and whose copy is not here: published, then lost."""
        metrics = ctx.metrics
        self._keys = metrics.counter("keys_moved_total", "Keys copied here by moves.")
        metrics.gauge(
            "slot_migrations_active",
            "Moves that this node takes part in now.",
            lambda: float(len(self.state.incoming) + len(self.state.outgoing)),
        )

    def add_methods(self, service: Service) -> None:
        """What the coordinator and the other end ask, at the node's main listener."""
        service.add(words.FOUND, self._found, cost_s=0.0)
        service.add(words.MOVE_IMPORT, self._import, cost_s=0.0)
        service.add(words.MOVE_ADOPT, self._adopt, cost_s=0.0)
        service.add(words.MOVE_DROP, self._drop, cost_s=0.0)
        service.add(words.MOVE_BEGIN, self._begin, cost_s=0.0)
        service.add(words.MOVE_PULL, self._pull_page, cost_s=0.0)
        service.add(words.MOVE_STREAM, self._stream, cost_s=0.0)
        service.add(words.MOVE_FENCE, self._fence, cost_s=0.0)
        service.add(words.MOVE_RESUME, self._resume, cost_s=0.0)
        service.add(words.MOVE_RELEASE, self._release, cost_s=0.0)
        service.add(words.ASKING, self._asking)

    def elsewhere(self, slot: int) -> RpcError:
        """What to answer about a slot that is not served here."""
        state = self.state
        for outgoing in state.outgoing.values():
            if any(first <= slot <= last for first, last in outgoing.ranges):
                text = f"slot {slot} is on its way to {outgoing.target}"
                return RpcError("ask", text, slot, outgoing.target)
        for incoming in state.incoming.values():
            if any(first <= slot <= last for first, last in incoming.ranges):
                text = f"slot {slot} is still at {incoming.source}"
                return RpcError("moved", text, slot, incoming.source, 0)
        owner, version = state.moved_to.get(slot, ("", 0))
        return RpcError("moved", f"slot {slot} is at {owner or 'another shard'}", slot, owner,
                        version)  # fmt: skip

    def _tell(self, point: str, move: str, **fields: Any) -> None:
        self.ctx.log.info(f"move.{point}", move=move, **fields)
        self.wake()

    def wake(self) -> None:
        """Something moved: whoever waits for `changed` looks again."""
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    # --- the first slots -------------------------------------------------------------------

    async def _found(self, call: Call, ranges: Any, epoch: int) -> bool:
        """Take the first slots of this shard's life; once."""
        if not self.state.founded:
            wanted = ranges_to_wire(_ranges(ranges))
            await self.engine.record([(ADOPT, "", wanted, epoch)])
        return True

    # --- the source ------------------------------------------------------------------------

    async def _begin(self, call: Call, wire: Any) -> int:
        """The LSN from which the target shall take the stream."""
        order = _order(wire)
        self._check_gives()
        for slot in from_ranges(order.ranges):
            if self.state.held[slot] is None:
                raise RpcError("refused", f"slot {slot} is not here")
        self.engine.keep_changes(True)
        await trio.lowlevel.checkpoint()
        return self.engine.committed_lsn

    async def _pull_page(self, call: Call, ranges: Any, cursor: str) -> dict[str, Any]:
        """A page of the snapshot, once nothing in it can be lost any more."""
        self._check_gives()
        short = self.ctx.rare("short page")
        page = self.moves.page(_ranges(ranges), cursor, SHORT_PAGE_BYTES if short else PAGE_BYTES)
        await self.engine.committed(self.engine.state_lsn)
        return page

    async def _stream(
        self, call: Call, move: str, ranges: Any, from_lsn: int, wait_ms: int
    ) -> dict[str, Any]:
        """What changed in those slots after `from_lsn`, as soon as there is something."""
        self._check_gives()
        slots = frozenset(from_ranges(_ranges(ranges)))
        clock, engine = self.ctx.clock, self.engine
        until_s = clock.monotonic_s() + min(max(wait_ms, 0) / 1000, MAX_WAIT_S)
        through_lsn = from_lsn
        while True:
            records = await engine.changes(through_lsn, PAGE_BYTES)
            if records is None:
                raise RpcError("refused", "those changes are not kept any more", TOO_OLD)
            facts = changes_for(move, slots, records)
            through_lsn = records[-1][0] if records else through_lsn
            if through_lsn >= engine.state_lsn and through_lsn <= engine.committed_lsn:
                facts += self.moves.fence_again(move, facts)
            left_s = until_s - clock.monotonic_s()
            if facts or left_s <= 0:
                lag = engine.committed_lsn - through_lsn
                return {"facts": facts, "through_lsn": through_lsn, "lag": lag}
            if not records:
                await engine.advanced(through_lsn, left_s)
                self._check_leads()

    async def _fence(self, call: Call, wire: Any) -> bool:
        order = _order(wire)
        self._check_gives()
        facts = self.moves.fence(order)
        if facts:
            await self.engine.record(facts)
            self._tell("source fenced", order.move, target=order.target)
        else:
            self.ctx.reached(reach.FENCED_TWICE)
            await self.engine.committed(self.engine.state_lsn)
        return True

    async def _resume(self, call: Call, wire: Any, epoch: int) -> bool:
        order = _order(wire)
        fenced = order.move in self.state.outgoing
        await self._do("source resumed", order, self._checked(self.moves.resume, order, epoch))
        if fenced:
            self.ctx.reached(reach.RESUMED)
        return True

    async def _release(self, call: Call, wire: Any, version: int) -> bool:
        order = _order(wire)
        await self._do("source released", order, self._checked(self.moves.release, order, version))
        if not self.state.outgoing:
            self.engine.keep_changes(False)
        return True

    # --- the target ------------------------------------------------------------------------

    async def _import(self, call: Call, wire: Any, want: str, wait_ms: int) -> dict[str, Any]:
        """See to it that the slots are being copied; answer once they are `copied` or `drained`,
        or the wait is over, with how far it is."""
        order = _order(wire)
        self._check_leads()
        how = self.state.finished.get(order.move)
        if how is not None:
            raise RpcError("refused", f"{order.move} is over here: {how}", how)
        pull = self._pulling.get(order.move)
        if pull is None:
            pull = self._pulling[order.move] = _Pull(self, order)
            self._nursery.start_soon(self._run_pull, pull)
        with move_on_after(self.ctx.clock, min(max(wait_ms, 0) / 1000, MAX_WAIT_S)):
            while not pull.status()[want] and pull.order.move in self._pulling:
                await self.changed.wait()
        self._check_leads()
        return pull.status()

    async def _run_pull(self, pull: _Pull) -> None:
        current_call.set(None)  # it outlives the call that began it, and that call's deadline
        try:
            await pull.run()
        finally:
            self._pulling.pop(pull.order.move, None)
            self.wake()

    async def _adopt(self, call: Call, wire: Any, epoch: int) -> bool:
        order = _order(wire)
        try:
            facts = self._checked(self.moves.adopt, order, epoch)
        except RpcError as error:
            if error.code == "refused":
                self._decided[order.move] = None
            raise
        self._decided.pop(order.move, None)
        await self._do("target adopted", order, facts)
        return True

    async def lost_copy(self, order: MoveOrder) -> None:
        """The source has forgotten the slots too: where it is decided, they begin empty here."""
        if order.move in self._decided:
            await self.engine.record(self.moves.import_nothing(order))
            slots = len(from_ranges(order.ranges))
            self.ctx.log.warning("import lost", move=order.move, source=order.source, slots=slots)

    async def _drop(self, call: Call, wire: Any) -> bool:
        order = _order(wire)
        if order.move in self.state.incoming:
            self.ctx.reached(reach.DROPPED)
        await self._do("import dropped", order, self._checked(self.moves.drop, order))
        return True

    def _checked(self, decide: Any, *params: Any) -> list[Any]:
        self._check_leads()
        return list(decide(*params))

    async def _do(self, point: str, order: MoveOrder, facts: list[Any]) -> None:
        """Make it so; where it is so already, make sure that it stays."""
        if facts:
            await self.engine.record(facts)
            self._tell(point, order.move)
        else:
            await self.engine.committed(self.engine.state_lsn)

    def _check_leads(self) -> None:
        self.engine.begin(self.ctx.clock.monotonic_s())
        refusal = self.engine.commands.no_writes
        if refusal is not None:
            raise refusal

    def _check_gives(self) -> None:
        self._check_leads()
        if not self.may_give:
            text = "this shard was restarted, and does not know what it has"
            raise RpcError("unavailable", text, FORGOTTEN)

    async def _asking(self, call: Call, name: str, *params: Any) -> Any:
        """One query that the source sent here: it waits until the slot is ours, or is not to be."""
        if name not in self.engine.fused:
            raise RpcError("no_such_method", f"{name} is no command")
        keys = words.routing_keys(name, list(params))
        slot = key_slot(keys[0]) if keys else -1
        if slot >= 0 and self.state.serving[slot] is None and self._is_coming(slot):
            self.ctx.reached(reach.ASKED_AHEAD)
        with move_on_after(self.ctx.clock, ASK_WAIT_S):
            while slot >= 0 and self.state.serving[slot] is None and self._is_coming(slot):
                await self.changed.wait()
        return await execute(self.engine, self.ctx, name, list(params), call.epoch)

    def _is_coming(self, slot: int) -> bool:
        return self.engine.is_primary and any(
            first <= slot <= last
            for each in self.state.incoming.values()
            for first, last in each.ranges
        )


class _Pull:
    """The target's task for one move: copy, then follow the stream, until the move ends here."""

    def __init__(self, mover: Mover, order: MoveOrder) -> None:
        self.order = order
        self._mover = mover
        self._source = mover._clients.of(order.source)
        self._ranges = ranges_to_wire(order.ranges)
        self._lag: int | None = None
        """Records of the source that are not looked at yet; None before the first answer."""

    @property
    def incoming(self) -> Incoming | None:
        return self._mover.state.incoming.get(self.order.move)

    def status(self) -> dict[str, Any]:
        incoming = self.incoming
        if incoming is None:
            return {COPIED: False, DRAINED: False, "keys": 0, "bytes": 0, "streamed": 0, "lag": 0}
        copied = incoming.cursor is None
        return {
            COPIED: copied and (incoming.drained or self._is_close),
            DRAINED: copied and incoming.drained,
            "keys": incoming.copied_keys,
            "bytes": incoming.copied_bytes,
            "streamed": incoming.streamed,
            "lag": self._lag or 0 if copied else 0,
        }

    @property
    def _is_close(self) -> bool:
        return self._lag is not None and self._lag <= CLOSE_RECORDS

    async def run(self) -> None:
        mover, move = self._mover, self.order.move
        clock = mover.ctx.clock
        if self.incoming is not None:
            mover.ctx.reached(reach.TAKEN_OVER)
        while mover.engine.is_primary and move not in mover.state.finished:
            try:
                incoming = self.incoming
                if incoming is None:
                    await self._begin()
                elif incoming.cursor is not None:
                    await self._copy(incoming.cursor)
                elif incoming.drained:  # the coordinator has the word now
                    await mover.changed.wait()
                else:
                    await self._follow(incoming)
            except RpcError as error:
                mover.ctx.log.debug("move.pull failed", move=move, why=str(error))
                if TOO_OLD in error.details:
                    await self._begin_again()
                elif FORGOTTEN in error.details:
                    await mover.lost_copy(self.order)
                await clock.sleep(PULL_PAUSE_S)

    async def _begin(self) -> None:
        order = self.order
        if self.incoming is not None:
            self._mover.ctx.reached(reach.COPIED_AGAIN)
        lsn = await self._source.ask(words.MOVE_BEGIN, order.to_wire(), timeout_s=PULL_TIMEOUT_S)
        await self._mover.engine.record(self._mover.moves.begin_import(order, int(lsn)))
        self._mover._tell("import begun", order.move, source=order.source, from_lsn=lsn)

    async def _begin_again(self) -> None:
        try:
            await self._begin()
        except RpcError as error:
            self._mover.ctx.log.debug("move.pull failed", move=self.order.move, why=str(error))

    async def _copy(self, cursor: str) -> None:
        mover, move = self._mover, self.order.move
        page = await self._source.ask(
            words.MOVE_PULL, self._ranges, cursor, timeout_s=PULL_TIMEOUT_S
        )
        await mover.engine.record(mover.moves.take_chunk(move, cursor, page))
        mover._keys.value += len(page["entries"])
        if cursor:
            mover.ctx.reached(reach.SECOND_PAGE)
        if page["cursor"] is None:
            mover._tell("snapshot sent", move, source=self.order.source)
        if self.order.keys_per_s:
            await mover.ctx.clock.sleep(len(page["entries"]) / self.order.keys_per_s)

    async def _follow(self, incoming: Incoming) -> None:
        mover, move, from_lsn = self._mover, self.order.move, incoming.through_lsn
        wait_s = STREAM_WAIT_S if self._is_close else 0.0  # where nothing changes, that is all
        answer = await self._source.ask(
            words.MOVE_STREAM,
            move,
            self._ranges,
            from_lsn,
            int(wait_s * 1000),
            timeout_s=PULL_TIMEOUT_S,
        )
        through_lsn, facts = int(answer["through_lsn"]), answer["facts"]
        if through_lsn > from_lsn or facts:
            await mover.engine.record(mover.moves.take_stream(move, from_lsn, through_lsn, facts))
            for fact in facts:
                if fact[0] in reach.STREAMED:
                    mover.ctx.reached(reach.STREAMED[fact[0]])
        self._lag = int(answer["lag"])
        mover.wake()
        if incoming.drained:
            mover._tell("target drained", move, source=self.order.source)


def _order(wire: Any) -> MoveOrder:
    try:
        return MoveOrder.from_wire(wire)
    except ValueError as error:
        raise RpcError("bad_request", str(error)) from error


def _ranges(wire: Any) -> list[tuple[int, int]]:
    try:
        return ranges_from_wire(wire)
    except ValueError as error:
        raise RpcError("bad_request", str(error)) from error
