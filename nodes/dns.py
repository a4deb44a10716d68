"""The DNS tier: answers for its zone over UDP and TCP, with the addresses of members that are well.

Which address an asker gets is decided in nodes/parts/zone.py; what a
message is, in protocols/dns.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any, Final, NamedTuple

import trio

from nodes.base import DNS_PORT, Context, CpuBusy, CpuExpired, DatagramSocket, Peer, Stream
from nodes.checking import CHECKS, CheckName, Prober, Watch
from nodes.kind import Caution, Kind, Port, TierSeen, Try
from nodes.metrics import Counter
from nodes.parts.health import CheckTimes, Health, expect_checks
from nodes.parts.timing import move_on_after
from nodes.parts.zone import POLICIES, PolicyName, Steering, Zone
from nodes.wire.accepting import accept_forever, contained
from nodes.wire.admin import Admin
from nodes.wire.directory import Directory, TierView
from nodes.wire.service import ERRORS_HELP, REQUESTS_HELP, SECONDS_HELP
from protocols import dns
from protocols.control import Member

TCP_CHUNK_BYTES: Final = 16384
MAX_CONNECTIONS: Final = 256
MAX_WAITING_FOR_CPU: Final = 1024
MAX_REMEMBERED: Final = 1024
"""Questions whose replies are kept ready (composing one takes some 80 µs)."""
REMEMBERED_TURNS: Final = 12
"""Replies kept per question, each with its addresses in another order."""
DROPPED: Final = -1
PLACING: Final = ("latency", "geolocation")
"""Policies by which the place of the asker decides."""
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
    """Whose addresses an asker gets."""
    near: dict[str, list[str]] = field(default_factory=dict)
    """latency, geolocation: for an asker's region, where to send it, the best first:
    `near: {us: [us, eu]}`."""
    weights: dict[str, int] = field(default_factory=dict)
    """weighted: by region: `weights: {us: 3, eu: 1}`."""
    order: list[str] = field(default_factory=list)
    """failover: regions, the first with a healthy member is given: `order: [us, eu]`."""
    ttl_s: float = 60.0
    """So long askers may remember an address."""
    negative_ttl_s: float = 30.0
    """So long they may remember that there is no such name."""
    max_answers: int = 8
    """Addresses in one answer at most."""
    check: CheckName = "rpc"
    """rpc (ping), http (GET check_path), tcp (connect) or none."""
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
    """Failed checks in a row until an address is withheld."""
    tcp_idle_timeout_s: float = 10.0
    """A connection over TCP without a question is closed after so long."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("policy", self.policy, POLICIES),
            ("check", self.check, CHECKS),
        ):
            if value not in known:
                choices = ", ".join(known)
                raise ValueError(f"`{name}: {value}` is not known; choose from {choices}")
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
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError("`weights` must not be below 0")


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
            steering=Steering(config.policy, config.near, config.weights, config.order),
            rng=ctx.rng("dns"),
        )
        self.health: dict[str, Health] = {}
        self._watches: dict[str, Watch] = {}
        self._waiting_for_cpu = 0
        self._answers: dict[str, Counter] = {}
        self._queries: dict[tuple[str, int], Counter] = {}
        metrics = ctx.metrics
        self._errors = metrics.counter("request_errors_total", ERRORS_HELP)
        self._seconds = {
            over: metrics.histogram("request_seconds", SECONDS_HELP, method=over)
            for over in ("udp", "tcp")
        }
        self._replies: dict[tuple[bytes, str, str], deque[_Reply]] = {}
        self._replies_version = 0
        self._prober = Prober(
            ctx, config.check, timeout_s=config.check_timeout_s, path=config.check_path
        )
        self._times = CheckTimes(
            config.check_interval_s, config.check_interval_s, config.check_jitter_ratio
        )
        self.admin = Admin(ctx, facts=self._facts)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        socket = await self.ctx.network.open_datagram(DNS_PORT)
        listener = await self.ctx.network.listen(DNS_PORT)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.admin.listen_and_serve)
            directory = Directory(self.ctx, nursery)
            await directory.follow(self.config.answers, self._members_changed)
            for tier in self.config.names:
                if tier != self.config.answers:
                    await directory.follow(tier, self._names_changed)
            nursery.start_soon(self._serve_datagrams, socket)
            task_status.started()
            await accept_forever(
                self.ctx, listener, self._serve_stream, max_connections=MAX_CONNECTIONS
            )

    # --- members and their health ------------------------------------------------------------

    def _members_changed(self, view: TierView) -> None:
        self._names_changed(view)
        listed = {member.name for member in view.members}
        for name in [each for each in self.health if each not in listed]:
            self._watches.pop(name).stop()
            del self.health[name]
            self.ctx.metrics.forget("health", server=name)
        for member in view.members:
            if member.name not in self.health:
                self._adopt(member)

    def _names_changed(self, view: TierView) -> None:
        self.zone.set_members(view.tier, view.members)

    def _adopt(self, member: Member) -> None:
        name = member.name
        health = self.health[name] = Health(self.config.rise, self.config.fall)
        self.ctx.metrics.gauge(
            "health",
            "1 if the member passes its checks: its address is given.",
            lambda: float(health.up),
            server=name,
        )

        def report(why: str) -> None:
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
        self._count(over, reply.rcode)
        self._seconds[over].observe(clock.monotonic_s() - arrived_s)
        if reply.region:
            self._count_answer(reply.region)
        return wire[:2] + reply.wire[2:] if reply.wire else b""

    def _remembered(self, wire: bytes, asker: str, over: str) -> _Reply | None:
        """A reply to the same question (but for its id), composed since the last change."""
        if self._replies_version != self.zone.version or len(self._replies) > MAX_REMEMBERED:
            self._replies.clear()
            self._replies_version = self.zone.version
        turns = self._replies.get((wire[2:], asker, over))
        if turns is None or (len(turns) < REMEMBERED_TURNS and turns[0].region):
            return None
        turns.rotate(-1)
        return turns[-1]

    def _compose(self, wire: bytes, asker: str, over: str) -> _Reply:
        try:
            query = dns.decode_query(wire)
        except dns.Malformed as error:
            return _Reply(error.reply, error.reply[3] & 0x0F if error.reply else DROPPED, "")
        seen_region, scope = self._subnet_region(query)
        place = query.region or seen_region or asker
        answer, region = self.zone.answer(query, place, self._healthy)
        if region and not query.region and self.config.policy in PLACING:
            answer = replace(answer, scope=scope)
        authority = None if answer.rcode == dns.REFUSED else self._authority()
        limit_bytes = query.udp_bytes if over == "udp" else dns.MAX_TCP_BYTES
        rcode = dns.BADVERS if query.edns_version > 0 else answer.rcode
        reply = _Reply(dns.encode_answer(query, answer, authority, limit_bytes), rcode, region)
        if self.config.policy != "weighted":
            self._replies.setdefault((wire[2:], asker, over), deque()).append(reply)
        return reply

    def _subnet_region(self, query: dns.Query) -> tuple[str, int]:
        """The region of the client's subnet, if nodes of ours are in it, and the scope of that."""
        if query.subnet is None:
            return "", 0
        address, bits = query.subnet
        return self.zone.region_within(ip_network(f"{address}/{bits}", strict=False))

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
        """The region of whoever asks: a node of ours by its address, else our own (a client asks
        the nearest server)."""
        return self.zone.region_of(peer.address) or self.ctx.region

    async def _serve_datagrams(self, socket: DatagramSocket) -> None:
        while True:
            data, peer = await socket.receive_from()
            if not self.ctx.cpu.cores:
                await self._answer_datagram(socket, data, peer)
            elif self._waiting_for_cpu < MAX_WAITING_FOR_CPU:
                self._waiting_for_cpu += 1
                self._nursery.start_soon(self._charge_and_answer, socket, data, peer)

    async def _charge_and_answer(self, socket: DatagramSocket, data: bytes, peer: Peer) -> None:
        arrived_s = self.ctx.clock.monotonic_s()
        try:
            await self.ctx.cpu.run()
            await self._answer_datagram(socket, data, peer, arrived_s)
        except (CpuBusy, CpuExpired):
            self._errors.value += 1  # dropped, as a busy server's kernel would
        finally:
            self._waiting_for_cpu -= 1

    async def _answer_datagram(
        self, socket: DatagramSocket, data: bytes, peer: Peer, arrived_s: float | None = None
    ) -> None:
        with contained(self.ctx, peer, "datagram failed"):
            reply = self.respond(data, self._asker(peer), arrived_s=arrived_s)
            if not reply:
                return
            try:
                await socket.send_to(reply, peer.address, peer.port)
            except OSError as error:
                self.ctx.log.debug("answer not sent", to=peer.address, error=str(error))

    async def _serve_stream(self, stream: Stream) -> None:
        asker = self._asker(stream.peer)
        frames = dns.TcpFrames()
        while messages := await self._next_messages(stream, frames):
            arrived_s = self.ctx.clock.monotonic_s()
            for message in messages:
                if self.ctx.cpu.cores:
                    try:
                        await self.ctx.cpu.run()
                    except (CpuBusy, CpuExpired):
                        self._errors.value += 1
                        return
                reply = self.respond(message, asker, over="tcp", arrived_s=arrived_s)
                if not reply:
                    return
                with move_on_after(self.ctx.clock, self.config.tcp_idle_timeout_s) as scope:
                    await stream.send_all(dns.frame(reply))
                if scope.cancelled_caught:
                    return  # it does not read

    async def _next_messages(self, stream: Stream, frames: dns.TcpFrames) -> list[bytes]:
        """Those that end next; none when the client has ended, or takes too long for one."""
        with move_on_after(self.ctx.clock, self.config.tcp_idle_timeout_s):
            while data := await stream.receive_some(TCP_CHUNK_BYTES):
                if messages := frames.receive_data(data):
                    return messages
        return []

    # --- what can be seen --------------------------------------------------------------------

    def _count(self, over: str, rcode: int) -> None:
        counter = self._queries.get((over, rcode))
        if counter is None:
            counter = self._queries[over, rcode] = self.ctx.metrics.counter(
                "requests_total",
                REQUESTS_HELP,
                method=over,
                code=RCODES.get(rcode, "other"),
            )
        counter.value += 1

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
        return {
            "role": "authoritative",
            "zone": self.zone.name,
            "policy": self.config.policy,
            "servers_up": sum(health.up for health in self.health.values()),
            "servers_total": len(self.health),
        }


