"""Each server of a balancer has its weight's share, whatever was broken before: where nothing
changes, what connections it gets is judged by the algorithm's promise.

Round robin is exact; hashes are as fair as dice, so their bounds are the binomial's: one sound run
of a million is outside. The least loaded is held to its share of connections that all last as long.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from math import comb
from pathlib import Path
from typing import Any

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.parts.picking import LeastConn, Maglev, RoundRobin, SourceHash
from nodes.parts.pool import Pool
from nodes.parts.server import Server
from protocols.errors import RpcError
from protocols.hashing.slots import MaglevBuilder, hash64
from tests.planting import Bug, Room, Script, Swap, among, each_of, hunt, listed, look_again

FOLDER = Path(__file__).parent / "planted"
WEIGHTS = {"web-1": 5, "web-2": 2, "web-3": 1, "web-4": 0}
ALGORITHMS = ("roundrobin", "source", "maglev", "least_conn")
HASHES = ("source", "maglev")
STORE = """
links: {defaults: {within: 0.3ms}}
tiers:
  lb:
    {kind: balancer, public: true, balances: web, algorithm: ALGORITHM, hash_on: address_port,
     weights: {web-1: 5, web-2: 2, web-3: 1, web-4: 0}, check: tcp, check_interval: 300ms,
     check_fast_interval: 100ms, rise: 2, fall: 2, slow_start: 500ms, ejection_time: 300ms}
  web: {kind: "steering:SERVER", nodes: 4}
  caller: {kind: "steering:CALLER", asks: lb}
accepts: {single-point: one balancer is the lesson}
"""
SETTLED_S = 2.5
ROUNDS = 3
CONNECTIONS = 192
AT_ONCE = 16
MOST_ALARMS = 1e-6
"""Of sound runs."""
TABLE_ERROR = 0.01
"""How far a share of Maglev's table may be from its weight's."""
BUGS: list[Bug] = []


def bug(plant: Any) -> Any:
    return listed(BUGS, Bug)(plant)


# --- what is judged ----------------------------------------------------------------------------


def anomaly(seed: int) -> str:
    """What is wrong with somebody's share, after one thing or another was broken; "" if nothing."""
    algorithm = ALGORITHMS[seed % len(ALGORITHMS)]

    async def script(c: Scenario) -> str:
        rng = random.Random(f"{seed}/planted")
        await c.sleep(1.0)
        for number in range(ROUNDS):
            if number:
                await _break(c, rng)
            await c.sleep(SETTLED_S)
            found = await _unfair(c, algorithm)
            if found:
                return found
        summary = await c.finish()
        return str(summary["anomalies"][0]["text"]) if summary["anomalies"] else ""

    topology = loads(STORE.replace("ALGORITHM", algorithm), path=FOLDER / "shares.yaml")
    try:
        return run(script, topology, seed=seed)
    except (AssertionError, RpcError, TimeoutError, ExceptionGroup) as error:
        return repr(error)


async def _break(c: Scenario, rng: random.Random) -> None:
    """Somebody is gone for a while, or has no new connections, while others are asked for."""
    name, for_s = rng.choice(list(WEIGHTS)), rng.uniform(0.2, 2.0)
    match rng.choice(("kill", "crash", "pause", "cut", "drain", "maint", "scale", "scale")):
        case "kill":
            await c.kill(name, for_s=for_s)
        case "crash":
            await c.crash(name, for_s=for_s)
        case "pause":
            await c.pause(name, for_s=for_s)
        case "cut":
            await c.partition("lb", name, for_s=for_s)
        case "scale":
            await c.scale("web", rng.choice((1, 1, 2, 6)))
        case state:
            await c.call_admin("lb", "set_state", name, state)
    await c.call_admin("caller", "ask", rng.randint(1, 64), AT_ONCE)
    await c.sleep(for_s)
    if any(row["state"] != "ready" for row in await _servers(c)):
        for row in await _servers(c):
            await c.call_admin("lb", "set_state", row["name"], "ready")
    await c.scale("web", len(WEIGHTS))


async def _servers(c: Scenario) -> list[dict[str, Any]]:
    answers = await c.call_admin("lb", "servers")
    return list(answers["lb-1"])


async def _unfair(c: Scenario, algorithm: str) -> str:
    """What is wrong with the shares, if nothing changed while they were taken."""
    before = {each["name"]: (each["state"], each["ejected"]) for each in await _servers(c)}
    answers = Counter((await c.call_admin("caller", "ask", CONNECTIONS, AT_ONCE))["caller-1"])
    after = {each["name"]: (each["state"], each["ejected"]) for each in await _servers(c)}
    if before != after:
        return ""
    used = {name: WEIGHTS[name] for name, state in after.items() if state == ("ready", False)}
    if set(used) != set(WEIGHTS):
        return f"after {SETTLED_S:g} s not all are used: {after}"
    return misshared(answers, used, algorithm)


