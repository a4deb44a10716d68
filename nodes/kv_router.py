"""The router of a kv tier: protocols/kv.py for clients that know nothing of slots.

It is nodes/kv_client.py behind a listener; it keeps nothing but the slot map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from nodes.admin import Admin
from nodes.base import RPC_PORT, Context
from nodes.directory import Directory
from nodes.kv_client import DEFAULT_TIMEOUT_S, KvClient
from nodes.kv_front import MAX_PARTS, Front
from nodes.kv_scatter import Scatter
from nodes.parts.kv_arguments import check_one_slot, only_options, params_of
from nodes.wire import Call, Service
from protocols import kv as words
from protocols.errors import RpcError
from protocols.kv import MAX_KEYS


@dataclass(frozen=True, slots=True)
class KvRouterConfig:
    """A router of the kv tier `group`."""

    group: str
    timeout_s: float = DEFAULT_TIMEOUT_S
    """The time a command may take, redirects included, if its caller names none."""
    max_lag_s: float = 0.0
    """Above 0: replicas answer reads of single keys too, at most so far behind."""
    near_cache_s: float = 0.0
    """Above 0: what was read is answered again from here, for so long."""
    copies: dict[str, int] = field(default_factory=dict)
    """Hot keys of which so many copies are kept, each in a slot of its own."""
    counters: dict[str, int] = field(default_factory=dict)
    """Hot counters that are kept in so many parts, and read as their sum."""

    def __post_init__(self) -> None:
        for name, parts in (*self.copies.items(), *self.counters.items()):
            if not 1 < parts <= MAX_PARTS:
                raise ValueError(f"`{name}` is split in 2 to {MAX_PARTS} parts, not {parts}")


class KvRouterNode:
    """One router."""

    def __init__(self, ctx: Context, config: KvRouterConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.client: KvClient

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx = self.ctx
        async with trio.open_nursery() as nursery:
            config = self.config
            self.client = KvClient(
                ctx, nursery, Directory(ctx, nursery), config.group, max_lag_s=config.max_lag_s
            )
            self.scatter = Scatter(self.client)
            self.front = Front(
                self.client,
                self.scatter,
                near_cache_s=config.near_cache_s,
                copies=config.copies,
                counters=config.counters,
            )
            service = self._service()
            admin = Admin(ctx, service=service, facts=self.facts)
            listener = await ctx.network.listen(RPC_PORT)
            nursery.start_soon(admin.listen_and_serve)
            nursery.start_soon(service.serve, listener)
            task_status.started()

    def facts(self) -> dict[str, Any]:
        """For `describe`."""
        known = self.client.map
        return {"map_version": known.version if known is not None else 0}

    def _service(self) -> Service:
        service = Service(self.ctx)
        for name in (*words.KEYED, words.TRANSACT):
            service.add(name, self._passing(name))
        service.add(words.MGET, self._mget)
        service.add(words.SCAN, self._scan)
        service.add(words.FIND, self._find)
        return service

    def _passing(self, name: str) -> Any:
        async def handle(call: Call, *params: Any) -> Any:
            return await self.front.call(name, *params, timeout_s=self.config.timeout_s)

        return handle

    async def _mget(self, call: Call, *params: Any) -> list[Any]:
        """All or an error; who can do with a part asks with `partial`: nil where it is missing."""
        keys, options = params_of(list(params), 1)
        only_options(options, "atomic", "partial")
        if type(keys) is not list or not 0 < len(keys) <= MAX_KEYS:
            raise RpcError("bad_request", f"mget takes a list of 1 to {MAX_KEYS} keys")
        if options.get("atomic"):
            check_one_slot(keys)
        answer = await self.scatter.mget(keys, timeout_s=self.config.timeout_s)
        if answer["missing"] and not options.get("partial"):
            raise RpcError("unavailable", f"{len(answer['missing'])} keys could not be read")
        return list(answer["values"])

    async def _scan(self, call: Call, *params: Any) -> dict[str, Any]:
        cursor, options = params_of(list(params), 1)
        known = {str(name): value for name, value in options.items()}
        return await self.scatter.scan(cursor, timeout_s=self.config.timeout_s, **known)

    async def _find(self, call: Call, *params: Any) -> dict[str, Any]:
        value, options = params_of(list(params), 1)
        only_options(options, "limit", "after")
        return await self.scatter.find(value, timeout_s=self.config.timeout_s, **options)
