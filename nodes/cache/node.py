"""One node of a cache: protocols/cache.py over a CacheStore and its leases.

Values are in memory alone: a node that was down comes back with none. Who may fill what, and who
waits for whom, is desk.py's; when it may show nothing at all, follower.py's.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from nodes.base import RPC_PORT, Context
from nodes.cache import arguments, reach
from nodes.cache.config import CacheConfig
from nodes.cache.desk import Desk
from nodes.cache.follower import Follower
from nodes.cache.rows import RowReader
from nodes.cache.series import Series
from nodes.cache.warming import Warming
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols import cache as words

SWEEP_S: Final = 0.5
SWEEP_PAUSE_S: Final = 0.002
"""Between steps of a sweep: readers come first."""


class CacheNode:
    """Serves until cancelled."""

    def __init__(self, ctx: Context, config: CacheConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.desk = Desk(ctx, config)
        self.series = Series(ctx, self.desk)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        ctx, config, desk = self.ctx, self.config, self.desk
        async with trio.open_nursery() as nursery:
            directory = Directory(ctx, nursery)
            service = self._service()
            if config.fills_from:
                desk.follower = follower = Follower(
                    ctx, nursery, directory, config.fills_from, config.max_stale_s,
                    made_old=desk.made_old, forget_all=desk.forget_all,
                )  # fmt: skip
                nursery.start_soon(follower.run)
                reader = RowReader(ctx, nursery, directory, desk, config.fills_from, config.rows)
                service.add(words.READ, reader.read)
            warming = Warming(ctx, nursery, directory, desk)
            admin = Admin(ctx, service=service, facts=self.facts)
            admin.add(words.STATS, lambda call: desk.stats())
            admin.add(words.FLUSH, lambda call: desk.forget_all(0))
            admin.add(words.WARM, warming.begin)
            admin.add(words.WARMED, lambda call: warming.progress())
            listener = await ctx.network.listen(RPC_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(service.serve, listener)
            nursery.start_soon(self._sweep_forever)
            task_status.started()

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        return {"role": "", **self.series.facts()}

    def _service(self) -> Service:
        desk = self.desk
        service = Service(self.ctx)
        service.batch = desk
        service.add(words.GET, desk.get)
        service.fuse(words.GET, desk.get_at_once)
        service.add(words.SET, desk.set)
        service.fuse(words.SET, desk.set_at_once)
        service.add(words.DELETE, desk.delete)
        service.add(words.RELEASE, desk.release)
        service.notified[words.RELEASE] = self._released
        service.add(words.READY, desk.ready, cost_s=0.0)
        service.add(words.FLUSH, lambda call: desk.forget_all(0), cost_s=0.0)
        service.add(words.STATS, lambda call: desk.stats(), cost_s=0.0)
        service.add(words.KEYS, desk.keys)
        service.add(words.VALUES, desk.values)
        return service

    def _released(self, call: Call, key: Any, token: Any) -> None:
        self.desk.release(call, arguments.check_key(key), arguments.number(token, "token"))

    async def _sweep_forever(self) -> None:
        """What nobody reads any more gives its room back, as fast as it comes to its end."""
        clock, store, before = self.ctx.clock, self.desk.store, 0
        while True:
            await clock.sleep(SWEEP_S)
            self.desk.end_overdue(clock.monotonic_s())
            while store.sweep(clock.monotonic_s()):
                await clock.sleep(SWEEP_PAUSE_S)
            if store.expired > before:
                self.ctx.reached(reach.EXPIRED)
                before = store.expired
