"""What a zone answers: which names exist, and whose addresses they give. Which of them an asker
gets is steering.py's. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from nodes.dns.networks import Networks
from nodes.dns.steering import Steering
from protocols import dns
from protocols.control import Member

SERVER: Final = "ns"
"""The zone's own server, by name."""
FAR: Final = float("inf")
"""Of a region that nobody has measured."""


class Given(NamedTuple):
    """An answer, and how it came about."""

    answer: dns.Answer
    region: str = ""
    """Whose addresses it gives, if any."""
    is_steered: bool = False
    """Whether a policy decided, so that another asker may hear something else."""


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
        networks: Networks,
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
        self.networks = networks
        self._distances: dict[str, float] = {}
        self.version = 1
        self._rng = rng
        self._turns: dict[str, int] = {}
        self._tiers: dict[str, tuple[Member, ...]] = {}
        self._nodes: dict[str, Member] = {}

    def set_members(self, tier: str, members: Sequence[Member]) -> None:
        """These are now the members of a tier that has names in this zone."""
        self._tiers[tier.lower()] = tuple(members)
        self._nodes = {
            member.name.lower(): member for each in self._tiers.values() for member in each
        }
        self._turns.clear()
        self.networks.set_nodes({each.address: each.region for each in self._nodes.values()})
        self.version += 1

    def changed(self) -> None:
        """Someone's health changed: answers given before may be wrong now."""
        self.version += 1

    @property
    def members(self) -> tuple[Member, ...]:
        """Those whose addresses the site's name gives."""
        return self._tiers.get(self.answers.lower(), ())

    def set_distances(self, distances: Mapping[str, float]) -> None:
        """How far regions are from here."""
        order = sorted(distances, key=lambda region: distances[region])
        if order != sorted(self._distances, key=self._distance):
            self.version += 1
        self._distances = dict(distances)

    def answer(self, query: dns.Query, asker: str, healthy: Callable[[Member], bool]) -> Given:
        """What to say to an asker who is there."""
        labels = query.labels
        front, back = labels[: -len(self._labels)], labels[-len(self._labels) :]
        if back != self._labels or query.rdclass != 1 or query.rdtype in dns.ZONE_TRANSFERS:
            return Given(dns.Answer(dns.REFUSED))
        if not front and query.rdtype in (dns.SOA, dns.NS):
            return Given(dns.Answer(apex_type=query.rdtype, ttl_s=self.ttl_s))
        label = ".".join(front)
        members = self._members(label)
        if members is None or any("." in part for part in front):
            return Given(dns.Answer(dns.NXDOMAIN))
        if query.rdtype not in (dns.A, dns.ANY):
            return Given(dns.Answer())
        if label == SERVER:
            return Given(dns.Answer(addresses=(self.server_address,), ttl_s=self.ttl_s))
        if not members:
            return Given(dns.Answer())
        if not self._is_of_tier(label):  # a node's own name means that node, wherever one asks
            alone = dns.Answer(addresses=(members[0].address,), ttl_s=self.ttl_s)
            return Given(alone, members[0].region)
        chosen = self.steering.choose(members, asker, self._rng, healthy, self._distance)
        if not chosen:
            return Given(dns.Answer(), is_steered=True)
        addresses = self._rotated(label, [member.address for member in chosen])
        answer = dns.Answer(addresses=addresses, ttl_s=self.ttl_s)
        return Given(answer, chosen[0].region, is_steered=True)

    def _distance(self, region: str) -> float:
        return self._distances.get(region, FAR)

    def _is_of_tier(self, label: str) -> bool:
        return label in ("", "www", self.answers.lower()) or label in self._tiers

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
