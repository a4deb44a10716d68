"""The URLs of a cluster's doors: which one a target gives, and what is said where there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import trio

import emu
from emu.model.topology import Topology
from emu.running.targets import TargetError
from emu.topology.loading import loads
from nodes.base import Context
from nodes.kind import HTTP, RPC, Kind, Port
from nodes.kinds import KINDS

PLAN = """
tiers:
  dns: {kind: dns, public: true, zone: example.test, answers: lb}
  lb: {kind: balancer, public: true, balances: web}
  web: {kind: web, nodes: 2, uses: db}
  db: {kind: database}
  kv: {kind: kv, public: true, replicas: 0, coordinators: 1}
  asker: {kind: clients, asks: kv, workload: register}
"""


@dataclass(frozen=True)
class StoreConfig:
    pass


class Store:
    def __init__(self, ctx: Context, config: StoreConfig) -> None:
        self.ctx = ctx

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()


REDIS = Port("redis", 6379, ("redis",))
SQS = Port("sqs", 9324, ("http",))
BACK = Port("back", 7001, public=False)
STORE = Kind(StoreConfig, Store, (RPC, REDIS, SQS, BACK))
STORES = loads(
    "tiers: {cache: {kind: store, nodes: 2, public: true}, inner: {kind: store}}",
    kinds={"store": STORE},
)


def told(of: Topology, *asked: str, killed: str = "") -> list[str]:
    """For each `words --door`: the URL, or why there is none."""

    async def script(c: emu.Scenario) -> list[str]:
        if killed:
            await c.kill(killed)
        answers = []
        for each in asked:
            words, _, door = each.partition(" --")
            try:
                answers.append(await c.url(words, door))
            except TargetError as error:
                answers.append(str(error))
        return answers

    return emu.run(script, of)


def test_a_target_gives_the_url_of_its_main_door_or_of_the_one_asked_for() -> None:
    asked = ("dns", "dns --rpc", "lb", "lb-1 --http", "lb --rpc", "kv")
    assert told(loads(PLAN), *asked) == [
        "dns://10.0.1.0:5300",
        "rpc://10.0.1.0:5300",
        "http://10.0.1.1:8080/",
        "http://10.0.1.1:8080/",
        "rpc://10.0.1.1:8080",
        "rpc://10.0.1.7:7000",
    ]


def test_a_door_beside_the_main_one_has_its_own_name_number_and_scheme() -> None:
    assert told(STORES, "cache --redis", "cache --sqs", "cache --http") == [
        "redis://10.0.1.0:6379",
        "http://10.0.1.0:9324/",
        "http://10.0.1.0:9324/",  # what it speaks names a door too
    ]


def test_a_tier_gives_the_url_of_a_node_that_runs() -> None:
    assert told(STORES, "cache", killed="cache-1") == ["rpc://10.0.1.1:7000"]
    assert told(STORES, "cache", killed="cache") == ["cache-1 is killed; `emu start cache-1`"]


def test_a_door_that_is_not_there_is_told_with_those_that_are() -> None:
    none, nearly = told(STORES, "cache --postgres", "cache --redi")
    assert none == "`cache` has no door `postgres`; choose from rpc, redis, sqs, back, http"
    assert nearly == "`cache` has no door `redi`; did you mean `redis`?"


def test_who_is_private_is_told_with_what_to_declare_and_who_is_not() -> None:
    assert told(STORES, "inner", "cache --back") == [
        "`inner` is private: give tier `inner` `public: true` to open it; "
        "from outside one reaches cache",
        "the door `back` of `cache` is private: it is for tiers that declare an edge to `cache` "
        "(open to the outside: rpc, redis, sqs, http)",
    ]


def test_who_nobody_can_dial_says_so() -> None:
    database, member, asker, header = told(
        loads(PLAN), "db primary", "kv-shard-1", "asker", "lb --proxy"
    )
    assert database.startswith("`db primary` is private: give tier `db` `public: true`")
    assert member == "`kv-shard-1` is private; from outside one reaches dns, lb, kv-router"
    assert asker == "`asker` has no door: nobody can dial it"
    assert header == "`lb` has no door `proxy`; choose from http, rpc"


def test_ports_of_one_kind_have_names_and_numbers_of_their_own() -> None:
    with pytest.raises(ValueError, match="two ports of a kind have one number"):
        replace(STORE, ports=(RPC, Port("other", RPC.number)))
    with pytest.raises(ValueError, match="two ports of a kind have one name"):
        replace(STORE, ports=(RPC, Port("rpc", 7001)))
    with pytest.raises(ValueError, match="7900"):
        Port("mine", 7900)
    with pytest.raises(ValueError, match="speaks nothing"):
        Port("mine", 7001, ())


def test_web_ports_are_one_record() -> None:
    assert KINDS["web"].ports == KINDS["balancer"].ports == (HTTP,)
