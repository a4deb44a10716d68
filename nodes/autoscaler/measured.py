"""What is known of the members of a scaled tier: since when they are there, ready or not, and what
they measured between two looks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from nodes.autoscaler.replicas import MILLI, Sample, Seen
from nodes.autoscaler.scaler import CPU, IN_FLIGHT, REQUESTS
from protocols.control import Member

CPU_BUSY: Final = "emu_cpu_busy_seconds_total"
CPU_CORES: Final = "emu_cpu_cores"
ANSWERED: Final = "emu_requests_total"
IN_HAND: Final = "emu_requests_in_flight"
WANTED: Final = (CPU_BUSY, CPU_CORES, ANSWERED, IN_HAND)


def totals_of(exposition: bytes) -> dict[str, float]:
    """The wanted families of a member's metrics, each summed over its series."""
    found = dict.fromkeys(WANTED, 0.0)
    for line in exposition.decode().splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in found:
            found[name] += float(line.rpartition(" ")[2])
    return found


class _Known:
    """One life of a member."""

    def __init__(self, member: Member, now_s: float) -> None:
        self.member = member
        self.was_ready = member.ready
        self.started_s = now_s
        self.turned_s = now_s
        self.before: tuple[float, Mapping[str, float]] | None = None
        self.samples: Mapping[str, Sample] = {}
        self.cores = 0

    def told(self, totals: Mapping[str, float], now_s: float) -> None:
        before, self.before = self.before, (now_s, totals)
        self.cores = round(totals[CPU_CORES] * MILLI)
        self.samples = {IN_FLIGHT: Sample(round(totals[IN_HAND] * MILLI), now_s, 0.0)}
        if before is None or before[0] >= now_s:
            return
        window_s = now_s - before[0]
        for metric, family in ((CPU, CPU_BUSY), (REQUESTS, ANSWERED)):
            grown = max(0.0, totals[family] - before[1][family])
            value = round(grown / window_s * MILLI)
            self.samples = {**self.samples, metric: Sample(value, now_s, window_s)}

    def seen(self, metric: str, cores: int) -> Seen:
        member = self.member
        return Seen(
            member.name,
            self.samples.get(metric),
            has=self.cores or cores,
            leaving=member.draining,
            pending=not self.was_ready,
            ready=member.ready,
            started_s=self.started_s,
            turned_s=self.turned_s,
        )


class Measured:
    """The members of one tier, as they were last seen."""

    def __init__(self, keep_s: float = 0.0) -> None:
        """`keep_s`: so long the last sample of a member counts that does not answer any more."""
        self._keep_s = keep_s
        self._known: dict[str, _Known] = {}

    def follow(self, members: Iterable[Member], now_s: float) -> None:
        """These are there now."""
        known: dict[str, _Known] = {}
        for member in members:
            found = self._known.get(member.name)
            if found is None or found.member.generation != member.generation:
                found = _Known(member, now_s)
            if found.member.ready != member.ready:
                found.turned_s = now_s
            found.member = member
            found.was_ready |= member.ready
            known[member.name] = found
        self._known = known

    def told(self, name: str, totals: Mapping[str, float] | None, now_s: float) -> None:
        """What a member measures, or (None) that it does not say."""
        known = self._known.get(name)
        if known is None:
            return
        if totals is not None:
            known.told(totals, now_s)
            return
        since_s = now_s - self._keep_s
        known.samples = {
            metric: sample for metric, sample in known.samples.items() if sample.at_s >= since_s
        }

    def have_been_ready(self) -> list[str]:
        """Who can be asked what it measures, if it lives and is not on its way out."""
        return [
            name
            for name, each in self._known.items()
            if each.was_ready and not each.member.draining
        ]

    @property
    def nodes(self) -> int:
        """How many there are, those not counted that are on their way out."""
        return sum(not each.member.draining for each in self._known.values())

    def seen(self) -> dict[str, list[Seen]]:
        """By metric, all of them. Who has not told its cores yet has as many as the others."""
        cores = max((each.cores for each in self._known.values()), default=0)
        return {
            metric: [each.seen(metric, cores) for each in self._known.values()]
            for metric in (CPU, REQUESTS, IN_FLIGHT)
        }
