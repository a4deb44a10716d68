"""One generation of a node: everything it holds dies with it, in one synchronous step.

The handles that a Context gives out (streams, listeners, files, timers) belong to a Life and ask it
after every wait. Only the supervisor kills, pauses and resumes; tiers never see this class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

import trio

from nodes.base import Fenced

current_life: ContextVar[Life | None] = ContextVar("current_life", default=None)
"""The life whose task is running: set by `Life.run`, inherited by every task it starts."""


class Handle(Protocol):
    """Something a node holds that must end with it."""

    def end(self, *, crash: bool) -> None:
        """Synchronous. A killed process's connections are reset after what was sent; after a crash
        (power cut) the peers hear nothing."""
        ...


class Holder(Protocol):
    """Withholds a paused node's tasks from the scheduler (see emu/machine/private_trio.py)."""

    def hold(self, life: Life) -> None: ...
    def release(self, life: Life) -> None: ...


class Life:
    """`node`, `generation`, and whether it is dead or paused."""

    def __init__(self, node: str, generation: int, holder: Holder) -> None:
        self.node = node
        self.generation = generation
        self.dead = False
        self.crashed = False
        self.paused = False
        self.scope = trio.CancelScope()
        self._holder = holder
        self._handles: dict[Handle, None] = {}
        self._held_calls: deque[Callable[[], object]] = deque()

    def __repr__(self) -> str:
        state = "dead" if self.dead else "paused" if self.paused else "alive"
        return f"<Life {self.node}#{self.generation} {state}>"

    def check(self) -> None:
        """Raise Fenced if this generation is dead. Call after every wait, before acting."""
        if self.dead:
            raise Fenced(f"{self.node} generation {self.generation} is dead")

    def own(self, handle: Handle) -> None:
        """End `handle` when this life ends."""
        self._handles[handle] = None

    def disown(self, handle: Handle) -> None:
        self._handles.pop(handle, None)

    def call(self, callback: Callable[[], object]) -> None:
        """Run a callback of the node's: now, or at resume while paused, or never when dead."""
        if self.dead:
            return
        if self.paused:
            self._held_calls.append(callback)
            return
        token = current_life.set(self)
        try:
            callback()
        finally:
            current_life.reset(token)

    def end(self, *, crash: bool) -> None:
        """The process dies (or, with `crash`, the machine loses power): nothing of
        it acts after this."""
        if self.dead:
            return
        self.dead = True
        self.crashed = crash
        self._held_calls.clear()
        if self.paused:
            self.paused = False
            self._holder.release(self)
        self.scope.cancel()
        handles, self._handles = self._handles, {}
        for handle in handles:
            handle.end(crash=crash)

    def pause(self) -> None:
        """It neither runs nor answers; connections stay open and the kernel's buffers fill."""
        if not self.dead and not self.paused:
            self.paused = True
            self._holder.hold(self)

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self._holder.release(self)
            held, self._held_calls = self._held_calls, deque()
            for callback in held:
                self.call(callback)
