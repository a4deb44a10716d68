"""The router of a kv tier: protocols/kv/words.py for clients that know nothing of slots.

It is nodes/kv/client.py behind a listener; it keeps nothing but the slot map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from nodes.base import RPC_PORT, Context
from nodes.kv.arguments import only_options, params_of
from nodes.kv.client import DEFAULT_TIMEOUT_S, KvClient
from nodes.kv.front import MAX_PARTS, Front
from nodes.kv.join import JoinQuery
from nodes.kv.scatter import Scatter
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory
from nodes.wire.service import Call, Service
from protocols.errors import RpcError
from protocols.kv import words
from protocols.kv.words import MAX_KEYS, MAX_SHARD_TIMEOUT_MS, PARTIAL, SHARD_TIMEOUT


@dataclass(frozen=True, slots=True)
class KvRouterConfig:
    """A router of the kv tier `group`."""

    group: str
    """The kv tier that it routes to: `group: kv`."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    """The time a command may take, redirects included, if its caller names none."""
    shard_timeout_s: float = 0.0
    """Above 0: how long a question to several shards waits for one of them, if it names nothing."""
    max_lag_s: float = 0.0
    """Above 0: replicas answer reads of single keys too, at most so far behind."""
    near_cache_s: float = 0.0
    """Above 0: what was read is answered again from here, for so long."""
    copies: dict[str, int] = field(default_factory=dict)
    """Hot keys of which so many copies are kept, each in a slot of its own:
    `copies: {user-1: 4}`."""
    counters: dict[str, int] = field(default_factory=dict)
    """Hot counters that are kept in so many parts, and read as their sum:
    `counters: {visits: 8}`."""

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
        service.add(words.JOIN, self._join)
        return service

    def _passing(self, name: str) -> Any:
        async def handle(call: Call, *params: Any) -> Any:
            return await self.front.call(name, *params, timeout_s=self.config.timeout_s)

        return handle

    async def _mget(self, call: Call, *params: Any) -> Any:
        """All or an error, as a list; with `partial` a map of what there is."""
        keys, options = params_of(list(params), 1)
        only_options(options, "atomic", PARTIAL, SHARD_TIMEOUT)
        if type(keys) is not list or not 0 < len(keys) <= MAX_KEYS:
            raise RpcError("bad_request", f"mget takes a list of 1 to {MAX_KEYS} keys")
        if options.get("atomic"):
            return await self.scatter.mget_atomic(keys, self.config.timeout_s)
        answer = await self.scatter.mget(keys, **self._limits(options))
        return answer if options.get(PARTIAL) else answer["values"]

    async def _join(self, call: Call, *params: Any) -> dict[str, Any]:
        query, options = JoinQuery.of(list(params), PARTIAL, SHARD_TIMEOUT)
        return await self.scatter.join(query, **self._limits(options))

    async def _scan(self, call: Call, *params: Any) -> dict[str, Any]:
        cursor, options = params_of(list(params), 1)
        return await self.scatter.scan(cursor, options, timeout_s=self.config.timeout_s)

    async def _find(self, call: Call, *params: Any) -> dict[str, Any]:
        value, options = params_of(list(params), 1)
        only_options(options, "limit", "after", PARTIAL, SHARD_TIMEOUT)
        chosen = {name: options[name] for name in ("limit", "after") if name in options}
        return await self.scatter.find(value, **chosen, **self._limits(options))

    def _limits(self, options: dict[str, Any]) -> dict[str, Any]:
        """How long the whole and each shard may take, and whether a part will do."""
        shard_timeout_ms = options.get(SHARD_TIMEOUT)
        shard_timeout_s = self.config.shard_timeout_s or None
        if shard_timeout_ms is not None:
            if (
                type(shard_timeout_ms) is not int
                or not 0 < shard_timeout_ms <= MAX_SHARD_TIMEOUT_MS
            ):
                raise RpcError(
                    "bad_request", f"`{SHARD_TIMEOUT}` is from 1 to {MAX_SHARD_TIMEOUT_MS}"
                )
            shard_timeout_s = shard_timeout_ms / 1000
        return {
            "timeout_s": self.config.timeout_s,
            "shard_timeout_s": shard_timeout_s,
            "partial": bool(options.get(PARTIAL)),
        }
