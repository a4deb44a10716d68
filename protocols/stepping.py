"""Work on a whole state, cut into steps that are each a millisecond or so: a generator that yields
between them and returns what came of it. Who takes the steps, and what happens in between, is not
decided here.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]


def at_once(steps: Steps[T]) -> T:
    """All steps, with nothing in between."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: T = ended.value
            return result
