"""Time limits on the node's own clock: what trio.move_on_after is to real time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from nodes.base import Clock


@contextmanager
def move_on_after(clock: Clock, seconds: float) -> Iterator[trio.CancelScope]:
    """Cancel the block after `seconds` of the node's clock; see `.cancelled_caught` afterwards."""
    with trio.CancelScope() as scope:
        timer = clock.call_at(clock.monotonic_s() + seconds, scope.cancel)
        try:
            yield scope
        finally:
            timer.cancel()
