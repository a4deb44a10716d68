"""One direction of one connection, between its sender and the wire: bytes in
flight outlive their sender.

The world owns it. `put` stamps a time of arrival from the link; `fire` moves what is due into the
sink (live: a real socket; simulated: the peer's buffer). Window bytes come back at delivery plus
the reverse latency, and only while the reverse link is open.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import trio

from emu.links import MAX_RTO_S, MIN_RTO_S, Link
from emu.world import Timers
from nodes.base import Timer

USER_TIMEOUT_S: Final = 60.0
"""A connection whose bytes could not be delivered for so long breaks."""


class Sink(Protocol):
    """Where a pipe delivers to."""

    def deliver(self, data: bytes | memoryview) -> int:
        """Take some of it; return how many bytes (0: full; call `pipe.unclog`
        when there is room)."""
        ...

    def deliver_end(self) -> None:
        """The sender's FIN."""
        ...

    def deliver_reset(self) -> None:
        """The connection is gone."""
        ...


class Pipe:
    """Bytes on their way. `put` never refuses; a polite sender awaits `wait_room` first."""

    def __init__(
        self,
        timers: Timers,
        link: Link,
        reverse: Link,
        sink: Sink,
        *,
        user_timeout_s: float = USER_TIMEOUT_S,
    ) -> None:
        self.link = link
        self._reverse = reverse
        self._timers = timers
        self._sink = sink
        self._user_timeout_s = user_timeout_s
        self._queue: deque[tuple[float, bytes | memoryview | None]] = deque()
        """(deliver at, bytes); None is the FIN."""
        self._last_s = 0.0
        self._reset_at_s: float | None = None
        self._unacknowledged = 0
        self._credits: deque[int] = deque()
        self._timer: Timer | None = None
        self._held_since_s: float | None = None
        self._clogged = False
        self._room = trio.Event()
        self.broken = False
        self.listening = False

    @property
    def idle(self) -> bool:
        """Nothing is on its way: a plain link may be bypassed."""
        return not self._queue and self._reset_at_s is None

    @property
    def window_left(self) -> int:
        return self.link.window_bytes - self._unacknowledged

    async def wait_room(self) -> None:
        """Return when the window has room, or the pipe is broken."""
        while self.window_left <= 0 and not self.broken:
            await self._room.wait()
        await trio.lowlevel.checkpoint_if_cancelled()

    def put(self, data: bytes | memoryview) -> None:
        """Send bytes on their way."""
        if not self.broken:
            self._unacknowledged += len(data)
            self._add(data, len(data))

    def finish(self) -> None:
        """Send the FIN after what was put."""
        if not self.broken:
            self._add(None, 0)

    def reset_after(self) -> None:
        """The sender died: after what is in flight comes the reset."""
        if self.broken or self._reset_at_s is not None:
            return
        now_s = self._timers.now_s()
        self._reset_at_s = max(self._last_s, now_s + self.link.latency_s)
        self._arm()

    def break_now(self) -> None:
        """Forget everything in flight; the sink is not told."""
        self.broken = True
        self._queue.clear()
        self._reset_at_s = None
        self._unlisten()
        self._wake_writers()

    def unclog(self) -> None:
        """The sink has room again."""
        self._clogged = False
        self.fire()

    def _add(self, data: bytes | memoryview | None, size_bytes: int) -> None:
        arrive_s = self.link.stream_arrival_s(self._timers.now_s(), size_bytes)
        self._last_s = max(self._last_s, arrive_s)
        self._queue.append((self._last_s, data))
        self._arm()

    def _arm(self) -> None:
        """See to it that `fire` runs when the head is due."""
        if not self.listening:
            self.listening = True
            self.link.listeners[self._link_changed] = None
            self._reverse.listeners[self._link_changed] = None
        if self._timer is not None or self._clogged:
            return
        if self.link.cut:
            self._link_changed()
            return
        due_s = self._queue[0][0] if self._queue else self._reset_at_s
        if due_s is not None:
            self._timer = self._timers.call_at(due_s, self._due)

    def _due(self) -> None:
        self._timer = None
        self.fire()

    def fire(self) -> None:
        """Deliver what is due, if the link lets it through."""
        if self.broken or self._clogged:
            return
        if self.link.cut:
            self._link_changed()
            return
        now_s = self._timers.now_s()
        while self._queue and self._queue[0][0] <= now_s:
            due_s, data = self._queue.popleft()
            if data is None:
                self._sink.deliver_end()
                continue
            taken = self._sink.deliver(data)
            if self.broken:
                return
            self._credit(taken)
            if taken < len(data):
                self._queue.appendleft((due_s, memoryview(data)[taken:]))
                self._clogged = True
                return
        if self._reset_at_s is not None and not self._queue and self._reset_at_s <= now_s:
            self._break()
        elif self._queue or self._reset_at_s is not None:
            self._arm()
        elif not self._credits and self._held_since_s is None:
            self._unlisten()

    def _credit(self, size_bytes: int) -> None:
        """The acknowledgement travels back: the window opens when it has arrived."""
        if not size_bytes:
            return
        if self._reverse.plain:
            self._open_window(size_bytes)
            return
        self._credits.append(size_bytes)
        at_s = self._timers.now_s() + self._reverse.latency_s
        self._timers.call_at(at_s, self._acknowledged)

    def _acknowledged(self) -> None:
        if self._reverse.cut or self.broken:
            return  # comes after healing: _link_changed asks again
        if self._credits:
            self._open_window(self._credits.popleft())

    def _open_window(self, size_bytes: int) -> None:
        self._unacknowledged -= size_bytes
        if self.window_left > 0:
            self._wake_writers()

    def _wake_writers(self) -> None:
        room, self._room = self._room, trio.Event()
        room.set()

    def _link_changed(self) -> None:
        """A cut holds what is queued; healing lets it go at the next retransmission."""
        if self.broken:
            return
        if self.link.cut == "reject" or self._reverse.cut == "reject":
            self._break()
            return
        now_s = self._timers.now_s()
        if self.link.cut:
            if self._held_since_s is None and not self.idle:
                self._held_since_s = now_s
                self._timers.call_at(now_s + self._user_timeout_s, self._give_up)
            return
        if not self._reverse.cut:
            while self._credits:
                self._open_window(self._credits.popleft())
        if self._held_since_s is not None:
            retry_s = _next_retransmission_s(self._held_since_s, now_s, self.link.latency_s)
            self._held_since_s = None
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._timers.call_at(retry_s, self._due)

    def _give_up(self) -> None:
        held_s = self._held_since_s
        if held_s is not None and self._timers.now_s() - held_s >= self._user_timeout_s - 1e-9:
            self._break()

    def _break(self) -> None:
        self.break_now()
        self._sink.deliver_reset()

    def _unlisten(self) -> None:
        if self.listening:
            self.listening = False
            self.link.listeners.pop(self._link_changed, None)
            self._reverse.listeners.pop(self._link_changed, None)


def _next_retransmission_s(since_s: float, now_s: float, latency_s: float) -> float:
    """The first retransmission after `now_s` of a sender that backs off since `since_s`."""
    wait_s = max(MIN_RTO_S, 3 * latency_s)
    at_s = since_s + wait_s
    while at_s < now_s:
        wait_s = min(wait_s * 2, MAX_RTO_S)
        at_s += wait_s
    return at_s
