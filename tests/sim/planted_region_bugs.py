"""Bugs of DNS, its resolvers and data over distance, as somebody might have written them.

Each is a function whose docstring says what is wrong; the timeline, load and verdict of
tests/sim/planted/regions.yaml must find it. How they are hunted is test_regions_planted.py's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nodes import checking
from nodes.dns import resolver, steering
from nodes.dns.node import DnsNode
from nodes.parts import dns_cache
from nodes.sql import database
from nodes.users import resolver as users_resolver
from nodes.wire import dns_client
from protocols import dns
from protocols.replication.lease import Lease
from protocols.replication.quorum import AckRule
from tests.planting import Bug, Swap, listed

BUGS: list[Bug] = []


bug = listed(BUGS, Bug)
"""List the function under its docstring."""


@bug
def _scope_ignored(swap: Swap) -> None:
    """a resolver gives what one network was told to all others"""
    swap.setattr(dns_cache, "_holds_for", lambda entry, asked: True)


@bug
def _ttl_ignored(swap: Swap) -> None:
    """a resolver keeps addresses for a day"""
    sound = dns_cache.DnsCache.put

    def put(self: Any, question: Any, value: Any, now_s: float, ttl_s: float, *more: Any) -> Any:
        return sound(self, question, value, now_s, max(ttl_s, 86400.0), *more)

    swap.setattr(dns_cache.DnsCache, "put", put)


@bug
def _negative_ttl_of_the_refresh(swap: Swap) -> None:
    """that there is no such name is kept for the zone's refresh time"""
    sound = dns.decode_response

    def decode_response(wire: bytes) -> dns.Response:
        found = sound(wire)
        return found if found.addresses else replace(found, ttl_s=3600)

    swap.setattr(dns, "decode_response", decode_response)


@bug
def _hung_members_kept(swap: Swap) -> None:
    """a check that gets no answer in time has not failed"""
    sound = checking.Prober.probe

    async def probe(self: Any, host: str, port: int) -> str:
        why = await sound(self, host, port)
        return "" if why.startswith("no answer") else why

    swap.setattr(checking.Prober, "probe", probe)


@bug
def _health_ignored(swap: Swap) -> None:
    """addresses are given whatever the checks say"""
    swap.setattr(DnsNode, "_healthy", lambda self, member: True)


@bug
def _all_unhealthy_answers_nothing(swap: Swap) -> None:
    """where no member is healthy, there is no answer"""

    def choose(self: Any, members: Any, asker: str, rng: Any, healthy: Any, *more: Any) -> Any:
        turn = steering._Turn(members, healthy, asker, rng, *more, self.policies)
        return turn.give(self.root) or turn.all_usable()

    swap.setattr(steering.Steering, "choose", choose)


@bug
def _own_region_last(swap: Swap) -> None:
    """the nearest region is the one that is farthest"""
    sound = steering._Turn._preference

    def preference(self: Any, policy: Any) -> Any:
        return reversed([each for each in sound(self, policy) if each in self._regions()])

    swap.setattr(steering._Turn, "_preference", preference)


@bug
def _replies_outlive_a_change(swap: Swap) -> None:
    """a reply that was composed before a member failed is given afterwards"""
    swap.setattr(DnsNode, "_forget_old_replies", lambda self: None)


@bug
def _only_the_first_server_is_asked(swap: Swap) -> None:
    """a resolver asks no other server when the first is dead"""
    sound = dns_client.DnsClient._in_order
    swap.setattr(dns_client.DnsClient, "_in_order", lambda self: sorted(sound(self), key=len)[:1])
    swap.setattr(dns_client, "SHUN_S", 0.0)


@bug
def _failures_kept_for_ever(swap: Swap) -> None:
    """that nobody answered is remembered for an hour"""
    swap.setattr(users_resolver, "FAILURE_TTL_S", 3600.0)
    swap.setattr(dns_client, "TRIES", 1)


@bug
def _quorum_of_one_region(swap: Swap) -> None:
    """a write is acknowledged when the primary's own region has it"""
    sound = database.AckRule.parse

    def parse(text: str) -> AckRule:
        return sound("local" if text == "quorum" else text)

    swap.setattr(AckRule, "parse", staticmethod(parse))


@bug
def _stale_primary_serves(swap: Swap) -> None:
    """a primary that is cut off serves until it hears of another"""
    swap.setattr(Lease, "holds", lambda self, now_s: True)
    swap.setattr(Lease, "ends_s", property(lambda self: float("inf")))


@bug
def _region_forgotten_on_the_way(swap: Swap) -> None:
    """a resolver asks for its own region, wherever its clients are"""
    swap.setattr(resolver, "_shortened", lambda subnet: None)
