"""One direction of one connection, between its sender and the wire: bytes in
flight outlive their sender.

The world owns it. `put` stamps a time of arrival from the link; `fire` moves what is due into the
sink (live: a real socket; simulated: the peer's buffer). Window bytes come back at delivery plus
the reverse latency, and only while the reverse link is open.
"""

from __future__ import annotations

from collections import deque
from math import isinf
from typing import Protocol

from trio.lowlevel import ParkingLot, checkpoint_if_cancelled

from emu.machine import reach
from emu.machine.links import MAX_RTO_S, MIN_RTO_S, USER_TIMEOUT_S, Link
from emu.machine.world import Timers
from nodes.base import Timer


class End(Protocol):
    """One end of a connection: pipes deliver to it, or carry what it sent."""

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

    def lose(self) -> None:
        """The network never took what this end sent: it is broken here, and the other end hears
        of it when the link is open again."""
        ...


class Pipe:
    """Bytes on their way. `put` never refuses; a polite sender awaits `wait_room` first."""

    def __init__(
        self,
        timers: Timers,
        link: Link,
        reverse: Link,
        sender: End,
        sink: End,
        *,
        user_timeout_s: float = USER_TIMEOUT_S,
        least_latency_s: float = 0.0,
    ) -> None:
        """`least_latency_s`: what even a plain link takes."""
        self.link = link
        self.reverse = reverse
        self._timers = timers
        self._sender = sender
        self._sink = sink
        self._user_timeout_s = user_timeout_s
        self._least_latency_s = least_latency_s
        self._queue: deque[tuple[float, bytes | memoryview | None]] = deque()
        """(deliver at, bytes); None is the FIN."""
        self._last_s = 0.0
        self._reset_at_s: float | None = None
        self._timer: Timer | None = None
        self._held_since_s: float | None = None
        """Since when a cut has held what is queued."""
        self._clogged = False
        self._unacknowledged = 0
        self._acks: deque[tuple[float, int]] = deque()
        """(comes back at, bytes): collected when somebody asks for the window."""
        self._acks_cut = False
        self._unheard_since_s: float | None = None
        """Since when a cut has kept acknowledgements from coming back."""
        self._ack_timer: Timer | None = None
        self._patience: Timer | None = None
        self._writers = ParkingLot()
        self.broken = False
        self.listening = False

    @property
    def idle(self) -> bool:
        """Nothing is on its way: a plain link may be bypassed."""
        return not self._queue and self._reset_at_s is None

    # --- the sender's side -----------------------------------------------------------------

    @property
    def window_left(self) -> int:
        if self._acks and not self._acks_cut:
            self._collect_acks(self._timers.now_s())
        return self.link.window_bytes - self._unacknowledged

    async def wait_room(self) -> None:
        """Return when the window may have room, the pipe is broken or its sender was closed: the
        caller looks, and asks again."""
        if self.window_left <= 0 and not self.broken:
            self.link.reached(reach.WINDOW_FULL)
            self._await_ack()
            await self._writers.park()
        else:
            await checkpoint_if_cancelled()

    def wake_writers(self) -> None:
        """Whoever waits for room shall look again."""
        self._writers.unpark_all()

    def put(self, data: bytes | memoryview) -> None:
        """Send bytes on their way."""
        if not self.broken:
            size = len(data)
            self._unacknowledged += size
            self._add(data, size)
            if self._acks_cut:
                self._miss_acks(self._timers.now_s())

    def finish(self) -> None:
        """Send the FIN after what was put."""
        if not self.broken:
            self._add(None, 0)

    def reset_after(self) -> None:
        """The sender died: after what is in flight comes the reset."""
        if self.broken or self._reset_at_s is not None:
            return
        latency_s = max(self.link.latency_s, self._least_latency_s)
        self._reset_at_s = max(self._last_s, self._timers.now_s() + latency_s)
        self._arm()

    def break_now(self) -> None:
        """Forget everything in flight; nobody is told."""
        self.broken = True
        self._queue.clear()
        self._acks.clear()
        self._reset_at_s = None
        self._unlisten()
        for timer in (self._timer, self._ack_timer, self._patience):
            if timer is not None:
                timer.cancel()
        self._timer = self._ack_timer = self._patience = None
        self._writers.unpark_all()

    def _add(self, data: bytes | memoryview | None, size_bytes: int) -> None:
        now_s, link = self._timers.now_s(), self.link
        arrive_s = now_s + self._least_latency_s
        if not link.plain:
            arrive_s = max(arrive_s, link.stream_arrival_s(now_s, size_bytes))
        if arrive_s > self._last_s:
            self._last_s = arrive_s
        elif arrive_s < self._last_s:
            link.reached(reach.OVERTAKING)
        self._queue.append((self._last_s, data))
        if self._timer is None:
            self._arm()

    # --- the sink's side -------------------------------------------------------------------

    def unclog(self) -> None:
        """The sink has room again."""
        self._clogged = False
        self.fire()

    def _arm(self) -> None:
        """See to it that `fire` runs when the head is due."""
        if not self.listening:
            self._listen()
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
        now_s, queue, sink = self._timers.now_s(), self._queue, self._sink
        while queue and queue[0][0] <= now_s:
            due_s, data = queue.popleft()
            if data is None:
                sink.deliver_end()
                self._unlisten()  # only a reset may follow, and asks again
                continue
            taken = sink.deliver(data)
            if self.broken:
                return
            if taken:
                self._acknowledge(taken, now_s)
            if taken < len(data):
                queue.appendleft((due_s, memoryview(data)[taken:]))
                self._clogged = True
                return
        if queue:
            if self._timer is None:
                self._timer = self._timers.call_at(queue[0][0], self._due)
        elif self._reset_at_s is not None:
            if self._reset_at_s <= now_s:
                self._break()
            else:
                self._arm()

    # --- acknowledgements ------------------------------------------------------------------

    def _acknowledge(self, size_bytes: int, now_s: float) -> None:
        """The acknowledgement travels back: the window opens when it has arrived."""
        reverse = self.reverse
        if reverse.plain:
            self._unacknowledged -= size_bytes
            if self._writers and self.window_left > 0:
                self._writers.unpark_all()
            return
        self._acks.append((now_s + reverse.latency_s, size_bytes))
        if self._writers:
            self._await_ack()

    def _collect_acks(self, now_s: float) -> None:
        acks = self._acks
        while acks and acks[0][0] <= now_s:
            self._unacknowledged -= acks.popleft()[1]

    def _await_ack(self) -> None:
        """A writer waits: look when the next acknowledgement is here."""
        if self._acks and self._ack_timer is None and not self._acks_cut:
            self._ack_timer = self._timers.call_at(self._acks[0][0], self._acknowledged)

    def _acknowledged(self) -> None:
        self._ack_timer = None
        if self.window_left > 0:
            self._writers.unpark_all()
        elif self._writers:
            self._await_ack()

    def _mind_acks(self, now_s: float) -> None:
        """The reverse link may have changed: what a cut kept back comes after a retransmission."""
        cut = bool(self.reverse.cut)
        if cut == self._acks_cut:
            return
        if cut:
            self._collect_acks(now_s)
            self._acks_cut = True
            if self._unacknowledged:
                self._miss_acks(now_s)
            return
        self._acks_cut = False
        since_s, self._unheard_since_s = self._unheard_since_s, None
        if since_s is not None:
            again_s = _next_retransmission_s(since_s, now_s, self.link.latency_s)
            again_s += self.reverse.latency_s
            self._acks = deque((max(at_s, again_s), size) for at_s, size in self._acks)
        if self._writers:
            self._await_ack()

    def _miss_acks(self, now_s: float) -> None:
        if self._unheard_since_s is None:
            self._unheard_since_s = now_s
            self._lose_patience(now_s)

    # --- cuts ------------------------------------------------------------------------------

    def _link_changed(self) -> None:
        """A cut holds what is queued; healing lets it go at the next retransmission."""
        if self.broken:
            return
        link, now_s = self.link, self._timers.now_s()
        if "reject" in (link.cut, self.reverse.cut):
            link.reached(reach.REJECTED)
            self._break()
            return
        self._mind_acks(now_s)
        if link.cut:
            if self._held_since_s is None and not self.idle:
                self._held_since_s = now_s
                link.reached(reach.HELD)
                self._lose_patience(now_s)
        elif self._held_since_s is not None:
            retry_s = _next_retransmission_s(self._held_since_s, now_s, link.latency_s)
            self._held_since_s = None
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._timers.call_at(retry_s, self._due)

    def _lose_patience(self, now_s: float) -> None:
        if self._patience is None and not isinf(self._user_timeout_s):
            self._patience = self._timers.call_at(now_s + self._user_timeout_s, self._give_up)

    def _give_up(self) -> None:
        """Break if something has been missing all the time; else look again when it will have."""
        self._patience = None
        missing = [at for at in (self._held_since_s, self._unheard_since_s) if at is not None]
        if not missing:
            return
        if min(missing) + self._user_timeout_s > self._timers.now_s() + 1e-9:
            self._lose_patience(min(missing))
            return
        self.link.reached(reach.GIVEN_UP)
        self.break_now()
        self._sender.lose()

    def _break(self) -> None:
        """A reset was delivered, or the network rejects the connection."""
        self.break_now()
        self._sink.deliver_reset()
        if self._sender is not self._sink:
            self._sender.deliver_reset()

    def _listen(self) -> None:
        self.listening = True
        self.link.listeners[self._link_changed] = None
        self.reverse.listeners[self._link_changed] = None
        self._acks_cut = bool(self.reverse.cut)

    def _unlisten(self) -> None:
        if self.listening:
            self.listening = False
            self.link.listeners.pop(self._link_changed, None)
            self.reverse.listeners.pop(self._link_changed, None)


def _next_retransmission_s(since_s: float, now_s: float, latency_s: float) -> float:
    """The first retransmission after `now_s` of a sender that backs off since `since_s`."""
    wait_s = max(MIN_RTO_S, 3 * latency_s)
    at_s = since_s + wait_s
    while at_s < now_s:
        wait_s = min(wait_s * 2, MAX_RTO_S)
        at_s += wait_s
    return at_s
