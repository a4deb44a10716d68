"""What a zone answers: which names exist, and which members' addresses an asker gets. Pure.

`Steering` holds the policies (latency, geolocation, weighted, failover); health is only read here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Literal, get_args

from protocols import dns
from protocols.control import Member

PolicyName = Literal["latency", "geolocation", "weighted", "failover"]
POLICIES: Final[tuple[str, ...]] = get_args(PolicyName)
DEFAULT_PLACE: Final = "default"
SERVER: Final = "ns"
"""The zone's own server, by name."""
ZONE_TRANSFERS: Final = (251, 252)


@dataclass(frozen=True, slots=True)
class Steering:
    """Which region's members an asker is sent to."""

    policy: str = "latency"
    near: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For an asker's region, the regions to send it to, the best first (`default` for others).
    Unsaid: its own region, then all."""
    weights: Mapping[str, int] = field(default_factory=dict)
    order: Sequence[str] = ()

    def choose(
        self, members: Sequence[Member], asker: str, rng: random.Random
    ) -> tuple[Member, ...]:
        """The members to answer with: all of the first region that has any.
        `members` is never empty."""
        regions = list(dict.fromkeys(member.region for member in members))
        for region in self._preference(regions, asker, rng):
            chosen = tuple(member for member in members if member.region == region)
            if chosen:
                return chosen
        return tuple(members)

    def _preference(self, regions: list[str], asker: str, rng: random.Random) -> Sequence[str]:
        match self.policy:
            case "failover":
                return self.order or regions
            case "weighted":
                weights = [self.weights.get(region, 0 if self.weights else 1) for region in regions]
                if sum(weights) > 0:
                    return rng.choices(regions, weights)
                return ()
        return self.near.get(asker) or self.near.get(DEFAULT_PLACE) or (asker,)


class Zone:
    """The names of one zone. `www`, the apex and the tier's name answer with the tier that
    `answers` names; other tiers and single nodes answer with themselves."""

    def __init__(
        self,
        name: str,
        answers: str,
        *,
        server_address: str,
        ttl_s: int,
        max_answers: int,
        steering: Steering,
        rng: random.Random,
    ) -> None:
        """`name`: canonical, as in protocols/dns.py."""
        self.name = name
        self._labels = tuple(name.split("."))
        self.answers = answers
        self.server_address = server_address
        self.ttl_s = ttl_s
        self.max_answers = max_answers
        self.steering = steering
        self.version = 1
        self._rng = rng
        self._turns: dict[str, int] = {}
        self._tiers: dict[str, tuple[Member, ...]] = {}
        self._nodes: dict[str, Member] = {}
        self._regions: dict[str, str] = {}

    def set_members(self, tier: str, members: Sequence[Member]) -> None:
        """These are now the members of a tier that has names in this zone."""
        self._tiers[tier.lower()] = tuple(members)
        self._nodes = {
            member.name.lower(): member for each in self._tiers.values() for member in each
        }
        self._turns.clear()
        self._regions = {member.address: member.region for member in self._nodes.values()}
        self.version += 1

    def changed(self) -> None:
        """Someone's health changed: answers given before may be wrong now."""
        self.version += 1

    def region_of(self, address: str) -> str:
        """The region of a node of ours that has this address, else empty."""
        return self._regions.get(address, "")

    def region_within(self, subnet: IPv4Network | IPv6Network) -> tuple[str, int]:
        """The region of our nodes in a client's subnet (of most of them; empty where there is
        none), and the length of the prefix for which that holds: longer than the subnet's own where
        it holds for a part of it only."""
        inside: dict[str, int] = {}
        for address, region in self._regions.items():
            if ip_address(address) in subnet:
                inside[region] = inside.get(region, 0) + 1
        region = max(inside, key=lambda each: inside[each], default="")
        return region, subnet.max_prefixlen if len(inside) > 1 else subnet.prefixlen

    def answer(
        self, query: dns.Query, asker: str, healthy: Callable[[Member], bool]
    ) -> tuple[dns.Answer, str]:
        """What to say to an asker of that region, and the region it is sent to (if any)."""
        labels = query.labels
        front, back = labels[: -len(self._labels)], labels[-len(self._labels) :]
        if back != self._labels or query.rdclass != 1 or query.rdtype in ZONE_TRANSFERS:
            return dns.Answer(dns.REFUSED), ""
        if not front and query.rdtype in (dns.SOA, dns.NS):
            return dns.Answer(apex_type=query.rdtype, ttl_s=self.ttl_s), ""
        label = ".".join(front)
        members = self._members(label)
        if members is None or any("." in part for part in front):
            return dns.Answer(dns.NXDOMAIN), ""
        if query.rdtype not in (dns.A, dns.ANY):
            return dns.Answer(), ""
        if label == SERVER:
            return dns.Answer(addresses=(self.server_address,), ttl_s=self.ttl_s), ""
        if not members:
            return dns.Answer(), ""
        usable = [member for member in members if healthy(member)] or list(members)
        chosen = self.steering.choose(usable, asker, self._rng)
        addresses = self._rotated(label, [member.address for member in chosen])
        return dns.Answer(addresses=addresses, ttl_s=self.ttl_s), chosen[0].region

    def _members(self, label: str) -> tuple[Member, ...] | None:
        """The members behind a name; None if there is no such name."""
        if label in ("", "www", self.answers.lower()):
            return self._listed(self.answers.lower())
        if label in self._tiers:
            return self._listed(label)
        node = self._nodes.get(label)
        if node is not None:
            return (node,)
        below = any(each.endswith(f".{label}") for each in (*self._tiers, *self._nodes))
        return () if label == SERVER or below else None  # what is between exists, and has nothing

    def _listed(self, tier: str) -> tuple[Member, ...]:
        members = self._tiers.get(tier, ())
        return tuple(each for each in members if each.ready and not each.draining)

    def _rotated(self, label: str, addresses: list[str]) -> tuple[str, ...]:
        """Each answer begins with another address. Labels are bounded: only names that exist."""
        turn = self._turns[label] = self._turns.get(label, -1) + 1
        at = turn % len(addresses)
        return tuple((addresses[at:] + addresses[:at])[: self.max_answers])
