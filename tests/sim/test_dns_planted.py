"""That there is no such name, or nobody behind it, is remembered for no longer than was said: who
goes on to be told so after the name is there is found, behind a resolver or not.

Names come and go by scaling; servers and resolvers are killed, cut off and slow meanwhile.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from emu.scenario import Scenario, run
from emu.topology.loading import loads
from nodes.dns.resolver import ResolverNode
from nodes.dns.zone import Zone
from nodes.parts.dns_cache import MOST_FAILURE_S, DnsCache
from nodes.users.resolver import FAILURE_TTL_S
from nodes.wire import dns_client
from protocols import dns
from protocols.errors import RpcError
from tests.planting import Bug, Room, Script, Swap, among, each_of, hunt, listed, look_again

FOLDER = Path(__file__).parent / "planted"
NEGATIVE_TTL_S = 3.0
STORE = """
links: {defaults: {within: 0.3ms}}
tiers:
  dns: {kind: dns, nodes: 2, zone: example.test, answers: web, names: [spare], check: tcp,
        ttl: 1s, negative_ttl: 3s, check_interval: 500ms}
  resolver: {kind: resolver, asks: dns, nodes: 2}
  web: {kind: "steering:SERVER", nodes: 2}
  spare: {kind: "steering:SERVER", nodes: 1}
  people:
    {kind: "steering:ASKER", asks: resolver, nodes: 6, pause: 1500ms,
     names: [web-3.example.test, spare.example.test]}
  nerds: {kind: "steering:ASKER", asks: dns, names: [web-3.example.test, spare.example.test]}
accepts: {single-point: one of each is the lesson}
"""
KNOWN_S = 0.5
"""So long the servers may take to hear of a new node."""
WHOLE_S = 1.0
"""What is left of an answer's time is told in whole seconds, rounded up."""
FAILURE_S = MOST_FAILURE_S + FAILURE_TTL_S
"""So long, at most, a resolver and who asks it remember that nobody answered."""
NO_SUCH = ("nxdomain", "nodata")
ROUNDS = 2
OUTAGE_S = 10.0
"""What they ask is given up after three tries of two seconds."""
SOUND_SEEDS = 100
BUGS: list[Bug] = []


def bug(plant: Any) -> Any:
    return listed(BUGS, Bug)(plant)


class Span(NamedTuple):
    """While a name is there."""

    label: str
    came_s: float
    well_s: float
    """Until then all servers are, too."""
    gone_s: float


# --- what is judged ----------------------------------------------------------------------------


def anomaly(seed: int) -> str:
    """Who was told for too long that there is nobody; "" if none was."""

    async def script(c: Scenario) -> str:
        rng = random.Random(f"{seed}/planted")
        await c.sleep(1.0)
        spans: list[Span] = []
        for number in range(ROUNDS):
            await c.scale("spare", 0)
            await c.sleep(rng.uniform(1.5, 10.0))
            over_s = await _break(c, rng)
            came = []
            for name, tier, nodes in (("web-3", "web", 3), ("spare", "spare", 1)):
                await c.scale(tier, nodes)
                came.append((name, max(c.now_s, over_s)))
            await c.sleep(max(0.0, over_s - c.now_s) + KNOWN_S + FAILURE_S + 2 * WHOLE_S)
            well_s = c.now_s
            if number and rng.random() < 0.5:
                await c.kill("dns", for_s=OUTAGE_S)
                await c.sleep(OUTAGE_S)
            spans += [Span(name, came_s, well_s, c.now_s) for name, came_s in came]
            await c.scale("web", 2)
            await c.sleep(rng.uniform(0.0, 2.0))
        answers = {**await c.call_admin("people", "heard"), **await c.call_admin("nerds", "heard")}
        for who, heard in answers.items():
            for asked_s, told_s, name, why in heard:
                found = _too_late(asked_s, told_s, name, why, spans)
                if found:
                    return f"{who} {found}"
        summary = await c.finish()
        return str(summary["anomalies"][0]["text"]) if summary["anomalies"] else ""

    try:
        return run(script, loads(STORE, path=FOLDER / "names.yaml"), seed=seed)
    except (AssertionError, RpcError, TimeoutError, ExceptionGroup) as error:
        return repr(error)


