"""What a client gets for asking wrongly, over the wire: a clear code, definite or not as it is.

The checks of params are in tests/nodes/kv/test_commands.py; here are those that need a cluster.
"""

from __future__ import annotations

from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.base import RPC_PORT
from nodes.wire.client import Client
from protocols.errors import RpcError
from protocols.hashing.slots import slot_of
from protocols.kv import words as kv

STORE = """
links: {defaults: {within: 0.3ms}}
tiers: {kv: {kind: kv, public: true, shards: 2, replicas: 0, coordinators: 1}}
"""
FUTURE = 10**9
BIG = "x" * (kv.MAX_VALUE_BYTES + 1)
REFUSED = [
    ("no_such_method", "fly", ["k"]),
    ("no_such_method", "move.fly", []),
    ("bad_request", "get", []),
    ("bad_request", "get", ["k", "k"]),
    ("bad_request", "get", [7]),
    ("bad_request", "set", ["k", None]),
    ("bad_request", "incr", []),
    ("bad_request", "mget", ["k"]),
    ("bad_request", "mget", [[["k"]]]),
    ("bad_request", "mget", [[{}]]),
    ("bad_request", "scan", ["", {"timeout_s": 3}]),
    ("bad_request", "find", ["ada", {"after": 3}]),
    ("wrong_type", "incr", ["text"]),
    ("wrong_type", "append", ["text", [1]]),
    ("wrong_type", "read", ["text", "field"]),
    ("too_large", "get", ["k" * (kv.MAX_KEY_BYTES + 1)]),
    ("too_large", "set", ["k", BIG]),
    ("too_large", "append", ["text", BIG[:-3]]),
    ("crossslot", "transact", [[["incr", "a"], ["incr", "b"]]]),
    ("crossslot", "mget", [["a", "b"], {"atomic": True}]),
    ("refused", "find", ["ada"]),
]
AT_ROUTERS = [
    ("bad_request", "mget", [["a"], {"shard_timeout_ms": 0}]),
    ("bad_request", "mget", [["a"], {"shard_timeout_ms": "5"}]),
    ("bad_request", "mget", [["a"], {"patience": 5}]),
    ("crossslot", "join", [{"prefix": "a"}, {"to": "b*"}, {"atomic": True}]),
    ("bad_request", "join", [{"prefix": "a"}, {"to": "b"}]),
]


def sim(script: Any) -> Any:
    return run(script, loads(STORE), seed=3)


async def clients(c: Scenario) -> tuple[Client, Client]:
    """Of the router, and of the shard that has `text`."""
    for _ in range(100):
        try:
            await c.call("kv", "set", "text", "words")
            break
        except RpcError:
            await c.sleep(0.1)
    shard = f"kv-shard-{1 + (slot_of('text') >= 8192)}"
    (name,) = await c.resolve(shard)
    operator = c.cluster.operator
    return operator.client("kv-router-1", RPC_PORT), operator.client(name, RPC_PORT)


async def code_of(client: Client, method: str, *params: Any, **options: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await client.call(method, *params, **options)
    assert caught.value.message, (method, caught.value.code)
    return caught.value


def test_every_wrong_question_has_a_definite_code_at_the_router_and_at_a_shard() -> None:
    async def script(c: Scenario) -> None:
        router, shard = await clients(c)
        for code, method, params in [*REFUSED, *AT_ROUTERS]:
            error = await code_of(router, method, *params)
            assert (error.code, error.definite) == (code, True), (method, params, error)
        for code, method, params in REFUSED:
            error = await code_of(shard, method, *params)
            wanted = (code, "moved") if code != "no_such_method" else (code,)
            assert error.code in wanted and error.definite, (method, params, error)
        assert await router.call("get", "text") == "words"
        assert await shard.call("get", "text") == "words"

    sim(script)


def test_a_map_or_an_epoch_from_the_future_is_not_believed() -> None:
    async def script(c: Scenario) -> None:
        router, shard = await clients(c)
        (coordinator,) = await c.resolve("kv-coordinator")
        maps = c.cluster.operator.client(coordinator, RPC_PORT)
        error = await code_of(maps, "map", FUTURE, 100)
        assert (error.code, error.definite) == ("unavailable", True)
        for method, params in (("get", ["text"]), ("set", ["text", "other"])):
            error = await code_of(shard, method, *params, epoch=FUTURE)
            assert (error.code, error.definite) == ("stale_epoch", True)
            assert error.details[0] < FUTURE
        assert await router.call("get", "text") == "words"

    sim(script)


def test_a_deadline_that_is_over_is_definite_and_one_that_ends_meanwhile_is_not() -> None:
    async def script(c: Scenario) -> None:
        router, shard = await clients(c)
        operator = c.cluster.operator
        for client in (router, shard):
            error = await code_of(client, "set", "text", "late", timeout_s=0.0)
            assert (error.code, error.definite) == ("expired", True)
            plain = Client(operator.ctx, c.cluster.nursery, client.host, hello=False)
            await plain.call("hello", {})
            error = await code_of(plain, "set", "text", "late", {"remaining_ms": 0})
            assert (error.code, error.definite) == ("expired", True)
        assert await router.call("get", "text") == "words"
        async with await c.pause("kv-shard-1,kv-shard-2"):
            error = await code_of(router, "set", "text", "perhaps", timeout_s=0.3)
            assert (error.code, error.definite) == ("timeout", False)
        await c.sleep(1)
        assert await router.call("get", "text") in ("words", "perhaps")

    sim(script)