RCODES: Final = {
    DROPPED: "dropped",
    dns.NOERROR: "noerror",
    dns.FORMERR: "formerr",
    dns.NXDOMAIN: "nxdomain",
    dns.NOTIMP: "notimp",
    dns.REFUSED: "refused",
    dns.BADVERS: "badvers",
}


def _dead_ends(tier: TierSeen) -> Iterator[Caution]:
    for target in tier.reached["answers"]:
        if not target.public:
            what = f"`{tier.name}` answers with `{target.name}`, which is private"
            yield Caution(f"{what}; give `{target.name}` `public: true`")


DIG_PORT: Final = 53
"""What dig asks if it is told no port."""


def _dig(config: DnsConfig, address: str, port: int) -> Iterator[Try]:
    at_port = "" if port == DIG_PORT else f" -p {port}"
    yield Try(f"dig @{address}{at_port} www.{config.zone}", "what DNS answers")


def _hosts(config: DnsConfig) -> tuple[str, ...]:
    """What the zone gives out (nodes/parts/zone.py), but for single nodes."""
    zone = dns.canonical(config.zone)
    return (f"www.{zone}", zone, *(f"{tier}.{zone}" for tier in (config.answers, *config.names)))


EVENTS: Final = {
    "address withdrawn": "A member fails its checks: its address is no longer given.",
    "address restored": "A member passes its checks: its address is given again.",
    "answer not sent": "The network took no answer to an asker.",
}
DNS: Final = Port("dns", DNS_PORT, ("dns", "rpc"))
KIND: Final = Kind(
    DnsConfig,
    DnsNode,
    (DNS,),
    about="Authoritative for one zone, over UDP and TCP: gives the addresses of members "
    "that pass its checks.",
    example="dns: {kind: dns, public: true, zone: shop.test, answers: lb, ttl: 5s}",
    edges=("answers", "names"),
    visited=True,
    passes=("answers",),
    look=_dig,
    hosts=_hosts,
    cautions={"public-private": _dead_ends},
)