def _too_late(asked_s: float, told_s: float, name: str, why: str, spans: list[Span]) -> str:
    """Whether somebody who asked once what was remembered must be over had no address."""
    for span in spans:
        kept_s = NEGATIVE_TTL_S if why in NO_SUCH else FAILURE_S
        until_s = span.gone_s if why in NO_SUCH else span.well_s
        forgotten_s = span.came_s + KNOWN_S + kept_s + WHOLE_S
        if why and name.startswith(f"{span.label}.") and forgotten_s <= asked_s <= told_s < until_s:
            late_s = told_s - span.came_s
            return f"was told {why} of {name}, {late_s:.2f} s after it was there"
    return ""


async def _break(c: Scenario, rng: random.Random) -> float:
    """Of two servers and two resolvers one is away when the name comes, or they are slow; when that
    is over. Until then a server may not have heard who is there."""
    name, for_s = rng.choice(("dns-1", "dns-2", "resolver-1")), round(rng.uniform(0.2, 3.0), 3)
    match rng.choice(("none", "kill", "pause", "cut", "slow")):
        case "none":
            return c.now_s
        case "kill":
            await c.kill(name, for_s=for_s)
        case "pause":
            await c.pause(name, for_s=for_s)
        case "cut":
            await c.partition("people", name, for_s=for_s)
        case "slow":
            await c.slow(name, latency_s=rng.uniform(0.01, 0.2), for_s=for_s)
    return c.now_s + for_s


# --- what is planted ---------------------------------------------------------------------------


@bug
def _kept_as_an_address(swap: Swap) -> None:
    """that there is no such name is remembered for a minute, whatever its zone says"""
    sound = dns.decode_response

    def decode_response(wire: bytes) -> Any:
        response = sound(wire)
        return response if response.addresses else replace(response, ttl_s=60)

    swap.setattr(dns_client.dns, "decode_response", decode_response)


@bug
def _never_grows_old(swap: Swap) -> None:
    """a resolver hands on that there is no such name as if it had just heard so"""
    sound = dns.relay

    def relay(stored: bytes, query: Any, age_s: int, *more: Any, **options: Any) -> bytes:
        return sound(stored, query, 0, *more, **options)

    swap.setattr(dns, "relay", relay)


@bug
def _replies_of_before(swap: Swap) -> None:
    """a server goes on to give the replies that it had ready before somebody came"""
    sound = Zone.set_members

    def set_members(self: Any, *arguments: Any) -> None:
        version = self.version
        sound(self, *arguments)
        self.version = version

    swap.setattr(Zone, "set_members", set_members)


@bug
def _failures_are_answers(swap: Swap) -> None:
    """a resolver that heard nobody says that there is no such name"""
    sound = ResolverNode._resolve

    async def resolve(self: Any, query: Any, limit: int) -> bytes:
        reply = await sound(self, query, limit)
        if dns.rcode_of(reply) == dns.SERVFAIL:
            return dns.failure(query, dns.NXDOMAIN)
        return reply

    swap.setattr(ResolverNode, "_resolve", resolve)


@bug
def _kept_while_asked(swap: Swap) -> None:
    """that there is no such name is remembered for as long as somebody goes on to ask"""
    sound = DnsCache.get

    def get(self: Any, question: Any, span: Any, now_s: float) -> Any:
        entry = sound(self, question, span, now_s)
        if entry is None or getattr(entry.value, "addresses", ("",)):
            return entry
        return self.put(question, entry.value, now_s, entry.expires_s - entry.stored_s)

    swap.setattr(DnsCache, "get", get)


SAMPLE = (
    "a server goes on to give the replies that it had ready before somebody came",
    "a resolver hands on that there is no such name as if it had just heard so",
)
"""What CI looks for."""
SCRIPT = Script(anomaly)
ROOM = Room("dns", among(BUGS, SAMPLE), lambda bug: [SCRIPT])


@each_of(ROOM.bugs)
def test_a_planted_bug_of_names_is_found(bug: Bug) -> None:
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(BUGS)
def test_it_is_found_from_the_first_seed_on(bug: Bug) -> None:
    hunt(bug, SCRIPT.finds)


@pytest.mark.soak
def test_nobody_is_told_so_for_too_long_by_the_true_code() -> None:
    assert SCRIPT.alarms(SOUND_SEEDS) == []
