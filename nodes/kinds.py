"""The table of kinds: what a tier's `kind:` stands for. One line each; nothing else is here."""

from __future__ import annotations

from typing import Final

from nodes import clients, web
from nodes.autoscaler import kind as autoscaler
from nodes.balancer import kind as balancer
from nodes.cache import kind as cache
from nodes.cdn import kind as cdn
from nodes.dns import kind as dns
from nodes.kind import Kind
from nodes.kv import kind as kv
from nodes.queue import kind as queue
from nodes.sql import database
from nodes.users import kind as users
from nodes.worker import kind as worker

KINDS: Final[dict[str, Kind]] = {
    "autoscaler": autoscaler.KIND,
    "balancer": balancer.KIND,
    "cache": cache.CACHE,
    "cache_gutter": cache.GUTTER,
    "cdn": cdn.KIND,
    "clients": clients.KIND,
    "database": database.KIND,
    "dns": dns.KIND,
    "kv": kv.STORE,
    "kv_coordinator": kv.COORDINATOR,
    "kv_router": kv.ROUTER,
    "kv_shard": kv.SHARD,
    "queue": queue.QUEUE,
    "queue_broker": queue.BROKER,
    "queue_front": queue.FRONT,
    "resolver": dns.RESOLVER,
    "users": users.KIND,
    "web": web.KIND,
    "worker": worker.KIND,
}
