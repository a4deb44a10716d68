"""What a topology may say of a DNS tier, and nothing that happens there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from nodes.checking import CHECKS, CheckName
from nodes.dns.networks import Networks
from nodes.dns.steering import Policy, PolicyName, Steering
from nodes.parts.health import expect_checks
from protocols import dns

MAX_ZONE_BYTES: Final = 190
"""With the longest name of a node in front it is still a domain name."""


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """What a topology may say of a DNS tier. Health-check defaults are Route 53's fast ones."""

    zone: str
    """The domain that it answers for: `zone: shop.test`. Users ask for `www` in it."""
    answers: str
    """The tier whose members' addresses the zone, `www` and the tier's own name give:
    `answers: lb`."""
    names: list[str] = field(default_factory=list)
    """Further tiers that have names here, as `TIER.zone` and `NODE.zone`: `names: [api]`."""
    policy: PolicyName = "latency"
    """Whose addresses an asker gets: of the nearest region (latency), of what `near` says for its
    place (geolocation), by chance (weighted), of the first that is well (failover)."""
    near: dict[str, list[str]] = field(default_factory=dict)
    """latency, geolocation: for an asker's place, where to send it, the best first. `default` is
    for all others; without it geolocation has no answer for them:
    `near: {us: [us, eu], default: [eu]}`."""
    weights: dict[str, int] = field(default_factory=dict)
    """weighted: by region. 0: only when no other is well: `weights: {us: 3, eu: 1}`."""
    order: list[str] = field(default_factory=list)
    """failover: regions, the first with a healthy member is given: `order: [us, eu]`."""
    policies: dict[str, Policy] = field(default_factory=dict)
    """Policies by names, which may stand wherever a region may (`near: {eu: [canary]}`):
    `policies: {canary: {policy: weighted, weights: {eu: 9, us: 1}}}`."""
    networks: dict[str, list[str]] = field(default_factory=dict)
    """Where clients are, by the subnet that their resolver passes on (or by their address):
    `networks: {us: [198.51.100.0/24]}`. Nodes of the file are known without it."""
    ttl_s: float = 60.0
    """So long askers may remember an address."""
    negative_ttl_s: float = 30.0
    """So long they may remember that there is no such name."""
    max_answers: int = 8
    """Addresses in one answer at most."""
    check: CheckName = "rpc"
    """rpc (ping), http (GET check_path), tcp (connect) or none: then all are taken for healthy."""
    check_path: str = "/"
    """What a check by http asks for; 200 to 399 is well."""
    check_interval_s: float = 10.0
    """How often each member is checked."""
    check_timeout_s: float = 4.0
    """A check that has no answer by then has failed."""
    check_jitter_ratio: float = 0.1
    """By how much the intervals differ at random, so that checks do not come together."""
    rise: int = 3
    """Passed checks in a row until an address is given again."""
    fall: int = 3
    """Failed checks in a row until an address is withheld (where all are, all are given)."""
    tcp_idle_timeout_s: float = 10.0
    """A connection over TCP without a question is closed after so long."""

    def __post_init__(self) -> None:
        if self.check not in CHECKS:
            choices = ", ".join(CHECKS)
            raise ValueError(f"`check: {self.check}` is not known; choose from {choices}")
        try:
            zone = dns.canonical(self.zone)
        except ValueError as error:
            raise ValueError(f"`zone`: {error}") from None
        if len(zone) > MAX_ZONE_BYTES:
            raise ValueError(
                f"`zone`: {len(zone)} bytes; at most {MAX_ZONE_BYTES}, so that names fit in front"
            )
        for name, ttl_s in (("ttl", self.ttl_s), ("negative_ttl", self.negative_ttl_s)):
            if not 0 <= ttl_s <= dns.MAX_TTL_S:
                raise ValueError(f"`{name}` must be from 0 to {dns.MAX_TTL_S} seconds, 68 years")
        if self.max_answers < 1:
            raise ValueError("`max_answers` must be above 0")
        expect_checks(rise=self.rise, fall=self.fall, check_interval=self.check_interval_s)
        self.steering()
        Networks(self.networks)

    def steering(self) -> Steering:
        """Raises ValueError."""
        root = Policy(self.policy, self.near, self.weights, self.order)
        return Steering(root, self.policies)
