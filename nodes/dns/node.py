"""An authoritative DNS server: it checks the members that its zone gives, and answers with those
that are well. How questions come and answers leave is service.py's."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from typing import Any, Final, NamedTuple

import trio

from nodes.base import Context, Peer
from nodes.checking import Prober, Watch
from nodes.dns.config import DnsConfig
from nodes.dns.networks import Networks
from nodes.dns.service import DnsService
from nodes.dns.zone import Zone
from nodes.metrics import Counter
from nodes.parts.health import CheckTimes, Health
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory, TierView
from protocols import dns
from protocols.control import Member

MAX_REMEMBERED: Final = 1024
"""Questions whose replies are kept ready (composing one takes some 80 µs)."""
MAX_REMEMBERED_BYTES: Final = 4 << 20
"""Of these questions and replies. Beyond either bound all are forgotten."""
LONGEST_REMEMBERED_BYTES: Final = 512
"""Of a question; whoever pads more gets its reply composed."""
REMEMBERED_TURNS: Final = 12
"""Replies kept per question, each with its addresses in another order."""
SMOOTHING: Final = 0.2
"""Of how long checks take: one that was slow makes no other region the nearest."""


class _Reply(NamedTuple):
    wire: bytes
    rcode: int
    region: str
    """Whose addresses it gives, if any."""


class DnsNode:
    """Authoritative for one zone; refuses others. UDP and TCP at DNS_PORT."""

    def __init__(self, ctx: Context, config: DnsConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.zone = Zone(
            dns.canonical(config.zone),
            config.answers,
            server_address=ctx.network.address,
            ttl_s=int(config.ttl_s),
            max_answers=config.max_answers,
            steering=config.steering(),
            networks=Networks(config.networks),
            rng=ctx.rng("dns"),
        )
        self.health: dict[str, Health] = {}
        self._watches: dict[str, Watch] = {}
        self._answers: dict[str, Counter] = {}
        self._replies: dict[tuple[bytes, str, str], deque[_Reply]] = {}
        self._replies_bytes = 0
        self._replies_version = 0
        self._prober = Prober(
            ctx, config.check, timeout_s=config.check_timeout_s, path=config.check_path
        )
        self._checked_s: dict[str, float] = {}
        """Member → how long its checks take, smoothed."""
        self._times = CheckTimes(
            config.check_interval_s, config.check_interval_s, config.check_jitter_ratio
        )
        self.service = DnsService(ctx, self._answer, config.tcp_idle_timeout_s)
        self.admin = Admin(ctx, facts=self._facts)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        doors = await self.service.open()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.admin.listen_and_serve)
            directory = Directory(self.ctx, nursery)
            await directory.follow(self.config.answers, self._members_changed)
            for tier in self.config.names:
                if tier != self.config.answers:
                    await directory.follow(tier, self._names_changed)
            task_status.started()
            await self.service.serve(*doors)

    # --- members and their health ------------------------------------------------------------

    def _members_changed(self, view: TierView) -> None:
        self._names_changed(view)
        listed = {member.name for member in view.members}
        for name in [each for each in self.health if each not in listed]:
            self._watches.pop(name).stop()
            self._checked_s.pop(name, None)
            del self.health[name]
            self.ctx.metrics.forget("health", server=name)
        for member in view.members:
            if member.name not in self.health:
                self._adopt(member)
        for region in dict.fromkeys(each.region for each in view.members):
            self.ctx.metrics.gauge(
                "addresses_given",
                "Addresses of a region that this server gives: members that pass its checks.",
                partial(self._given_of, region),
                to_region=region,
            )

    def _given_of(self, region: str) -> int:
        return sum(each.region == region and self._healthy(each) for each in self.zone.members)

    def _names_changed(self, view: TierView) -> None:
        self.zone.set_members(view.tier, view.members)

    def _adopt(self, member: Member) -> None:
        name = member.name
        health = self.health[name] = Health(self.config.rise, self.config.fall, trusted=True)
        self.ctx.metrics.gauge(
            "health",
            "1 if the member passes its checks: its address is given.",
            lambda: float(health.up),
            server=name,
        )

        def report(why: str) -> None:
            if not why:
                self._measured(member, watch.took_s)
            changed = health.failed(why) if why else health.passed()
            if not changed:
                return
            self.zone.changed()
            if health.up:
                self.ctx.log.info("address restored", server=name)
            else:
                self.ctx.log.info("address withdrawn", server=name, why=why)

        where = (name, member.port)
        watch = Watch(self._prober, health, self._times, lambda: where, report)
        self._watches[name] = watch
        if self.config.check != "none":
            self._nursery.start_soon(watch.run)

    def _measured(self, member: Member, took_s: float) -> None:
        """A check that passed says how far its region is."""
        before_s = self._checked_s.get(member.name, took_s)
        self._checked_s[member.name] = before_s + SMOOTHING * (took_s - before_s)
        distances: dict[str, float] = {}
        for each in self.zone.members:
            if each.name in self._checked_s:
                distance_s = self._checked_s[each.name]
                distances[each.region] = min(distances.get(each.region, distance_s), distance_s)
        self.zone.set_distances(distances)

    def _healthy(self, member: Member) -> bool:
        health = self.health.get(member.name)
        return health is None or health.up

    # --- queries -----------------------------------------------------------------------------

    def respond(
        self, wire: bytes, asker: str, *, over: str = "udp", arrived_s: float | None = None
    ) -> bytes:
        """The answer to one message of an asker in region `asker`; empty: say nothing."""
        clock = self.ctx.clock
        if arrived_s is None:
            arrived_s = clock.monotonic_s()
        reply = self._remembered(wire, asker, over) or self._compose(wire, asker, over)
        self.service.count(over, reply.rcode, clock.monotonic_s() - arrived_s)
        if reply.region:
            self._count_answer(reply.region)
        return wire[:2] + reply.wire[2:] if reply.wire else b""

    async def _answer(self, wire: bytes, peer: Peer, over: str, arrived_s: float) -> bytes:
        return self.respond(wire, self._asker(peer), over=over, arrived_s=arrived_s)

    def _remembered(self, wire: bytes, asker: str, over: str) -> _Reply | None:
        """A reply to the same question (but for its id), composed since the last change."""
        self._forget_old_replies()
        turns = self._replies.get((wire[2:], asker, over))
        if turns is None or (len(turns) < REMEMBERED_TURNS and turns[0].region):
            return None
        turns.rotate(-1)
        return turns[-1]

    def _forget_old_replies(self) -> None:
        too_many = len(self._replies) > MAX_REMEMBERED
        if (
            too_many
            or self._replies_bytes > MAX_REMEMBERED_BYTES
            or self._replies_version != self.zone.version
        ):
            self._replies.clear()
            self._replies_bytes = 0
            self._replies_version = self.zone.version

    def _compose(self, wire: bytes, asker: str, over: str) -> _Reply:
        try:
            query = dns.decode_query(wire)
        except dns.Malformed as error:
            return _Reply(error.reply, dns.rcode_of(error.reply), "")
        seen_region, scope = self._subnet_region(query)
        place = query.region or seen_region or asker
        given = self.zone.answer(query, place, self._healthy)
        answer, region = given.answer, given.region
        if given.is_steered and not query.region and self.zone.steering.by_place:
            answer = replace(answer, scope=scope)
        authority = None if answer.rcode == dns.REFUSED else self._authority()
        limit_bytes = query.udp_bytes if over == "udp" else dns.MAX_TCP_BYTES
        rcode = dns.BADVERS if query.edns_version > 0 else answer.rcode
        reply = _Reply(dns.encode_answer(query, answer, authority, limit_bytes), rcode, region)
        if not self.zone.steering.by_chance and len(wire) <= LONGEST_REMEMBERED_BYTES:
            self._replies.setdefault((wire[2:], asker, over), deque()).append(reply)
            self._replies_bytes += len(wire) + len(reply.wire)
        return reply

    def _subnet_region(self, query: dns.Query) -> tuple[str, int]:
        """The region of the client's subnet, if nodes of ours are in it, and the scope of that."""
        if query.subnet is None:
            return "", 0
        address, bits = query.subnet
        return self.zone.networks.find(ip_network(f"{address}/{bits}", strict=False))

    def _authority(self) -> dns.Authority:
        zone = self.zone
        return dns.Authority(
            zone.name,
            f"ns.{zone.name}",
            self.ctx.network.address,
            zone.version,
            int(self.config.negative_ttl_s),
            zone.ttl_s,
        )

    def _asker(self, peer: Peer) -> str:
        """Where whoever asks is, by its address, else where we are (a client asks the nearest
        server)."""
        return self.zone.networks.place_of(peer.address) or self.ctx.region

    # --- what can be seen --------------------------------------------------------------------

    def _count_answer(self, region: str) -> None:
        counter = self._answers.get(region)
        if counter is None:
            counter = self._answers[region] = self.ctx.metrics.counter(
                "answers_total",
                "Answers with addresses, by policy and the region that was given.",
                policy=self.config.policy,
                to_region=region,
            )
        counter.value += 1

    def _facts(self) -> dict[str, Any]:
        down = [name for name, health in self.health.items() if not health.up]
        return {
            "role": "authoritative",
            "zone": self.zone.name,
            "policy": self.config.policy,
            "servers_up": len(self.health) - len(down),
            "servers_total": len(self.health),
            "given": f"{len(self.health) - len(down)} of {len(self.health)}",
            "withheld": ", ".join(down),
        }
