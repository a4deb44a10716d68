"""Who must have a record before it counts: quorums, commit levels, witnesses' vouching. Pure sums.

Elections are won by the majority of voters and witnesses. A record that a majority of them *has
flushed* (witnesses never have data) can therefore not be lost by failover: that is the quorum LSN.
Commit levels only say when a client may be answered. `quorum` waits for the quorum LSN; `ANY n` and
`FIRST n` with n + 1 below the majority, `local`, `off`, `remote_write` answer earlier: a failover
may lose what they acknowledged, and `AckRule.survives_failover` says so.

Witnesses: a group of two data replicas A, B and a witness W cannot reach a data majority when B is
dead. The primary then declares the set in sync, {A}, to W, which remembers it durably with the
epoch and from then on votes only for members of that set, or for logs of a later epoch. A record
that all members of the declared set have flushed is safe once set and vouching witnesses together
are a majority: every electing majority contains one of them, and each refuses whoever lacks the
record. While new sets are on their way to the witnesses, members of all must have the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEVELS = ("off", "local", "remote_write", "on", "remote_apply")


@dataclass(frozen=True, slots=True)
class AckRule:
    """When a commit may be acknowledged, in PostgreSQL's words."""

    level: str = "on"
    method: str = "quorum"
    """`quorum` (majority of voters), `any` or `first` (named standbys), unused below remote."""
    count: int = 0
    names: tuple[str, ...] = ()
    """Empty: every voter but the primary."""

    @classmethod
    def parse(cls, text: str) -> AckRule:
        """`quorum`, `async`, a level, `ANY 1 (b, c)`, `FIRST 1`, or level and rule together.

        Raises ValueError.
        """
        pattern = (
            r"\s*(?P<level>off|local|async|remote_write|on|remote_apply)?"
            r"\s*(?P<rule>quorum|(?P<method>any|first)\s+(?P<count>\d+)\s*(\((?P<names>[^()]*)\))?)?\s*"
        )
        match = re.fullmatch(pattern, text, re.IGNORECASE)
        if match is None or not text.strip():
            raise ValueError(
                f"{text!r} is no commit level: {', '.join(LEVELS)}, async, quorum, ANY n (names)"
                " or FIRST n (names)"
            )
        level = (match["level"] or "on").lower().replace("async", "local")
        names = tuple(name.strip() for name in (match["names"] or "").split(",") if name.strip())
        count = int(match["count"] or 0)
        if match["method"] and (count < 1 or (names and count > len(names))):
            raise ValueError(f"{text!r}: n must be at least 1 and at most the number of names")
        return cls(level, (match["method"] or "quorum").lower(), count, names)

    @property
    def waits_for_replicas(self) -> bool:
        return self.level not in ("off", "local")

    def check_interval(self, sync_interval_s: float) -> None:
        """Raises ValueError if a commit would wait for syncs that come once in so long only."""
        if sync_interval_s > 0 and self.level not in ("off", "remote_write"):
            raise ValueError(
                f"`ack` of level `{self.level}` waits for a sync; with a `sync_interval` take `off`"
                " or `remote_write`"
            )

    def survives_failover(self, voters: int) -> bool:
        """Whether no acknowledged record is lost by failover, in a group of so many voters."""
        if self.level not in ("on", "remote_apply"):
            return voters == 1 and self.level != "off"
        return self.method == "quorum" or self.count + 1 >= voters // 2 + 1


def majority(voters: int) -> int:
    return voters // 2 + 1


def reached_by(values: Iterable[int], count: int) -> int:
    """The highest LSN that at least `count` of the values have reached."""
    ranked = sorted(values, reverse=True)
    if count <= 0:
        return ranked[0] if ranked else 0
    return ranked[count - 1] if len(ranked) >= count else 0


class InSync:
    """The primary's declared set for its witnesses, and what is to replace it."""

    __slots__ = ("_current", "_pending", "_pending_names", "version")

    def __init__(self) -> None:
        self.version = 0
        """Of the latest declaration; counts within the primary's epoch."""
        self._current: tuple[int, tuple[str, ...]] | None = None
        self._pending: tuple[int, tuple[str, ...]] | None = None
        self._pending_names: dict[str, None] = {}
        """Of all sets declared since the one in force: a witness may go by any of them."""

    @property
    def declared(self) -> tuple[str, ...]:
        """What witnesses are told: the latest declaration."""
        latest = self._pending or self._current
        return latest[1] if latest else ()

    def declare(self, names: Sequence[str]) -> None:
        """Ask for another set; never an empty one: a witness would forget whom it vouched for."""
        if names and tuple(names) != self.declared:
            self.version += 1
            self._pending = (self.version, tuple(names))
            self._pending_names.update(dict.fromkeys(names))

    def vouched(self, versions: Iterable[int], voters: Sequence[str], needed: int) -> bool:
        """Take in the versions that witnesses confirmed; whether the set in force counts: the
        `voters` in it and the witnesses behind it are `needed` or more."""
        acked = list(versions)

        def counts(version: int, names: Sequence[str]) -> bool:
            behind = sum(1 for ack in acked if ack >= version)
            return behind + sum(1 for name in names if name in voters) >= needed

        if self._pending is not None and counts(*self._pending):
            self._current, self._pending = self._pending, None
            self._pending_names.clear()
        return self._current is not None and counts(*self._current)

    @property
    def required(self) -> tuple[str, ...]:
        """Who all must have a record, if it is to count by vouching."""
        names = dict.fromkeys(self._current[1]) if self._current else {}
        return tuple(names | self._pending_names)
