"""Bugs planted into moves of slots, each found by the checks within a few seeds.

A planted bug replaces one function by what somebody might have written instead. The sound code
passes the same seeds.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from emu.machine.events import Event
from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.kv import client as kv_client
from nodes.kv import move_runner
from nodes.kv import mover as kv_mover
from nodes.kv import moves as kv_moves
from nodes.kv import state as kv_state
from nodes.kv.mover import COPIED, DRAINED, Mover
from nodes.kv.moves import ShardMoves
from nodes.kv.state import DELETE, DONE, FENCE, KvState
from protocols.errors import RpcError
from protocols.kv import words
from tests.planting import Bug, Plant, Room, Script, each_of, look_again, planted
from tests.sim.resharding import reshard
from tests.sim.test_kv_moves import POINTS, VICTIMS, primary

STORE = """
links: {defaults: {within: 0.3ms, jitter: 0.2ms}}
tiers:
  kv: {kind: kv, public: true, shards: 1, replicas: 1, slots_per_move: 8192, max_pause: 1s}
  registers: {kind: clients, asks: kv, workload: register, processes: 8, keys: 8, think_time: 12ms}
  lists: {kind: clients, asks: kv, workload: append, processes: 4, keys: 4, think_time: 12ms}
  limits: {kind: clients, asks: kv, workload: expiring, processes: 3, keys: 6, think_time: 20ms}
"""
MOST_SEEDS = 300


def anomaly(seed: int) -> str:
    """What is found wrong with a move (and back) under one seed's faults; "" if nothing is."""

    async def script(c: Scenario) -> str:
        rng = random.Random(f"{seed}/planted")
        await c.sleep(0.6)
        if rng.random() < 0.6:
            _break_at(c, rng)
        if rng.random() < 0.3:
            latency_s = rng.uniform(0.002, 0.05)
            _when_moving(c, partial(c.slow, "kv-shard-1", to="kv-shard-2", latency_s=latency_s))
        if rng.random() < 0.3:  # they must ask again, and by then the slot is elsewhere
            cut = partial(c.partition, "kv-shard-1", "registers,lists,limits", one_way=True)
            _when_moving(c, partial(cut, for_s=rng.uniform(0.2, 2.5)))
        if rng.random() < 0.25:  # the source's primary ships to nobody but the target
            point = rng.choice(("move.begun", "move.snapshot sent", "move.copied"))
            _when_moving(c, partial(_isolate_from_its_group, c, rng.uniform(0.5, 2.5)), point)
        await reshard(c.cluster, "kv", 2)
        await c.sleep(0.2)
        await reshard(c.cluster, "kv", 1)
        await c.sleep(0.2)
        summary = await c.finish()
        if summary["anomalies"]:
            return str(summary["anomalies"][0]["text"])
        return await _what_outlived_its_limit(c)

    try:
        return run(script, loads(STORE), seed=seed)
    except (AssertionError, RpcError, TimeoutError, ExceptionGroup) as error:
        return repr(error)


def _break_at(c: Scenario, rng: random.Random) -> None:
    """Kill or crash somebody at one of the points, for a while."""
    point, tier = rng.choice(POINTS), rng.choice(VICTIMS)
    crash, lasts_s = rng.random() < 0.5, rng.uniform(0.05, 2.0)
    wait_s = rng.choice((0.0, rng.uniform(0.0, 0.004)))

    def act() -> None:
        name = primary(c, tier)
        if name in c.cluster.instances:
            (c.cluster.crash if crash else c.cluster.kill)(name)
            c.cluster.world.timers.call_at(c.now_s + lasts_s, lambda: start(name))

    def start(name: str) -> None:
        if name in c.cluster.instances and not c.cluster.instances[name].running:
            c.cluster.launch(name)

    def look(event: Event) -> None:
        if event["event"] == point.replace("-", " "):
            c.cluster.events.listeners.remove(look)
            c.cluster.world.timers.call_at(c.now_s + wait_s, act)

    c.cluster.events.listeners.append(look)


async def _isolate_from_its_group(c: Scenario, for_s: float) -> None:
    await c.partition(primary(c, "kv-shard-1"), "kv-shard-1,kv-coordinator", for_s=for_s)