def misshared(answers: Mapping[str, int], weights: Mapping[str, int], algorithm: str) -> str:
    """Who had another share than its weight's, if anybody; "" if none."""
    asked, whole = sum(answers.values()), sum(weights.values())
    if strangers := set(answers) - {name for name, weight in weights.items() if weight}:
        return f"{sorted(strangers)} had connections, and have no weight"
    for name, weight in weights.items():
        share, had = weight / whole, answers.get(name, 0)
        least, most = bounds(asked, share, algorithm, len(weights))
        if not least <= had <= most:
            return f"{name} had {had} of {asked}; by its weight it has {least} to {most}"
    return ""


def bounds(asked: int, share: float, algorithm: str, servers: int) -> tuple[int, int]:
    if algorithm not in HASHES:
        slack = servers if algorithm == "roundrobin" else AT_ONCE
        return int(asked * share) - slack, int(asked * share) + slack
    alarm = MOST_ALARMS / (2 * servers * ROUNDS)
    error = TABLE_ERROR if algorithm == "maglev" and 0 < share < 1 else 0.0
    least = _quantile(asked, max(0.0, share - error), alarm)
    return least, asked - _quantile(asked, max(0.0, 1 - share - error), alarm)


def _quantile(asked: int, share: float, alarm: float) -> int:
    """So few, or fewer, come with a chance of less than `alarm`: one more is the least."""
    chance = 0.0
    for had in range(asked + 1):
        chance += comb(asked, had) * share**had * (1 - share) ** (asked - had)
        if chance >= alarm:
            return had
    return asked


# --- what is planted ---------------------------------------------------------------------------


@bug
def _none_is_one(swap: Swap) -> None:
    """a server of no weight has the weight that others have who say nothing"""
    sound = Pool._add

    def add(self: Any, member: Any) -> Server:
        server = sound(self, member)
        server.weight = server.weight or 1
        return server

    swap.setattr(Pool, "_add", add)


@bug
def _weight_left_behind(swap: Swap) -> None:
    """a server that comes back from the directory has lost its weight"""
    sound = Pool._add

    def add(self: Any, member: Any) -> Server:
        server = sound(self, member)
        if member.generation > 1 and server.weight:
            server.weight = 1
        return server

    swap.setattr(Pool, "_add", add)


@bug
def _hashed_by_heads(swap: Swap) -> None:
    """a hash chooses among servers, not among their weights"""

    def pick(self: Any, candidates: Any, key: str, now_s: float) -> Any:
        return candidates[hash64(key) % len(candidates)]

    swap.setattr(SourceHash, "pick", pick)


@bug
def _table_of_equals(swap: Swap) -> None:
    """a lookup table gives all servers the same number of entries"""

    def changed(self: Any, servers: Any) -> None:
        names = sorted(each.name for each in servers)
        self._builder = MaglevBuilder(names, dict.fromkeys(names, 1))

    swap.setattr(Maglev, "changed", changed)


@bug
def _table_of_before(swap: Swap) -> None:
    """a lookup table is not made again when servers come back"""
    sound = Maglev.changed

    def changed(self: Any, servers: Any) -> None:
        if not self._table or len(servers) < len(self._names):
            sound(self, servers)

    swap.setattr(Maglev, "changed", changed)


@bug
def _turns_not_paid(swap: Swap) -> None:
    """whose turn it was pays its own weight for it, not everybody's"""

    def pick(self: Any, candidates: Any, key: str, now_s: float) -> Any:
        for server in candidates:
            server.credit += server.effective_weight(now_s, self._slow_start_s)
        best = max(candidates, key=lambda server: server.credit)
        best.credit -= best.effective_weight(now_s, self._slow_start_s)
        return best

    swap.setattr(RoundRobin, "pick", pick)


@bug
def _load_by_heads(swap: Swap) -> None:
    """the least loaded is who has the fewest connections, whatever its weight"""

    def pick(self: Any, candidates: Any, key: str, now_s: float) -> Any:
        return min(candidates, key=lambda server: (server.load, server.picked))

    swap.setattr(LeastConn, "pick", pick)


SAMPLE = (
    "a server of no weight has the weight that others have who say nothing",
    "whose turn it was pays its own weight for it, not everybody's",
)
"""What CI looks for."""
SCRIPT = Script(anomaly)
ROOM = Room("balancer", among(BUGS, SAMPLE), lambda bug: [SCRIPT])
SOUND_SEEDS = 100


@each_of(ROOM.bugs)
def test_a_planted_bug_of_weights_is_found(bug: Bug) -> None:
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(BUGS)
def test_it_is_found_from_the_first_seed_on(bug: Bug) -> None:
    hunt(bug, SCRIPT.finds)


@pytest.mark.soak
def test_shares_are_as_promised_in_the_true_code() -> None:
    assert SCRIPT.alarms(SOUND_SEEDS) == []


def test_bounds_are_those_of_dice() -> None:
    """Of 192 throws of a fair coin, about 60 to 132 are heads, but for one time in 24 million."""
    least, most = bounds(192, 0.5, "source", 4)
    assert (least, most) == (192 - most, 192 - least)
    assert 58 <= least <= 64
    assert bounds(192, 0.0, "source", 4) == (0, 0)
    assert bounds(192, 5 / 8, "roundrobin", 4) == (116, 124)
