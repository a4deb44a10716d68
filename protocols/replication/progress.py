"""What a primary knows about one other member, and how much it may send it. No clock, no messages.

A member is probed (one message, then wait), streamed to (a bounded window in flight), or sent a
snapshot. `flushed_lsn` is durable there and only grows; `written_lsn` may fall when it crashes.
"""

from __future__ import annotations

from collections import deque
from typing import Final

PROBE: Final = "probe"
STREAM: Final = "stream"
SNAPSHOT: Final = "snapshot"


class Progress:
    """One other member, seen from the primary."""

    __slots__ = (
        "acked_round",
        "admit",
        "announced_visible_lsn",
        "applied_lsn",
        "echo_us",
        "flushed_lsn",
        "heard_s",
        "in_flight",
        "in_flight_bytes",
        "in_sync_version",
        "lacks_room",
        "next_lsn",
        "probe_sent",
        "snapshot_acked_bytes",
        "snapshot_lsn",
        "snapshot_moved",
        "snapshot_next_s",
        "snapshot_reported_bytes",
        "snapshot_sent_bytes",
        "standing",
        "state",
        "written_lsn",
    )

    def __init__(self, next_lsn: int, heard_s: float) -> None:
        self.state = PROBE
        self.next_lsn = next_lsn
        self.written_lsn = 0
        self.flushed_lsn = 0
        self.applied_lsn = 0
        self.acked_round = 0
        self.heard_s = heard_s
        self.standing = False
        self.admit = False
        self.in_sync_version = 0
        self.lacks_room = False
        self.announced_visible_lsn = 0
        self.echo_us = 0
        self.probe_sent = False
        self.in_flight: deque[tuple[int, int]] = deque()
        self.in_flight_bytes = 0
        self.snapshot_lsn = 0
        self.snapshot_sent_bytes = 0
        self.snapshot_acked_bytes = 0
        self.snapshot_reported_bytes = 0
        self.snapshot_moved = False
        self.snapshot_next_s = 0.0
        """When more of it may be sent."""

    @property
    def sent_lsn(self) -> int:
        return self.next_lsn - 1

    def may_send(self, max_bytes: int, max_messages: int) -> bool:
        """Whether records may leave now."""
        if self.state == STREAM:
            return self.in_flight_bytes < max_bytes and len(self.in_flight) < max_messages
        return self.state == PROBE and not self.probe_sent

    def sent(self, last_lsn: int, size_bytes: int) -> None:
        """Records up to `last_lsn` have left."""
        if self.state == PROBE:
            self.probe_sent = True
            return
        self.next_lsn = last_lsn + 1
        self.in_flight.append((last_lsn, size_bytes))
        self.in_flight_bytes += size_bytes

    def accepted(self, written_lsn: int, flushed_lsn: int) -> None:
        """The member's log agrees with ours up to `written_lsn`."""
        self.written_lsn = max(self.written_lsn, written_lsn)
        self.flushed_lsn = max(self.flushed_lsn, flushed_lsn)
        while self.in_flight and self.in_flight[0][0] <= written_lsn:
            self.in_flight_bytes -= self.in_flight.popleft()[1]
        if self.state == PROBE and written_lsn >= self.next_lsn - 1:
            self.state, self.probe_sent = STREAM, False
        if self.state == STREAM:
            self.next_lsn = max(self.next_lsn, written_lsn + 1)

    def rejected(self, rejected_lsn: int, next_lsn: int) -> bool:
        """The member lacks `rejected_lsn`; False if that is old news."""
        if self.standing and rejected_lsn <= self.flushed_lsn:
            return False
        if self.state == SNAPSHOT or (self.state == PROBE and rejected_lsn != self.next_lsn - 1):
            return False
        floor = self.flushed_lsn if self.standing else 0
        self.written_lsn = min(self.written_lsn, floor)
        self.probe(max(min(next_lsn, rejected_lsn), floor + 1))
        return True

    def probe(self, next_lsn: int) -> None:
        """Send one message from there, then wait for its answer."""
        self.state, self.next_lsn, self.probe_sent = PROBE, next_lsn, False
        self.in_flight.clear()
        self.in_flight_bytes = 0

    def lost_its_disk(self, flushed_lsn: int) -> None:
        """It came up empty: nothing that it once confirmed counts."""
        self.flushed_lsn = min(self.flushed_lsn, flushed_lsn)
        self.written_lsn = min(self.written_lsn, flushed_lsn)
        self.standing = False

    def send_snapshot(self, lsn: int) -> None:
        """The log does not reach back far enough: a snapshot first."""
        self.probe(lsn + 1)
        self.state, self.snapshot_lsn = SNAPSHOT, lsn
        self.snapshot_sent_bytes = self.snapshot_acked_bytes = self.snapshot_reported_bytes = 0

    def may_send_snapshot(self, total_bytes: int, max_in_flight_bytes: int) -> bool:
        """Whether there is more of it to be sent, and room on the way; `snapshot_next_s` apart."""
        missing = self.snapshot_sent_bytes < total_bytes or not self.probe_sent
        in_flight_bytes = self.snapshot_sent_bytes - self.snapshot_acked_bytes
        return missing and in_flight_bytes < max_in_flight_bytes

    def sent_snapshot(self, size_bytes: int, now_s: float, bytes_per_s: float) -> None:
        """A piece of the snapshot has left."""
        self.probe_sent = True
        self.snapshot_sent_bytes += size_bytes
        self.snapshot_next_s = max(now_s, self.snapshot_next_s) + size_bytes / bytes_per_s

    def snapshot_arrived(self, received_bytes: int) -> None:
        """The member says how much of the snapshot it has; less than before if it came up anew."""
        self.snapshot_reported_bytes = received_bytes
        if received_bytes > self.snapshot_acked_bytes:
            self.snapshot_acked_bytes, self.snapshot_moved = received_bytes, True

    def resume_snapshot(self, total_bytes: int) -> None:
        """If nothing has moved since the last call, send again from what the member last said;
        from the start if it had all of it, and yet is not there (it came up anew since)."""
        if not self.snapshot_moved:
            if self.snapshot_reported_bytes >= total_bytes:
                self.snapshot_reported_bytes = 0
            self.snapshot_sent_bytes = self.snapshot_acked_bytes = self.snapshot_reported_bytes
        self.snapshot_moved = False