def _when_moving(
    c: Scenario, fault: Callable[[], Awaitable[Any]], point: str = "move.begun"
) -> None:
    """From that point of the first move on."""

    def look(event: Event) -> None:
        if event["event"] == point:
            c.cluster.events.listeners.remove(look)
            c.cluster.world.timers.call_at(c.now_s, lambda: c.cluster.nursery.start_soon(fault))

    c.cluster.events.listeners.append(look)


async def _what_outlived_its_limit(c: Scenario) -> str:
    """No clock is wrong in these runs: after the longest limit every such key is gone."""
    await c.sleep(2.5)
    keys = [f"limits-{slot}-{turn}" for slot in range(6) for turn in range(8)]
    values = await c.call("kv", "mget", keys)
    left = [key for key, value in zip(keys, values, strict=True) if value is not None]
    return f"still there after their time: {', '.join(left)}" if left else ""


def _without(*ops: int) -> Plant:
    """The stream leaves out some facts."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        sound = kv_moves.changes_for

        def changes(*arguments: Any) -> Any:
            return [fact for fact in sound(*arguments) if fact[0] not in ops]

        patch.setattr(kv_mover, "changes_for", changes)

    return plant


def _stream_from_too_late(patch: pytest.MonkeyPatch) -> None:
    sound = Mover._begin

    async def begin(self: Mover, call: Any, wire: Any) -> int:
        return await sound(self, call, wire) + 3

    patch.setattr(Mover, "_begin", begin)


def _asked_before_it_is_adopted(patch: pytest.MonkeyPatch) -> None:
    """The target answers an `ask` as soon as it holds the slot."""
    sound = kv_mover.execute

    async def execute(engine: Any, *arguments: Any) -> Any:
        state = engine.state
        before = list(state.serving)
        state.serving[:] = state.held
        try:
            return await sound(engine, *arguments)
        finally:
            for slot, data in enumerate(before):
                if state.held[slot] is not None and data is None:
                    state.serving[slot] = None

    patch.setattr(kv_mover, "execute", execute)
    patch.setattr(Mover, "_is_coming", lambda self, slot: False)


def _source_is_not_fenced(patch: pytest.MonkeyPatch) -> None:
    def fence(self: KvState, fact: Any) -> None:
        self.outgoing[fact[1]] = kv_state.Outgoing(fact[2], fact[3])

    patch.setitem(kv_state._APPLY, FENCE, fence)


def _source_resumes_by_itself(patch: pytest.MonkeyPatch) -> None:
    """After a time-out of its own, without asking anybody."""
    sound = Mover._fence

    async def fence(self: Mover, call: Any, wire: Any) -> bool:
        done = await sound(self, call, wire)
        clock, move = self.ctx.clock, wire[0]

        def resume() -> None:
            outgoing = self.state.outgoing.get(move)
            for first, last in outgoing.ranges if outgoing is not None else ():
                self.state.serving[first : last + 1] = self.state.held[first : last + 1]

        clock.call_at(clock.monotonic_s() + 0.001, resume)
        return done

    patch.setattr(Mover, "_fence", fence)


def _published_before_it_is_drained(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(move_runner, "DRAINED", COPIED)
    sound = ShardMoves.adopt

    def adopt(self: ShardMoves, order: Any, epoch: int) -> Any:
        incoming = self.state.incoming.get(order.move)
        if incoming is not None:
            incoming.drained = True
        return sound(self, order, epoch)

    patch.setattr(ShardMoves, "adopt", adopt)
    assert DRAINED != COPIED


def _request_ids_left_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ShardMoves, "_outcomes", lambda self, slot, after: [])
    _without(DONE)(patch)


def _limits_not_copied(patch: pytest.MonkeyPatch) -> None:
    sound = ShardMoves.page

    def page(self: ShardMoves, *arguments: Any) -> Any:
        made = sound(self, *arguments)
        made["entries"] = [[slot, key, value, 0] for slot, key, value, _ in made["entries"]]
        return made

    patch.setattr(ShardMoves, "page", page)


def _in_pages_of_few_keys(patch: pytest.MonkeyPatch) -> None:
    for name in ("PAGE_BYTES", "SHORT_PAGE_BYTES"):
        patch.setattr(kv_mover, name, 200)


def _pages_that_skip_a_key(patch: pytest.MonkeyPatch) -> None:
    _in_pages_of_few_keys(patch)
    sound = kv_moves.keys_after
    patch.setattr(
        kv_moves, "keys_after", lambda data, after: sound(data, after)[1 if after else 0 :]
    )


def _slots_left_out_after_a_page(patch: pytest.MonkeyPatch) -> None:
    _in_pages_of_few_keys(patch)
    sound = kv_moves._parse

    def parse(cursor: str) -> Any:
        slot, last_id, last_key = sound(cursor)
        return (slot + 1, "", "") if cursor else (slot, last_id, last_key)

    patch.setattr(kv_moves, "_parse", parse)


def _appends_applied_twice(patch: pytest.MonkeyPatch) -> None:
    def append(self: KvState, fact: Any) -> None:
        _, slot, key, suffix, _ = fact
        data = self._data(slot)
        self.put(data, key, data.get(key, suffix[:0]) + suffix, self.expiry.get(key, 0))

    patch.setitem(kv_state._APPLY, kv_state.APPEND, append)


def _adopted_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    async def adopt(self: Mover, call: Any, wire: Any, epoch: int) -> bool:
        for fact in self.moves.adopt(kv_mover._order(wire), epoch):
            self.state.apply_fact(fact)
        return True

    patch.setattr(Mover, "_adopt", adopt)


def _retries_with_a_new_request_id(patch: pytest.MonkeyPatch) -> None:
    sound = kv_client._Route._ask

    async def ask(self: Any, *arguments: Any, **options: Any) -> Any:
        at = words.OPTIONS_AT.get(self._command)
        if at is not None and len(self._params) > at:
            self._params[at] = {**self._params[at], words.REQUEST_ID: self._client._new_id()}
            arguments = (*arguments[: -len(self._params)], *self._params)
        return await sound(self, *arguments, **options)

    patch.setattr(kv_client._Route, "_ask", ask)


BUGS: dict[str, Plant] = {
    "writes after the snapshot are not streamed": _without(1, 3, 4),
    "deletes are not streamed": _without(DELETE),
    "the stream begins too late": _stream_from_too_late,
    "asked before it is adopted": _asked_before_it_is_adopted,
    "the source is not fenced": _source_is_not_fenced,
    "the source resumes by itself": _source_resumes_by_itself,
    "published before it is drained": _published_before_it_is_drained,
    "request ids are left behind": _request_ids_left_behind,
    "time limits are not copied": _limits_not_copied,
    "a key is skipped between pages": _pages_that_skip_a_key,
    "a slot's rest is left out after a page": _slots_left_out_after_a_page,
    "appends are applied twice": _appends_applied_twice,
    "adopted in memory only": _adopted_in_memory_only,
    "a retry has a new request id": _retries_with_a_new_request_id,
}


SAMPLE = ("the stream begins too late", "adopted in memory only")
"""What CI looks for."""
ROOM = Room("kv", [Bug(each, BUGS[each]) for each in SAMPLE], lambda bug: [Script(anomaly)])


@each_of(ROOM.bugs)
def test_a_planted_bug_of_moves_is_found(bug: Bug) -> None:
    look_again(ROOM, bug)


@pytest.mark.soak
@pytest.mark.parametrize("bug", BUGS)
def test_every_planted_bug_is_found(bug: str) -> None:
    with planted(BUGS[bug]):
        for seed in range(MOST_SEEDS):
            found = anomaly(seed)
            if found:
                print(f"{bug}: found at seed {seed}: {found.splitlines()[0][:100]}")
                return
    raise AssertionError(f"not found in {MOST_SEEDS} seeds: {bug}")


@pytest.mark.soak
def test_the_sound_code_passes_the_same_seeds() -> None:
    for seed in range(MOST_SEEDS):
        assert anomaly(seed) == "", seed
