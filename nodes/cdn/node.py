"""An edge of a CDN: it answers HTTP, from what it keeps or through it from its origin."""

from __future__ import annotations

from typing import Any, Final

import trio

from nodes.base import HTTP_PORT, Context
from nodes.cdn.config import CdnConfig
from nodes.cdn.desk import Desk
from nodes.cdn.edge import Edge, listed
from nodes.cdn.fetching import Flights
from nodes.cdn.journal import Journal
from nodes.cdn.origin import Origin
from nodes.cdn.purges import Purge, wanted
from nodes.cdn.shields import Shields
from nodes.wire.accepting import accept_forever
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.front import Front
from nodes.wire.http_server import HttpService
from nodes.wire.service import Call, Service
from protocols import rpc
from protocols.control import PURGE
from protocols.errors import RpcError

OBJECTS: Final = "objects"
MOST_LISTED: Final = 1000


class CdnNode:
    """Keeps objects in memory, and purges on its disk."""

    def __init__(self, ctx: Context, config: CdnConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.edge = Edge(ctx.name, config)
        self.origin = Origin(ctx, config)
        self.flights = Flights(ctx, self.edge, self.origin)
        self.desk = Desk(ctx, self.edge, self.flights, self.purge)
        self.journal = Journal(ctx)
        self.shields: Shields | None = None
        self.http = HttpService(ctx, self.desk.find, limits=config.http_limits())
        self.rpc = Service(ctx, limits=rpc.Limits(idle_timeout_s=config.idle_timeout_s))
        self.front = Front(ctx, self.http, self.rpc)
        self._purging = trio.Lock()
        self._names = ctx.rng("purges")
        self._broken: OSError | None = None
        self._disk_failed = trio.Event()

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        found = self.desk.series.totals()
        asked = sum(found.values())
        served = found["hit"] + found["stale"] + found["revalidated"]
        return {
            "role": "",
            "origin": self.config.origin,
            "origin_up": self.origin.up,
            "objects": len(self.edge.store),
            "stored_bytes": self.edge.store.bytes,
            "hits": f"{served / asked:.0%}" if asked else "",
            "connections": self.front.connections,
            "in_flight": self.front.in_flight,
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        for purge in await self.journal.load():
            self.edge.purges.add(purge)
        admin = Admin(self.ctx, service=self.rpc, facts=self.facts)
        admin.add("drain", self._drain)
        admin.add(PURGE, self._purge)
        admin.add(OBJECTS, self._objects)
        async with trio.open_nursery() as nursery:
            self.flights.nursery = nursery
            self.shields = Shields(self.ctx, self.origin, nursery)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(self._fail)
            await self.origin.find(Directory(self.ctx, nursery))
            listener = await self.ctx.network.listen(HTTP_PORT)
            nursery.start_soon(accept_forever, self.ctx, listener, self.front.serve_stream)
            task_status.started()

    async def _fail(self) -> None:
        """A disk that did not sync ends the process, as everywhere."""
        await self._disk_failed.wait()
        assert self._broken is not None
        raise self._broken

    async def _drain(self, call: Call) -> dict[str, int]:
        """Answer what was asked and let every connection end; returns when none is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.http.draining.drain)
            nursery.start_soon(self.rpc.draining.drain)
        return {"in_flight": self.front.in_flight}

    # --- purging -----------------------------------------------------------------------------

    async def purge(self, purge: Purge) -> int:
        """It is gone, and on the disk that it is, when this returns; how many objects went."""
        count = 0 if purge.name in self.edge.purges else self.edge.purge(purge)
        self.desk.series.purged.value += count
        async with self._purging:
            if purge.name in self.journal:
                return 0  # whoever told it first has brought it there
            try:
                await self.journal.add(purge, self.edge.purges.all())
            except OSError as error:
                self._broken = error
                self._disk_failed.set()
                raise RpcError("unknown_outcome", f"the disk failed: {error}") from error
        self.ctx.log.info("purged", what=purge.kind, value=purge.value, objects=count)
        return count

    async def _purge(
        self, call: Call, kind: str, value: str, name: str = "", alone: bool = False
    ) -> dict[str, Any]:
        """`kind`: url, prefix or tag. Whoever purges at several edges gives it one `name`; whoever
        tells the shields, too, asks this edge `alone`. Shields that did not answer `missed` it. It
        is asked at the admin port, where the network knows who may."""
        try:
            purge = wanted(name or self._new_name(), kind, value)
        except ValueError as error:
            raise RpcError("bad_request", str(error)) from None
        count = await self.purge(purge)
        assert self.shields is not None, "it is asked once it runs"
        missed = [] if alone else await self.shields.tell(purge)
        return {"name": purge.name, "objects": count, "missed": missed}

    def _new_name(self) -> str:
        """One that no purge of any generation, or any run on this disk, has had."""
        when_ms = int(self.ctx.clock.wall_s() * 1000)
        return f"{self.ctx.name}-{when_ms:x}-{self._names.getrandbits(52):x}"

    # --- what can be seen --------------------------------------------------------------------

    def _objects(self, call: Call, prefix: str = "", most: int = 100) -> dict[str, Any]:
        """What is kept, the URLs that begin so."""
        if not isinstance(prefix, str) or not isinstance(most, int):
            raise RpcError("bad_request", "a prefix, and how many")
        found = [
            each for each in self.edge.store.all()
            if str(each.key).startswith(prefix) or each.key.target.startswith(prefix)
        ]  # fmt: skip
        shown = found[-max(0, min(most, MOST_LISTED)) :]
        return {
            "objects": listed(shown, self.flights.ages.now_s()),
            "of": len(found),
            "bytes": self.edge.store.bytes,
        }
